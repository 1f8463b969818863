//! The server's watch list in a file: an agent that starts without its server watches at once.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use netmon_common::{
    watch::{Assembly, Change, Held, update},
    wire::WatchUpdate,
};
use prost::Message as _;

/// Its name in the spool's directory, and that of the next one while it is written.
const NAME: &str = "watch-list";
const NEXT: &str = "watch-list.next";

const MAGIC: [u8; 8] = *b"NETMONW1";
const HEADER_BYTES: usize = MAGIC.len() + size_of::<u32>();

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
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, "the file is damaged");
    let (header, mut body) = bytes.split_at_checked(HEADER_BYTES).ok_or_else(damaged)?;
    if header != self::header(body) {
        return Err(damaged());
    }
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

/// In one step: whoever reads finds this one or the one before.
pub(super) fn write(directory: &Path, held: &Held) -> io::Result<()> {
    let (path, next) = (directory.join(NAME), directory.join(NEXT));
    let whole = Change {
        added: (*held.list).clone(),
        ..Change::default()
    };
    let mut body = Vec::new();
    for piece in update(held, None, &whole) {
        body.extend(piece.encode_length_delimited_to_vec());
    }
    let mut options = File::options();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&next)?;
    file.write_all(&header(&body))?;
    file.write_all(&body)?;
    file.sync_data()?;
    fs::rename(next, path)
}

fn header(body: &[u8]) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    let (magic, checksum) = header.split_at_mut(MAGIC.len());
    magic.copy_from_slice(&MAGIC);
    checksum.copy_from_slice(&crc32fast::hash(body).to_le_bytes());
    header
}

#[cfg(test)]
mod tests {
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
