//! What happens when the disk refuses: it is left alone for a while.

use std::{io, time::Duration};

use super::Disk;
use crate::clock::Now;

/// How long a disk that refused is left alone.
const RETRY: Duration = Duration::from_secs(10);

/// The disk took no more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refused {
    retry_ns: u64,
    is_full: bool,
}

impl Disk {
    /// The disk did not take something.
    pub(super) fn refuse(&mut self, now: Now, error: &io::Error) {
        self.write_errors += 1;
        if self.refused.is_none() {
            tracing::warn!(
                directory = %self.directory.path().display(),
                %error,
                "the spool's disk takes no more; batches are kept in memory until it does"
            );
        }
        let full = [libc::ENOSPC, libc::EDQUOT, libc::EFBIG];
        self.refused = Some(Refused {
            retry_ns: now.monotonic_ns + RETRY.as_nanos() as u64,
            is_full: error
                .raw_os_error()
                .is_some_and(|errno| full.contains(&errno)),
        });
    }

    /// Whether the disk may be asked again after it has refused.
    pub fn may_retry(&self, now: Now) -> bool {
        self.refused
            .is_some_and(|refused| now.monotonic_ns >= refused.retry_ns)
    }

    /// There is reason to believe that it takes something.
    pub fn retry_now(&mut self) {
        if let Some(refused) = &mut self.refused {
            refused.retry_ns = 0;
        }
    }

    /// It takes something again.
    pub fn took(&mut self) {
        if self.refused.take().is_some() {
            tracing::info!("the spool's disk takes batches again");
        }
    }

    /// Whether it refused for want of room.
    pub fn is_full(&self) -> bool {
        self.refused.is_some_and(|refused| refused.is_full)
    }
}
