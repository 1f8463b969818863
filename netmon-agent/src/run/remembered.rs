//! What the server wished last, in a file: an agent that starts without its server goes on as it was
//! told.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use netmon_common::wire::{MAX_CONTROL_BYTES, NtpMonitoring};
use prost::Message as _;
use tokio::sync::watch;

/// Its name in the spool's directory, and that of the next one while it is written.
const NAME: &str = "ntp-monitoring";
const NEXT: &str = "ntp-monitoring.next";

const MAGIC: [u8; 8] = *b"NETMONN1";
const HEADER_BYTES: usize = MAGIC.len() + size_of::<u32>();

/// What is wished, as far as anybody knows; `None`: nothing was ever heard.
pub type Wished = Option<NtpMonitoring>;

/// Reads what was wished last; a file that is damaged is as none.
pub fn recall(directory: &Path) -> Wished {
    match read(&directory.join(NAME)) {
        Ok(wished) => wished,
        Err(error) => {
            tracing::warn!(
                %error,
                "what the server wished of NTP monitoring is not known until it says so again"
            );
            None
        }
    }
}

/// Writes down what is wished from now on, as often as it is not what was `recalled` or written last:
/// a server says it at every connection.
pub async fn keep(directory: &Path, recalled: Wished, mut wished: watch::Receiver<Wished>) {
    let mut kept = recalled;
    while wished.changed().await.is_ok() {
        let newest = wished.borrow_and_update().clone();
        let Some(newest) = newest.filter(|newest| kept.as_ref() != Some(newest)) else {
            continue;
        };
        let (directory, writes) = (directory.to_owned(), newest.clone());
        // A disk may hang, and packets must not wait for it.
        let writing = tokio::task::spawn_blocking(move || write(&directory, &writes));
        let written = writing.await.map_err(io::Error::other);
        match written.and_then(|result| result) {
            Ok(()) => kept = Some(newest),
            Err(error) => tracing::error!(
                %error,
                "what the server wishes of NTP monitoring is in force, but forgotten at the next start"
            ),
        }
    }
}

fn read(path: &Path) -> io::Result<Wished> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take((HEADER_BYTES + MAX_CONTROL_BYTES) as u64)
        .read_to_end(&mut bytes)?;
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, "the file is damaged");
    let (header, body) = bytes.split_at_checked(HEADER_BYTES).ok_or_else(damaged)?;
    if header != self::header(body) {
        return Err(damaged());
    }
    NtpMonitoring::decode(body)
        .map(Some)
        .map_err(io::Error::other)
}

/// In one step: whoever reads finds this one or the one before.
fn write(directory: &Path, wished: &NtpMonitoring) -> io::Result<()> {
    let (path, next) = (directory.join(NAME), directory.join(NEXT));
    let body = wished.encode_to_vec();
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
    use netmon_common::wire::NtpWish;

    use super::*;

    fn wished(revision: u64) -> NtpMonitoring {
        NtpMonitoring {
            revision,
            interfaces: vec![NtpWish {
                name: "eth0".to_owned(),
                monitored: false,
                ports: vec![123, 1123],
                timeout_ms: 2000,
            }],
        }
    }

    #[test]
    fn what_was_written_last_is_recalled() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(recall(directory.path()), None);
        for revision in [1, 2] {
            write(directory.path(), &wished(revision)).unwrap();
            assert_eq!(recall(directory.path()), Some(wished(revision)));
        }
    }

    #[test]
    fn a_damaged_file_is_as_none() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), &wished(7)).unwrap();
        let path = directory.path().join(NAME);
        let whole = fs::read(&path).unwrap();
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            assert_eq!(recall(directory.path()), None, "{length}");
        }
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            fs::write(&path, &changed).unwrap();
            assert_eq!(recall(directory.path()), None, "{at}");
        }
    }

    #[tokio::test]
    async fn only_the_newest_wish_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let (sender, receiver) = watch::channel(None);
        let folder = directory.path().to_owned();
        let keeping = tokio::spawn(async move { keep(&folder, Some(wished(9)), receiver).await });
        for revision in 1..=3 {
            sender.send_replace(Some(wished(revision)));
        }
        while recall(directory.path()) != Some(wished(3)) {
            tokio::task::yield_now().await;
        }
        // What is known is not written again.
        fs::remove_file(directory.path().join(NAME)).unwrap();
        sender.send_replace(Some(wished(3)));
        drop(sender);
        keeping.await.unwrap();
        assert_eq!(recall(directory.path()), None);
        assert!(!directory.path().join(NEXT).exists());
    }
}
