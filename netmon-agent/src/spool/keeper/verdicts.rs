//! What the server says of batches.

use netmon_common::wire::{Acknowledgement, Kind, Refusal};

use super::Keeper;
use crate::{
    clock::Now,
    spool::{book::Outcome, window::BatchKey},
};

impl Keeper {
    /// The server has stored batches.
    pub fn acknowledged(&mut self, now: Now, acknowledgement: &Acknowledgement) {
        let Ok(kind) = Kind::try_from(acknowledgement.kind) else {
            return;
        };
        let epoch = acknowledgement.epoch;
        for sequence in &acknowledgement.sequences {
            let batch = BatchKey {
                kind,
                epoch,
                sequence: *sequence,
            };
            self.settle(now, batch, Outcome::Stored);
        }
        let through = acknowledgement.settled_through;
        if through > 0 {
            let session = self.session.as_ref();
            let size = |batch| session.and_then(|session| session.window.size_of(batch));
            self.book.settle_through(kind, epoch, through, Some(&size));
            let Self {
                memory,
                book,
                session,
                ..
            } = self;
            memory.retain(|batch, _| book.waits(*batch));
            if let Some(session) = session {
                session.window.retain(|batch| book.waits(batch));
            }
        }
        self.state_is_old = true;
    }

    /// The server will never store a batch.
    pub fn refused(&mut self, now: Now, refusal: &Refusal) {
        if let Ok(kind) = Kind::try_from(refusal.kind) {
            let batch = BatchKey {
                kind,
                epoch: refusal.epoch,
                sequence: refusal.sequence,
            };
            self.settle(now, batch, Outcome::Refused);
            self.state_is_old = true;
        }
    }

    fn settle(&mut self, now: Now, batch: BatchKey, outcome: Outcome) {
        let session = self.session.as_mut();
        let size = session.and_then(|session| session.window.answered(now.monotonic_ns, batch));
        if self.book.settle(batch, outcome, size) {
            self.memory.remove(&batch);
        }
    }
}
