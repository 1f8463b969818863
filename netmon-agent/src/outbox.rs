//! Batches on their way to the server: sealed in order, kept until the server has stored them.
//!
//! Pure bookkeeping: the uplink asks what to send and tells what was stored.

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use netmon_common::wire::{
    self, BandwidthFrame, ClockState, Interface, NtpExchange, Uplink, uplink,
};
use prost::Message as _;

use crate::clock::{Now, Synchronisation};

/// A batch is sealed early rather than grow beyond this many bytes, well below the protocol's
/// limit for a message.
const SOFT_LIMIT_BYTES: usize = wire::MAX_UPLINK_BYTES / 2;

/// Bounds of the outbox.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A batch is sealed at this many records …
    pub max_records: usize,
    /// … or at this age.
    pub max_age: Duration,
    /// Most bytes of sealed batches.
    pub max_bytes: usize,
}

/// How many records of each kind a batch holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Records {
    /// Bandwidth frames.
    pub bandwidth: u64,
    /// NTP exchanges.
    pub exchanges: u64,
}

/// A batch as it travels.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// Its number within the epoch.
    pub sequence: u64,
    /// The encoded [`Uplink`].
    pub message: Bytes,
    /// What it holds.
    pub records: Records,
}

/// What became of batches, in running totals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Sealed.
    pub sealed: u64,
    /// Stored by the server.
    pub stored: u64,
    /// Refused by the server for good.
    pub refused: u64,
    /// Dropped because the outbox was full.
    pub dropped: u64,
    /// Records in refused batches.
    pub refused_records: Records,
    /// Records in dropped batches.
    pub dropped_records: Records,
}

/// The open batch and the sealed ones.
#[derive(Debug)]
pub struct Outbox {
    epoch: u64,
    limits: Limits,
    next_sequence: u64,
    open: wire::Batch,
    open_bytes: usize,
    open_since_ns: Option<u64>,
    sealed: BTreeMap<u64, Sealed>,
    sealed_bytes: usize,
    tally: Tally,
}

impl Outbox {
    /// An empty outbox of a new epoch.
    pub fn new(epoch: u64, limits: Limits) -> Self {
        Self {
            epoch,
            limits,
            next_sequence: 1,
            open: wire::Batch::default(),
            open_bytes: 0,
            open_since_ns: None,
            sealed: BTreeMap::new(),
            sealed_bytes: 0,
            tally: Tally::default(),
        }
    }

    /// The run of the agent that numbers the batches.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// What became of batches so far.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// Number and bytes of batches that the server has not stored.
    pub fn waiting(&self) -> (usize, usize) {
        (self.sealed.len(), self.sealed_bytes)
    }

    /// Whether a sealed batch waits.
    pub fn has_sealed(&self) -> bool {
        !self.sealed.is_empty()
    }

    /// Whether everything is stored and nothing is open.
    pub fn is_empty(&self) -> bool {
        self.sealed.is_empty() && self.open_since_ns.is_none()
    }

    /// Adds a frame of samples.
    pub fn push_bandwidth(&mut self, now: Now, frame: BandwidthFrame, clock: Synchronisation) {
        self.add(now, frame.encoded_len(), clock, |open| {
            open.bandwidth.push(frame)
        });
    }

    /// Adds an exchange.
    pub fn push_exchange(&mut self, now: Now, exchange: NtpExchange, clock: Synchronisation) {
        self.add(now, exchange.encoded_len(), clock, |open| {
            open.exchanges.push(exchange)
        });
    }

    /// Adds an interface that appeared or changed.
    pub fn push_interface(&mut self, now: Now, interface: Interface, clock: Synchronisation) {
        self.add(now, interface.encoded_len(), clock, |open| {
            open.interfaces.push(interface)
        });
    }

    fn add(
        &mut self,
        now: Now,
        bytes: usize,
        clock: Synchronisation,
        push: impl FnOnce(&mut wire::Batch),
    ) {
        if self.open_bytes + bytes > SOFT_LIMIT_BYTES {
            self.seal(now, clock);
        }
        push(&mut self.open);
        // Tag and length of an embedded message take at most six octets here.
        self.open_bytes += bytes + 6;
        self.open_since_ns.get_or_insert(now.monotonic_ns);
        let records =
            self.open.bandwidth.len() + self.open.exchanges.len() + self.open.interfaces.len();
        if records >= self.limits.max_records {
            self.seal(now, clock);
        }
    }

    /// Seals the open batch if it is old enough.
    pub fn seal_if_due(&mut self, now: Now, clock: Synchronisation) {
        let due = self.open_since_ns.is_some_and(|since_ns| {
            u128::from(now.monotonic_ns.saturating_sub(since_ns)) >= self.limits.max_age.as_nanos()
        });
        if due {
            self.seal(now, clock);
        }
    }

    /// Seals the open batch unless it is empty.
    pub fn seal(&mut self, now: Now, clock: Synchronisation) {
        if self.open_since_ns.take().is_none() {
            return;
        }
        let batch = wire::Batch {
            epoch: self.epoch,
            sequence: self.next_sequence,
            sealed_at_unix_ns: now.unix_ns,
            clock: Some(ClockState {
                synchronised: clock.synchronised,
                maximum_error_us: clock.maximum_error_us,
                estimated_error_us: clock.estimated_error_us,
            }),
            ..std::mem::take(&mut self.open)
        };
        self.open_bytes = 0;
        self.next_sequence += 1;
        self.tally.sealed += 1;
        let records = Records {
            bandwidth: batch.bandwidth.len() as u64,
            exchanges: batch.exchanges.len() as u64,
        };
        let sequence = batch.sequence;
        let message = Uplink {
            message: Some(uplink::Message::Batch(batch)),
        }
        .encode_to_vec();
        self.sealed_bytes += message.len();
        self.sealed.insert(
            sequence,
            Sealed {
                sequence,
                message: message.into(),
                records,
            },
        );
        self.make_room();
    }

    /// Drops batches while there are more bytes than allowed: the oldest of those without bandwidth
    /// first, then the oldest of all. The newest always stays.
    fn make_room(&mut self) {
        while self.sealed_bytes > self.limits.max_bytes && self.sealed.len() > 1 {
            let newest = self.sealed.last_key_value().map(|(sequence, _)| *sequence);
            let cheap =
                |sealed: &Sealed| sealed.records.bandwidth == 0 && Some(sealed.sequence) != newest;
            let victim = self.sealed.values().find(|sealed| cheap(sealed));
            let victim = victim.or_else(|| self.sealed.values().next());
            let Some(sequence) = victim.map(|sealed| sealed.sequence) else {
                break;
            };
            let Some(dropped) = self.remove(sequence) else {
                break;
            };
            self.tally.dropped += 1;
            add(&mut self.tally.dropped_records, dropped.records);
        }
    }

    /// The first sealed batch after `sequence` (0: the first of all).
    pub fn next_after(&self, sequence: u64) -> Option<Sealed> {
        self.sealed
            .range(sequence + 1..)
            .next()
            .map(|(_, sealed)| sealed.clone())
    }

    /// How many batches up to `sequence` are not stored yet.
    pub fn unstored_up_to(&self, sequence: u64) -> usize {
        self.sealed.range(..=sequence).count()
    }

    /// The server has stored the batch. A batch of another epoch, or one already gone, is no news.
    pub fn stored(&mut self, epoch: u64, sequence: u64) {
        if epoch == self.epoch && self.remove(sequence).is_some() {
            self.tally.stored += 1;
        }
    }

    /// The server will never store the batch.
    pub fn refused(&mut self, epoch: u64, sequence: u64) {
        if epoch != self.epoch {
            return;
        }
        if let Some(batch) = self.remove(sequence) {
            self.tally.refused += 1;
            add(&mut self.tally.refused_records, batch.records);
        }
    }

    fn remove(&mut self, sequence: u64) -> Option<Sealed> {
        let batch = self.sealed.remove(&sequence)?;
        self.sealed_bytes -= batch.message.len();
        Some(batch)
    }
}

fn add(sum: &mut Records, records: Records) {
    sum.bandwidth += records.bandwidth;
    sum.exchanges += records.exchanges;
}
