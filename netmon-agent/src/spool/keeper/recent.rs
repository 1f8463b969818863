//! The newest messages of this run, in memory beside the disk, so that they need not be read again.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::spool::window::BatchKey;

/// Most octets of them.
const MAX_BYTES: usize = 2 << 20;

/// Encoded batches that are on the disk as well.
#[derive(Debug, Default)]
pub struct Recent {
    messages: BTreeMap<BatchKey, Bytes>,
    order: VecDeque<BatchKey>,
    bytes: usize,
}

impl Recent {
    /// Adds the newest one; the oldest ones go.
    pub fn remember(&mut self, batch: BatchKey, message: Bytes) {
        self.bytes += message.len();
        self.messages.insert(batch, message);
        self.order.push_back(batch);
        while self.bytes > MAX_BYTES {
            let Some(oldest) = self.order.pop_front() else {
                return;
            };
            self.bytes -= self.messages.remove(&oldest).map_or(0, |m| m.len());
        }
    }

    /// A batch's message, if it is at hand.
    pub fn get(&self, batch: &BatchKey) -> Option<&Bytes> {
        self.messages.get(batch)
    }
}
