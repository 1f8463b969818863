//! Names of the parts of a host.

use netmon_common::wire::system_limits as limits;

use crate::store::Invalid;

/// A mount point, device or sensor.
pub(crate) fn is_name(name: &str) -> bool {
    (1..=limits::NAME_BYTES).contains(&name.len()) && !name.chars().any(char::is_control)
}

pub(super) fn check(place: &str, name: &str) -> Result<(), Invalid> {
    if is_name(name) {
        Ok(())
    } else {
        let problem = format_args!(
            "{name:?} is no name: 1 to {} octets, no control characters",
            limits::NAME_BYTES
        );
        Err(Invalid::new(place, problem))
    }
}
