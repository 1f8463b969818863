//! What every list of a reading keeps to.

use std::collections::HashSet;

use crate::store::Invalid;

pub(super) fn bounded(place: &str, length: usize, limit: usize) -> Result<(), Invalid> {
    if length <= limit {
        Ok(())
    } else {
        let problem = format_args!("{length} entries, not at most {limit}");
        Err(Invalid::new(place, problem))
    }
}

pub(super) fn unique<'a>(place: &str, names: impl Iterator<Item = &'a str>) -> Result<(), Invalid> {
    let mut seen = HashSet::new();
    for name in names {
        if !seen.insert(name) {
            let problem = format_args!("{name:?} is there twice");
            return Err(Invalid::new(place, problem));
        }
    }
    Ok(())
}

/// A list without entries says nothing.
pub(super) fn some<T>(list: &[T]) -> Option<&[T]> {
    Some(list).filter(|list| !list.is_empty())
}
