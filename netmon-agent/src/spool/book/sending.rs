//! Which batch comes next.

use netmon_common::wire::{Kind, OmissionCause};

use super::{Backing, Book, SegmentKey, last_of};
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
            let from_sequence = if key.epoch == from.epoch {
                from.sequence
            } else {
                0
            };
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

    /// The places of a segment's batches, as its file has them. Those it no longer has are lost;
    /// how many these are.
    pub fn load(&mut self, key: SegmentKey, entries: Vec<Entry>) -> usize {
        let Some(segment) = self.segments.get_mut(&key) else {
            return 0;
        };
        self.loaded.insert(key);
        let missing = segment.load(key.first, entries);
        for sequence in &missing {
            let range = (*sequence, *sequence);
            self.omit(key.kind, key.epoch, range, OmissionCause::Corrupt, (1, 0));
        }
        missing.len()
    }

    /// Forgets the places of batches that nobody needs.
    pub fn unload_except(&mut self, is_needed: impl Fn(SegmentKey) -> bool) {
        let Self {
            loaded, segments, ..
        } = self;
        loaded.retain(|key| {
            let Some(segment) = segments.get_mut(key) else {
                return false;
            };
            let keep = segment.backing == Backing::Memory || is_needed(*key);
            if !keep {
                segment.unload();
            }
            keep
        });
    }

    /// How many segments' places are known.
    pub fn loaded(&self) -> usize {
        self.loaded.len()
    }

    /// Segments whose places are known, with the last number in each.
    pub fn loaded_segments(&self) -> impl Iterator<Item = (SegmentKey, u64)> {
        let known = self.loaded.iter();
        known.filter_map(|key| Some((*key, self.segments.get(key)?.last)))
    }

    /// The place behind a batch.
    pub fn behind(batch: BatchKey) -> Cursor {
        Cursor {
            epoch: batch.epoch,
            sequence: batch.sequence + 1,
        }
    }
}
