//! How the spool is.

use super::{Disk, Keeper};
use crate::spool::{book::Tally, segment::Backing};

/// Figures for metrics, and for whoever waits for the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// What became of batches.
    pub tally: Tally,
    /// Batches that wait for the server, and their octets.
    pub waiting: (u64, u64),
    /// When the oldest of these was sealed, ns since 1970.
    pub oldest_unix_ns: Option<i64>,
    /// Of these, batches that are in memory only.
    pub in_memory: u64,
    /// Octets of the files.
    pub disk_bytes: u64,
    /// Segments there are.
    pub segments: u64,
    /// Octets of memory that their index takes.
    pub index_bytes: u64,
    /// Writes and syncs the disk refused.
    pub write_errors: u64,
    /// Batches that could not be read any more.
    pub read_errors: u64,
}

impl Keeper {
    /// Figures as they are.
    pub fn status(&self) -> Status {
        Status {
            tally: self.book.tally().clone(),
            waiting: self.book.waiting(),
            oldest_unix_ns: self.book.oldest_unix_ns(),
            in_memory: self.memory.len() as u64,
            disk_bytes: self.book.bytes_in(Backing::File),
            segments: self.book.segments().len() as u64,
            index_bytes: self.book.index_bytes() as u64,
            write_errors: self.disk.as_ref().map_or(0, Disk::write_errors),
            read_errors: self.read_errors,
        }
    }
}
