//! The server's watch list in a file: an agent that starts without its server watches at once.

use std::{io, path::Path};

use netmon_common::{
    watch::{Assembly, Change, Held, update},
    wire::WatchUpdate,
};
use prost::Message as _;

use crate::sealed::{self, Magic};

/// Its name in the spool's directory.
const NAME: &str = "watch-list";

const MAGIC: Magic = *b"NETMONW1";

/// Reads the list that was told last; a file that is damaged is as none.
pub fn recall(directory: &Path) -> Held {
    match read(&directory.join(NAME)) {
        Ok(held) => held.unwrap_or_default(),
        Err(error) => {
            tracing::warn!(
                %error,
                "the server's watch list is not known until the server tells it again"
            );
            Held::default()
        }
    }
}

fn read(path: &Path) -> io::Result<Option<Held>> {
    let Some(body) = sealed::read(path, &MAGIC, usize::MAX)? else {
        return Ok(None);
    };
    let mut body = body.as_slice();
    // The messages of an update, as a server sends them.
    let (mut assembly, before) = (Assembly::default(), Held::default());
    loop {
        let piece = WatchUpdate::decode_length_delimited(&mut body).map_err(io::Error::other)?;
        let taken = assembly.take(&before, &piece).map_err(io::Error::other)?;
        if let Some(held) = taken {
            return Ok(Some(held));
        }
    }
}

pub(super) fn write(directory: &Path, held: &Held) -> io::Result<()> {
    let whole = Change {
        added: (*held.list).clone(),
        ..Change::default()
    };
    let mut body = Vec::new();
    for piece in update(held, None, &whole) {
        body.extend(piece.encode_length_delimited_to_vec());
    }
    sealed::write(&directory.join(NAME), &MAGIC, &body)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn held(version: u64) -> Held {
        let entries = ["192.0.2.1", "198.51.100.0/24", "2001:db8::1"];
        let entries = entries.iter().map(|entry| entry.parse().unwrap());
        Held::new(version, entries.take(version as usize).collect())
    }

    #[test]
    fn the_list_that_was_written_last_is_recalled() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(recall(directory.path()), Held::default());
        for version in [3, 2, 1] {
            write(directory.path(), &held(version)).unwrap();
            assert_eq!(recall(directory.path()), held(version));
        }
    }

    #[test]
    fn a_damaged_file_is_as_none() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), &held(3)).unwrap();
        let path = directory.path().join(NAME);
        let whole = fs::read(&path).unwrap();
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            assert_eq!(recall(directory.path()), Held::default(), "{length}");
        }
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            fs::write(&path, &changed).unwrap();
            assert_eq!(recall(directory.path()), Held::default(), "{at}");
        }
    }
}
