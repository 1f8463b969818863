//! What the spool may hold, and what has to go when it holds more.

use std::time::Duration;

use netmon_common::wire::KINDS;

use super::{Backing, Book, Segment, SegmentKey, first_of, last_of};

/// What a segment has before the next is begun: a file is read whole, and given up whole.
pub const SEGMENT_BYTES: u64 = 1 << 20;

/// What the smallest file takes up.
const BLOCK_BYTES: u64 = 4096;

/// Bounds of the spool.
#[derive(Clone, Copy, Debug)]
pub struct Caps {
    /// Most octets of files.
    pub disk_bytes: u64,
    /// Most octets in memory.
    pub memory_bytes: u64,
    /// No batch is kept for longer.
    pub max_age: Duration,
    /// A segment that is this large is not appended to any more.
    pub segment_bytes: u64,
}

impl Book {
    /// Its bounds.
    pub fn caps(&self) -> &Caps {
        &self.caps
    }

    /// Octets of files (whole blocks) or of memory.
    pub fn bytes_in(&self, backing: Backing) -> u64 {
        let of_backing = self.segments.values().filter(|s| s.backing == backing);
        of_backing
            .map(|segment| match backing {
                Backing::File => segment.bytes.next_multiple_of(BLOCK_BYTES),
                Backing::Memory => segment.unsettled_size().bytes,
            })
            .sum()
    }

    /// The segment that goes next because there is too much: the oldest of the least valuable kind.
    /// `among`: only of this backing.
    pub fn victim(&self, among: Option<Backing>) -> Option<SegmentKey> {
        let waits = |(_, segment): &(&SegmentKey, &Segment)| {
            among.is_none_or(|backing| segment.backing == backing)
        };
        KINDS.into_iter().rev().find_map(|kind| {
            let of_kind = self.segments.range(first_of(kind)..=last_of(kind));
            of_kind.filter(waits).map(|(key, _)| *key).next()
        })
    }

    /// Whether files or memory hold more than they may.
    pub fn is_over(&self, backing: Backing) -> bool {
        let cap = match backing {
            Backing::File => self.caps.disk_bytes,
            Backing::Memory => self.caps.memory_bytes,
        };
        self.bytes_in(backing) > cap
    }

    /// Segments whose youngest batch is older than batches may get.
    pub fn too_old(&self, now_unix_ns: i64) -> Vec<SegmentKey> {
        let max_age_ns = i64::try_from(self.caps.max_age.as_nanos()).unwrap_or(i64::MAX);
        let limit = now_unix_ns.saturating_sub(max_age_ns);
        let old = self
            .segments
            .iter()
            .filter(|(_, segment)| segment.unsettled() > 0 && segment.sealed_at_unix_ns < limit);
        old.map(|(key, _)| *key).collect()
    }
}
