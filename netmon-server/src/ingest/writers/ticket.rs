//! Batches that came together and wait for their verdicts.

use std::{ops::Range, sync::Arc};

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::{Answer, Message, Verdict, fair::Size};
use crate::ingest::{envelope::Part, session::Session};

/// What is known of a batch.
#[derive(Debug)]
enum Slot {
    Open,
    Decided(Verdict),
    Told,
}

/// Batches of one stream and kind. Their agent gets its answer when each has its verdict, or when
/// those that have none may take long.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) session: Arc<Session>,
    pub(super) size: Size,
    message: Arc<Message>,
    parts: Arc<[Part]>,
    range: Range<usize>,
    /// One for each in the range.
    slots: Vec<Slot>,
    open: usize,
    answer: oneshot::Sender<Answer>,
    /// Its place in the queue.
    _place: OwnedSemaphorePermit,
}

impl Ticket {
    /// A ticket, and where its answer will come.
    pub(super) fn new(
        session: &Arc<Session>,
        (parts, range): (Arc<[Part]>, Range<usize>),
        message: Arc<Message>,
        size: Size,
        place: OwnedSemaphorePermit,
    ) -> (Self, oneshot::Receiver<Answer>) {
        let (answer, receiver) = oneshot::channel();
        let ticket = Self {
            session: Arc::clone(session),
            size,
            message,
            slots: range.clone().map(|_| Slot::Open).collect(),
            open: range.len(),
            parts,
            range,
            answer,
            _place: place,
        };
        (ticket, receiver)
    }

    /// The agent's connection is gone: it will send the batches again.
    pub(super) fn is_gone(&self) -> bool {
        self.answer.is_closed()
    }

    /// Whether each batch has its verdict.
    pub(super) fn is_decided(&self) -> bool {
        self.open == 0
    }

    /// Numbers of the batches that have no verdict.
    pub(super) fn open(&self) -> Vec<usize> {
        let numbers = 0..self.slots.len();
        numbers.filter(|batch| self.is_open(*batch)).collect()
    }

    pub(super) fn is_open(&self, batch: usize) -> bool {
        matches!(self.slots[batch], Slot::Open)
    }

    /// A batch as it came.
    pub(super) fn batch(&self, batch: usize) -> &[u8] {
        &self.message.bytes[self.parts[self.range.start + batch].place.clone()]
    }

    pub(super) fn decide(&mut self, batch: usize, verdict: Verdict) {
        if self.is_open(batch) {
            self.open -= 1;
            self.slots[batch] = Slot::Decided(verdict);
        }
    }

    /// Sends the verdicts there are. Gives back what remains to be decided, if anything is and
    /// somebody waits for it.
    pub(super) fn answer(mut self) -> Option<Self> {
        let mut verdicts = Vec::with_capacity(self.slots.len());
        for (batch, slot) in self.slots.iter_mut().enumerate() {
            if let Slot::Decided(_) = slot
                && let Slot::Decided(verdict) = std::mem::replace(slot, Slot::Told)
            {
                verdicts.push((self.range.start + batch, verdict));
            }
        }
        if self.is_decided() {
            let Self {
                answer, message, ..
            } = self;
            // The places are free before anybody hears of it.
            drop(message);
            let rest = None;
            // Fails when nobody waits any more.
            let _ = answer.send(Answer { verdicts, rest });
            return None;
        }
        if !verdicts.is_empty() {
            let (next, rest) = oneshot::channel();
            let answer = std::mem::replace(&mut self.answer, next);
            let rest = Some(rest);
            answer.send(Answer { verdicts, rest }).ok()?;
        }
        (!self.is_gone()).then_some(self)
    }
}
