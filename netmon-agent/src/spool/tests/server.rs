//! What a server does with batches, in memory, and whether the books balance.

use std::collections::BTreeMap;

use netmon_common::wire::{Acknowledgement, Batch, Kind, Omission, StreamState, Uplink, uplink};
use prost::Message as _;

type Stream = (u64, i32);

/// Everything agents have said.
#[derive(Clone, Debug, Default)]
pub struct Server {
    pub batches: BTreeMap<(Stream, u64), Batch>,
    pub omissions: Vec<Omission>,
    pub streams: BTreeMap<Stream, (u64, u64)>,
    pub duplicates: u64,
    /// Up to where a stream was looked at: what is there stays there.
    audited: BTreeMap<Stream, u64>,
    /// In the order of arrival.
    pub arrivals: Vec<(Stream, u64)>,
}

impl Server {
    /// Stores a batch once.
    pub fn receive(&mut self, message: &[u8]) -> Acknowledgement {
        let Some(uplink::Message::Batch(batch)) = Uplink::decode(message).unwrap().message else {
            panic!("a spooled message is a batch");
        };
        let key = ((batch.epoch, batch.kind), batch.sequence);
        let acknowledgement = Acknowledgement {
            epoch: batch.epoch,
            kind: batch.kind,
            sequences: vec![batch.sequence],
            settled_through: 0,
        };
        if let Some(known) = self.batches.get(&key) {
            assert_eq!(*known, batch, "one number, one content");
            self.duplicates += 1;
            return acknowledgement;
        }
        self.arrivals.push(key);
        self.omissions.extend(&batch.omissions);
        for state in &batch.streams {
            let known = self.streams.entry((state.epoch, state.kind)).or_default();
            *known = (
                known.0.max(state.settled_through),
                known.1.max(state.sealed_through),
            );
        }
        self.batches.insert(key, batch);
        // An auditor may look at any moment.
        self.audit_streams();
        acknowledgement
    }

    /// A Hello says how far streams are; the rest of it is nobody's business here.
    pub fn greeted(&mut self, streams: &[StreamState]) {
        for state in streams {
            let known = self.streams.entry((state.epoch, state.kind)).or_default();
            known.0 = known.0.max(state.settled_through);
        }
        self.audit_streams();
    }

    pub fn is_omitted(&self, stream: Stream, sequence: u64) -> bool {
        self.omissions.iter().any(|omission| {
            (omission.epoch, omission.kind) == stream
                && (omission.first_sequence..=omission.last_sequence).contains(&sequence)
        })
    }

    /// Nothing is called settled that is neither stored nor omitted.
    pub fn audit_streams(&mut self) {
        for (stream, (settled, _)) in self.streams.clone() {
            let audited = self.audited.insert(stream, settled).unwrap_or(0);
            for sequence in audited + 1..=settled {
                assert!(
                    self.batches.contains_key(&(stream, sequence))
                        || self.is_omitted(stream, sequence),
                    "{stream:?} {sequence} of {settled} is lost; {:?}",
                    self.omissions
                );
            }
        }
    }

    /// Every stream is complete, and counters add up: a jump forward has a missing batch before it,
    /// a jump back is a doubling.
    pub fn audit(&mut self) {
        self.audit_streams();
        for (stream, (settled, sealed)) in &self.streams {
            let own = self.batches.keys().filter(|(s, _)| s == stream);
            let highest = own.map(|(_, sequence)| *sequence).max().unwrap_or(0);
            assert!(
                *settled == *sealed || *sealed == highest,
                "{stream:?}: {settled} of {sealed}"
            );
            assert!(highest <= *sealed, "{stream:?}: {highest} of {sealed}");
        }
        let mut last = (0, None);
        for (((epoch, kind), sequence), batch) in &self.batches {
            if *kind != Kind::Bandwidth as i32 {
                continue;
            }
            for frame in &batch.bandwidth {
                let total = frame.ingress_total.unwrap().packets;
                let delta: u64 = frame.ingress.as_ref().unwrap().packets.iter().sum();
                assert!(total - delta >= last.0, "{epoch} {sequence}: doubled");
                let missing = self.some_missing_before(last.1, (*epoch, *sequence));
                assert!(
                    total - delta == last.0 || missing,
                    "{epoch} {sequence}: {} packets from nowhere",
                    total - delta - last.0
                );
                last = (total, Some((*epoch, *sequence)));
            }
        }
    }

    fn some_missing_before(&self, from: Option<(u64, u64)>, to: (u64, u64)) -> bool {
        let kind = Kind::Bandwidth as i32;
        let missing_in = |epoch: u64, first: u64, last: u64| {
            (first..=last).any(|sequence| {
                self.is_omitted((epoch, kind), sequence)
                    && !self.batches.contains_key(&((epoch, kind), sequence))
            })
        };
        match from {
            Some((epoch, sequence)) if epoch == to.0 => missing_in(epoch, sequence + 1, to.1 - 1),
            Some((epoch, sequence)) => {
                missing_in(epoch, sequence + 1, sequence + 10_000) || missing_in(to.0, 1, to.1 - 1)
            }
            None => self.omissions.iter().any(|o| o.kind == kind),
        }
    }

    /// Numbers of a stream that are stored.
    pub fn stored(&self, epoch: u64, kind: Kind) -> Vec<u64> {
        let stream = (epoch, kind as i32);
        let of_stream = self.batches.keys().filter(|(s, _)| *s == stream);
        of_stream.map(|(_, sequence)| *sequence).collect()
    }

    pub fn packets(&self) -> u64 {
        let frames = self.batches.values().flat_map(|batch| &batch.bandwidth);
        frames
            .flat_map(|frame| &frame.ingress.as_ref().unwrap().packets)
            .sum()
    }
}
