//! How far each stream has come.

use netmon_common::wire::{Kind, StreamState};

use super::{Book, SegmentKey};

/// Most streams remembered whose batches are all settled.
const MAX_STREAMS: usize = 2048;

/// What is known of a stream beside its segments.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stream {
    pub(super) sealed_through: u64,
    /// What the newest report says, and the batch that carries it; 0: none.
    pub(super) reported: (u64, u64),
    pub(super) carrier: u64,
    /// What a server is known to have stored.
    pub(super) stored: (u64, u64),
}

impl Book {
    /// How far a stream of an earlier run had come by its own words.
    pub fn recover_stream(&mut self, state: &StreamState) {
        let Ok(kind) = Kind::try_from(state.kind) else {
            return;
        };
        let stream = self.streams.entry((state.epoch, kind)).or_default();
        stream.sealed_through = stream.sealed_through.max(state.sealed_through);
        self.settle_through(kind, state.epoch, state.settled_through, None);
    }

    /// The highest number of a stream.
    pub fn sealed_through(&self, epoch: u64, kind: Kind) -> u64 {
        let stream = self.streams.get(&(epoch, kind));
        stream.map_or(0, |stream| stream.sealed_through)
    }

    /// How far a stream has come.
    pub(super) fn settled_through(&self, epoch: u64, kind: Kind) -> u64 {
        let sealed = self.sealed_through(epoch, kind);
        let of_stream = SegmentKey {
            kind,
            epoch,
            first: 0,
        }..=SegmentKey {
            kind,
            epoch,
            first: u64::MAX,
        };
        let waiting = self.segments.range(of_stream);
        let first = waiting
            .filter_map(|(key, segment)| segment.first_waiting(key.first, 0))
            .next();
        first.map_or(sealed, |first| first - 1)
    }

    /// The streams that the state file keeps, newest first.
    pub fn saved_streams(&self) -> Vec<StreamState> {
        let newest_first = self.streams.keys().rev().take(MAX_STREAMS);
        newest_first
            .map(|(epoch, kind)| StreamState {
                epoch: *epoch,
                kind: (*kind).into(),
                settled_through: self.settled_through(*epoch, *kind),
                sealed_through: self.streams[&(*epoch, *kind)].sealed_through,
            })
            .collect()
    }
}
