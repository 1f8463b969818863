//! What the server says of batches.

use netmon_common::wire::{Kind, OmissionCause};

use super::{Book, Outcome, SegmentKey};
use crate::spool::{segment::Size, window::BatchKey};

impl Book {
    /// The server has spoken on one batch. Whether that was news.
    pub fn settle(&mut self, batch: BatchKey, outcome: Outcome, known: Option<Size>) -> bool {
        let Some((key, segment)) = self.holding_mut(batch) else {
            self.learn(batch);
            return false;
        };
        let Some(size) = segment.settle(key.first, batch.sequence, known) else {
            return false;
        };
        self.tally.settled(batch.kind, outcome, size.records);
        if batch.kind == Kind::Bandwidth && batch.epoch == self.epoch {
            match outcome {
                Outcome::Stored => self.reports_stored(batch.sequence),
                Outcome::Refused => self.carriers_lost(batch.sequence, batch.sequence),
            }
        }
        true
    }

    /// The server has every batch of a stream up to this one; `known` tells what those on their way
    /// were.
    pub fn settle_through(
        &mut self,
        kind: Kind,
        epoch: u64,
        through: u64,
        known: Option<&dyn Fn(BatchKey) -> Option<Size>>,
    ) {
        let keys = self.segments.range(
            SegmentKey {
                kind,
                epoch,
                first: 0,
            }..=SegmentKey {
                kind,
                epoch,
                first: through,
            },
        );
        for key in keys.map(|(key, _)| *key).collect::<Vec<_>>() {
            let segment = &self.segments[&key];
            let waiting: Vec<u64> = (key.first..=through.min(segment.last))
                .filter(|sequence| segment.waits(key.first, *sequence))
                .collect();
            for sequence in waiting {
                let batch = BatchKey {
                    kind,
                    epoch,
                    sequence,
                };
                let size = known.and_then(|known| known(batch));
                self.settle(batch, Outcome::Stored, size);
            }
        }
    }

    /// The server holds a batch of an earlier run that lies beyond what the disk kept: those before
    /// it are lost.
    fn learn(&mut self, batch: BatchKey) {
        let Some(stream) = self.streams.get(&(batch.epoch, batch.kind)) else {
            return;
        };
        let known = stream.sealed_through;
        if batch.epoch == self.epoch || batch.sequence <= known {
            return;
        }
        if batch.sequence > known + 1 {
            let lost = batch.sequence - known - 1;
            let range = (known + 1, batch.sequence - 1);
            self.omit_left(
                batch.kind,
                batch.epoch,
                range,
                OmissionCause::NotSpooled,
                (lost, 0),
            );
        }
        let stream = self.streams.entry((batch.epoch, batch.kind)).or_default();
        stream.sealed_through = batch.sequence;
    }
}
