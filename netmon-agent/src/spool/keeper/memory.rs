//! Batches that no disk has taken.

use bytes::Bytes;

use super::Keeper;
use crate::{
    clock::Now,
    spool::{
        rank,
        record::Meta,
        segment::{Backing, Entry, SegmentKey},
        window::BatchKey,
    },
};

/// A batch in memory.
#[derive(Clone, Debug)]
pub struct Held {
    /// What it is.
    pub meta: Meta,
    /// The encoded message.
    pub message: Bytes,
}

impl Keeper {
    /// Keeps a batch in memory.
    pub(super) fn hold(&mut self, meta: Meta, message: Bytes) {
        let segment_bytes = self.book.caps().segment_bytes;
        let segments = self.book.segments();
        let active = self.memory_segments[rank(meta.kind)].filter(|key| {
            let segment = segments.get(key);
            segment.is_some_and(|s| s.last + 1 == meta.sequence && s.bytes < segment_bytes)
        });
        let key = active.unwrap_or_else(|| {
            let key = SegmentKey {
                kind: meta.kind,
                epoch: meta.epoch,
                first: meta.sequence,
            };
            self.book.open_segment(key, Backing::Memory, 0);
            self.memory_segments[rank(meta.kind)] = Some(key);
            key
        });
        let entry = Entry {
            sequence: meta.sequence,
            offset: 0,
            bytes: message.len() as u32,
            records: meta.records,
            sealed_at_unix_ns: meta.sealed.unix_ns,
        };
        self.book.append(key, entry);
        self.memory.insert(meta.batch(), Held { meta, message });
        // The state file is to know of it before it is sent.
        self.must_save = true;
    }

    /// Forgets what was held of a segment.
    pub(super) fn let_go(&mut self, key: SegmentKey, last: u64) {
        let batches = batches(key, last);
        self.memory.retain(|batch, _| !batches.contains(batch));
    }

    /// Brings what is in memory to a disk that had refused it.
    pub(super) fn retry_disk(&mut self, now: Now) {
        let Some(disk) = self.disk.as_mut().filter(|disk| disk.may_retry(now)) else {
            return;
        };
        let keys: Vec<_> = {
            let segments = self.book.segments().iter();
            let in_memory = segments.filter(|(_, s)| s.backing == Backing::Memory);
            in_memory
                .map(|(key, segment)| (*key, segment.last))
                .collect()
        };
        for (key, last) in keys {
            let held: Vec<_> = self.memory.range(batches(key, last)).collect();
            if held.is_empty() {
                continue;
            }
            let Some(segment) = disk.write_segment(now, key, &held, &self.checkpoint) else {
                return;
            };
            self.book.move_segment(key, segment);
            self.memory_segments[rank(key.kind)].take_if(|active| *active == key);
            self.memory
                .retain(|batch, _| !batches(key, last).contains(batch));
            self.must_save = true;
        }
        disk.took();
    }
}

fn batches(key: SegmentKey, last: u64) -> std::ops::RangeInclusive<BatchKey> {
    let batch = |sequence| BatchKey {
        kind: key.kind,
        epoch: key.epoch,
        sequence,
    };
    batch(key.first)..=batch(last)
}
