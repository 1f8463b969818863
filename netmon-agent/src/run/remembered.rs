//! What the server wished last, in a file: an agent that starts without its server goes on as it was
//! told.

use std::{io, path::Path};

use netmon_common::wire::{MAX_CONTROL_BYTES, NtpMonitoring};
use prost::Message as _;
use tokio::sync::watch;

use crate::sealed::{self, Magic};

/// Its name in the spool's directory.
const NAME: &str = "ntp-monitoring";

const MAGIC: Magic = *b"NETMONN1";

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
    let Some(body) = sealed::read(path, &MAGIC, MAX_CONTROL_BYTES)? else {
        return Ok(None);
    };
    NtpMonitoring::decode(body.as_slice())
        .map(Some)
        .map_err(io::Error::other)
}

fn write(directory: &Path, wished: &NtpMonitoring) -> io::Result<()> {
    sealed::write(&directory.join(NAME), &MAGIC, &wished.encode_to_vec())
}

#[cfg(test)]
mod tests {
    use std::fs;

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
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
