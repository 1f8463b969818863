//! Batches that will never come: each is counted by its cause, and kept for a report.

use netmon_common::wire::{Kind, Omission, OmissionCause};

use super::{Book, Segment, SegmentKey};
use crate::spool::window::BatchKey;

impl Book {
    /// Batches of this run that were sealed and never came into the spool.
    pub fn omit_unspooled(&mut self, kind: Kind, range: (u64, u64), counts: (u64, u64)) {
        self.tally.sealed(kind, counts.0);
        self.omit(kind, self.epoch, range, OmissionCause::SpoolFull, counts);
    }

    /// A batch that waits and cannot be read any more.
    pub fn omit_one(&mut self, batch: BatchKey, cause: OmissionCause) {
        let Some((key, segment)) = self.holding_mut(batch) else {
            return;
        };
        if let Some(size) = segment.settle(key.first, batch.sequence, None) {
            let range = (batch.sequence, batch.sequence);
            self.omit(batch.kind, batch.epoch, range, cause, (1, size.records));
        }
    }

    /// Batches that an earlier run left and that cannot be read, or are gone.
    pub fn omit_left(
        &mut self,
        kind: Kind,
        epoch: u64,
        range: (u64, u64),
        cause: OmissionCause,
        counts: (u64, u64),
    ) {
        self.tally.recovered(kind, counts.0);
        self.omit(kind, epoch, range, cause, counts);
    }

    /// Batches that are not there any more.
    pub(super) fn omit(
        &mut self,
        kind: Kind,
        epoch: u64,
        (first, last): (u64, u64),
        cause: OmissionCause,
        (batches, records): (u64, u64),
    ) {
        let stream = self.streams.entry((epoch, kind)).or_default();
        stream.sealed_through = stream.sealed_through.max(last);
        self.tally.omitted(kind, cause, batches, records);
        self.omissions.add(Omission {
            epoch,
            kind: kind.into(),
            first_sequence: first,
            last_sequence: last,
            cause: cause.into(),
            batches,
            records,
        });
        if epoch == self.epoch && kind == Kind::Bandwidth {
            self.carriers_lost(first, last);
        }
    }

    /// Gives a segment up; the file may be deleted once the omission is in the state file.
    pub fn give_up(&mut self, key: SegmentKey, cause: OmissionCause) -> Option<Segment> {
        let segment = self.remove(key)?;
        let first = segment.first_waiting(key.first, 0);
        if let (Some(first), Some(last)) = (first, segment.last_waiting(key.first)) {
            let counts = (
                u64::from(segment.unsettled()),
                segment.unsettled_size().records,
            );
            self.omit(key.kind, key.epoch, (first, last), cause, counts);
        }
        Some(segment)
    }
}
