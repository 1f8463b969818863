//! Which batch comes next.

use netmon_common::wire::Kind;

use super::{Book, SegmentKey, last_of};
use crate::spool::{segment::Entry, window::BatchKey};

/// A place in the batches of one kind: everything before it has been looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// Epoch of the next batch, at least.
    pub epoch: u64,
    /// Number of the next batch, at least, in that epoch.
    pub sequence: u64,
}

/// What a cursor finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// A batch that waits.
    Batch(SegmentKey, Entry),
    /// The places of a segment's batches must be read first.
    Load(SegmentKey),
}

impl Book {
    /// The first batch of a kind that waits, at `from` or behind it and before `end`.
    pub fn next_waiting(&self, kind: Kind, from: Cursor, end: Cursor) -> Option<Next> {
        let at = SegmentKey {
            kind,
            epoch: from.epoch,
            first: from.sequence,
        };
        let before = self.segments.range(..at).next_back();
        let before = before.filter(|(key, _)| (key.kind, key.epoch) == (kind, from.epoch));
        let behind = self.segments.range(at..=last_of(kind));
        for (key, segment) in before.into_iter().chain(behind) {
            let from_sequence = if key.epoch == from.epoch { from.sequence } else { 0 };
            let Some(sequence) = segment.first_waiting(key.first, from_sequence) else {
                continue;
            };
            let place = Cursor {
                epoch: key.epoch,
                sequence,
            };
            if place >= end {
                return None;
            }
            if !segment.is_loaded() {
                return Some(Next::Load(*key));
            }
            if let Some(entry) = segment.entry(sequence) {
                return Some(Next::Batch(*key, *entry));
            }
        }
        None
    }

    /// The places of a segment's batches, as its file has them.
    pub fn load(&mut self, key: SegmentKey, entries: Vec<Entry>) -> u32 {
        let Some(segment) = self.segments.get_mut(&key) else {
            return 0;
        };
        self.loaded.insert(key);
        segment.load(key.first, entries)
    }

    /// Forgets the places of batches that nobody needs.
    pub fn unload_except(&mut self, is_needed: impl Fn(SegmentKey) -> bool) {
        let Self {
            loaded, segments, ..
        } = self;
        loaded.retain(|key| {
            let keep = is_needed(*key);
            if !keep && let Some(segment) = segments.get_mut(key) {
                segment.unload();
            }
            keep
        });
    }

    /// Segments whose places are known.
    pub fn loaded(&self) -> usize {
        self.loaded.len()
    }

    /// The place behind a batch.
    pub fn behind(batch: BatchKey) -> Cursor {
        Cursor {
            epoch: batch.epoch,
            sequence: batch.sequence + 1,
        }
    }
}
