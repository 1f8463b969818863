//! Small files that the agent remembers things in: whole or not at all, with a checksum.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

const MAGIC_BYTES: usize = 8;
const HEADER_BYTES: usize = MAGIC_BYTES + size_of::<u32>();

/// What kind of file it is; its first octets.
pub type Magic = [u8; MAGIC_BYTES];

/// Reads a file of at most so many octets besides its header; `None`: there is none.
///
/// # Errors
/// The system's, and [`io::ErrorKind::InvalidData`] when it is of another kind, damaged or longer.
pub fn read(path: &Path, magic: &Magic, most: usize) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    let limit = HEADER_BYTES.saturating_add(most) as u64;
    file.take(limit).read_to_end(&mut bytes)?;
    match bytes.split_at_checked(HEADER_BYTES) {
        Some((header, body)) if header == self::header(magic, body) => {
            bytes.drain(..HEADER_BYTES);
            Ok(Some(bytes))
        }
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the file is damaged",
        )),
    }
}

/// Writes in one step: whoever reads finds this one or the one before. The next one stands beside it
/// while it is written, under the same name with `.next` behind it.
///
/// # Errors
/// The system's; the file before stays.
pub fn write(path: &Path, magic: &Magic, body: &[u8]) -> io::Result<()> {
    let mut next = path.as_os_str().to_owned();
    next.push(".next");
    let mut options = File::options();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&next)?;
    file.write_all(&header(magic, body))?;
    file.write_all(body)?;
    file.sync_data()?;
    fs::rename(next, path)
}

fn header(magic: &Magic, body: &[u8]) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    let (start, checksum) = header.split_at_mut(MAGIC_BYTES);
    start.copy_from_slice(magic);
    checksum.copy_from_slice(&crc32fast::hash(body).to_le_bytes());
    header
}
