//! How far each stream of an agent is settled: what a cumulative acknowledgement says.

use std::collections::{BTreeMap, HashMap, hash_map::Entry};

use netmon_common::wire::{Kind, StreamState};

/// Ranges remembered beyond what is settled, over all streams; later verdicts are told one by one.
const MAX_RANGES: usize = 4096;

/// The streams whose beginning is known, by the agent's own word in its Hello.
#[derive(Debug, Default)]
pub(super) struct Settled {
    streams: HashMap<(u64, Kind), Stream>,
    ranges: usize,
}

#[derive(Debug)]
struct Stream {
    /// Every batch up to this one has its verdict, or will never come.
    through: u64,
    /// Verdicts beyond: the first and the last of numbers that follow each other.
    beyond: BTreeMap<u64, u64>,
}

impl Settled {
    /// Takes the agent's word.
    pub(super) fn new(streams: &[StreamState]) -> Self {
        let mut settled = Self::default();
        for state in streams {
            let stream = Stream {
                through: state.settled_through,
                beyond: BTreeMap::new(),
            };
            match settled.streams.entry((state.epoch, state.kind())) {
                Entry::Vacant(entry) => drop(entry.insert(stream)),
                Entry::Occupied(mut said) => {
                    said.get_mut().through = said.get().through.max(state.settled_through);
                }
            }
        }
        settled
    }

    /// How far the stream is settled; 0 for one the agent did not speak of.
    pub(super) fn through(&self, epoch: u64, kind: Kind) -> u64 {
        self.streams
            .get(&(epoch, kind))
            .map_or(0, |stream| stream.through)
    }

    /// A batch has its verdict. Gives how far the stream is settled now.
    pub(super) fn settle(&mut self, epoch: u64, kind: Kind, sequence: u64) -> u64 {
        let Some(stream) = self.streams.get_mut(&(epoch, kind)) else {
            return 0;
        };
        let before = stream.beyond.len();
        if stream.is_next(sequence) || self.ranges < MAX_RANGES {
            stream.insert(sequence);
        }
        self.ranges = self.ranges + stream.beyond.len() - before;
        stream.through
    }

    /// Every batch up to one has its verdict.
    pub(super) fn raise(&mut self, epoch: u64, kind: Kind, through: u64) {
        if let Some(stream) = self.streams.get_mut(&(epoch, kind)) {
            let before = stream.beyond.len();
            stream.through = stream.through.max(through);
            stream.swallow();
            self.ranges = self.ranges + stream.beyond.len() - before;
        }
    }
}

impl Stream {
    fn is_next(&self, sequence: u64) -> bool {
        self.through.checked_add(1) == Some(sequence)
    }

    fn insert(&mut self, sequence: u64) {
        if sequence <= self.through {
            return;
        }
        let (mut first, mut last) = (sequence, sequence);
        if let Some((start, end)) = self.beyond.range(..=sequence).next_back().map(pair) {
            if sequence <= end {
                return;
            }
            if end + 1 == sequence {
                self.beyond.remove(&start);
                first = start;
            }
        }
        if let Some(after) = sequence.checked_add(1)
            && let Some(end) = self.beyond.remove(&after)
        {
            last = end;
        }
        self.beyond.insert(first, last);
        self.swallow();
    }

    /// Moves on over what follows.
    fn swallow(&mut self) {
        while let Some((first, last)) = self.beyond.first_key_value().map(pair) {
            if first > self.through.saturating_add(1) {
                return;
            }
            self.through = self.through.max(last);
            self.beyond.remove(&first);
        }
    }
}

fn pair((first, last): (&u64, &u64)) -> (u64, u64) {
    (*first, *last)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: Kind = Kind::Bandwidth;

    fn settled(through: u64) -> Settled {
        Settled::new(&[StreamState {
            epoch: 9,
            kind: KIND.into(),
            settled_through: through,
            sealed_through: 100,
        }])
    }

    #[test]
    fn verdicts_in_any_order_settle_the_stream_once_there_is_no_hole() {
        let mut settled = settled(3);
        let told =
            [6, 5, 5, 8, 4, 2, 7, u64::MAX, 9].map(|sequence| settled.settle(9, KIND, sequence));
        assert_eq!(told, [3, 3, 3, 3, 6, 6, 8, 8, 9]);
        assert_eq!(settled.ranges, 1);
    }

    #[test]
    fn streams_the_agent_did_not_speak_of_are_never_settled_as_a_whole() {
        let mut settled = settled(3);
        assert_eq!(settled.settle(9, Kind::System, 1), 0);
        assert_eq!(settled.settle(8, KIND, 1), 0);
        assert_eq!(settled.through(8, KIND), 0);
    }

    #[test]
    fn a_floor_settles_everything_below_it() {
        let mut settled = settled(3);
        settled.settle(9, KIND, 11);
        settled.settle(9, KIND, 6);
        settled.raise(9, KIND, 10);
        assert_eq!((settled.through(9, KIND), settled.ranges), (11, 0));
        settled.raise(9, KIND, 5);
        assert_eq!(settled.through(9, KIND), 11);
    }

    #[test]
    fn holes_without_end_take_no_memory_without_end() {
        let mut settled = settled(0);
        for n in 0..10_000 {
            settled.settle(9, KIND, 3 + 2 * n);
        }
        assert_eq!(settled.ranges, MAX_RANGES);
        // What follows goes on.
        assert_eq!(settled.settle(9, KIND, 1), 1);
        assert_eq!(settled.settle(9, KIND, 2), 3);
    }
}
