//! What one simulated agent has to send, and what of it has its verdict.
//!
//! Bookkeeping on (event, now). Messages are made from their numbers when they are sent, also when
//! they are sent again, so nothing but numbers is kept.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use netmon_common::wire::{Acknowledgement, Kind, StreamState};

/// Most batches on their way at a time, as the real agent's.
const MAX_IN_FLIGHT: usize = 32;

/// A batch by its stream and number.
pub type Key = (Kind, u64);

/// The streams of one epoch.
#[derive(Debug, Default)]
pub struct Outbox {
    streams: BTreeMap<Kind, Stream>,
    in_flight: BTreeMap<Key, Instant>,
    /// Which stream is asked first: each gets its turn.
    turn: usize,
}

#[derive(Debug, Default)]
struct Stream {
    /// Highest number given out.
    sealed: u64,
    /// Highest number of the backlog.
    backlog: u64,
    /// Highest number sent in this session.
    sent: u64,
    /// Highest number ever sent.
    ever_sent: u64,
    /// Everything up to here has its verdict …
    settled: u64,
    /// … and these beyond.
    beyond: BTreeSet<u64>,
}

impl Outbox {
    /// Seals one more batch of a kind.
    pub fn seal(&mut self, kind: Kind) {
        self.streams.entry(kind).or_default().sealed += 1;
    }

    /// Begins with so many that were sealed while no server was there.
    pub fn fill(&mut self, kind: Kind, backlog: u64) {
        let stream = self.streams.entry(kind).or_default();
        stream.sealed = stream.sealed.max(backlog);
        stream.backlog = backlog;
    }

    /// The next batch to send, of that kind if one is named, if the window has room, and whether it
    /// was sent before.
    pub fn next(&mut self, now: Instant, of: Option<Kind>) -> Option<(Key, bool)> {
        if self.in_flight.len() >= MAX_IN_FLIGHT {
            return None;
        }
        if of.is_none() {
            self.turn = self.turn.wrapping_add(1);
        }
        let kinds = self.streams.len();
        let (kind, stream) = (0..kinds).find_map(|step| {
            let index = (self.turn + step) % kinds;
            let (kind, stream) = self.streams.iter().nth(index)?;
            let is_asked = of.is_none_or(|of| of == *kind);
            (is_asked && stream.sent < stream.sealed).then_some((*kind, stream))
        })?;
        let mut sequence = stream.sent + 1;
        while stream.beyond.contains(&sequence) {
            sequence += 1;
        }
        let stream = self.streams.get_mut(&kind)?;
        stream.sent = sequence.min(stream.sealed);
        if sequence > stream.sealed {
            return self.next(now, of);
        }
        let again = sequence <= stream.ever_sent;
        stream.ever_sent = stream.ever_sent.max(sequence);
        self.in_flight.insert((kind, sequence), now);
        Some(((kind, sequence), again))
    }

    /// Takes an acknowledgement; gives the numbers that it settles, with when they were sent.
    pub fn acknowledged(&mut self, message: &Acknowledgement) -> Vec<(Key, Instant)> {
        let kind = message.kind();
        let through = message.settled_through;
        let named = message.sequences.iter().map(|sequence| (kind, *sequence));
        let below = self.in_flight.range((kind, 0)..=(kind, through));
        let keys: BTreeSet<Key> = below.map(|(key, _)| *key).chain(named).collect();
        if let Some(stream) = self.streams.get_mut(&kind) {
            stream.settle(through, &message.sequences);
        }
        keys.into_iter()
            .filter_map(|key| Some((key, self.in_flight.remove(&key)?)))
            .collect()
    }

    /// A new connection: whatever has no verdict is sent again.
    pub fn start_over(&mut self) {
        self.in_flight.clear();
        for stream in self.streams.values_mut() {
            stream.sent = stream.settled;
        }
    }

    /// What was never sent is never sealed.
    pub fn cut(&mut self) {
        for stream in self.streams.values_mut() {
            stream.sealed = stream.ever_sent;
        }
    }

    /// Whether everything sealed has its verdict.
    pub fn is_settled(&self) -> bool {
        self.streams.values().all(|s| s.settled == s.sealed)
    }

    /// What a batch reports: the real agent's say how its streams stand when they are sealed near a
    /// server, and those of its backlog were not.
    pub fn reports(&self, (kind, sequence): Key, epoch: u64) -> Vec<StreamState> {
        let backlog = self.streams.get(&kind).map_or(0, |stream| stream.backlog);
        match sequence > backlog {
            true => self.states(epoch),
            false => Vec::new(),
        }
    }

    /// The state of every stream, in the words of the protocol.
    pub fn states(&self, epoch: u64) -> Vec<StreamState> {
        let state = |(kind, stream): (&Kind, &Stream)| StreamState {
            epoch,
            kind: (*kind).into(),
            settled_through: stream.settled,
            sealed_through: stream.sealed,
        };
        self.streams.iter().map(state).collect()
    }
}

impl Stream {
    fn settle(&mut self, through: u64, sequences: &[u64]) {
        self.beyond.extend(sequences);
        self.settled = self.settled.max(through);
        while self.beyond.remove(&(self.settled + 1)) {
            self.settled += 1;
        }
        self.beyond = self.beyond.split_off(&(self.settled + 1));
        self.sent = self.sent.max(self.settled);
    }
}
