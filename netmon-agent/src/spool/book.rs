//! The spool's books: which segments there are, what of them waits, what has to go, and what the
//! server is told of it. Pure: files and sockets lie with the keeper.

mod caps;
mod omitting;
mod reports;
mod sending;
mod streams;
mod tally;
mod verdicts;

use std::collections::{BTreeMap, BTreeSet};

use netmon_common::wire::Kind;

use self::streams::Stream;
pub use self::{
    caps::{Caps, SEGMENT_BYTES},
    sending::{Cursor, Next},
    tally::{Outcome, Tally},
};
use super::{
    omissions::Omissions,
    segment::{Backing, Entry, Segment, SegmentKey},
    window::BatchKey,
};

/// Everything the spool knows.
#[derive(Debug)]
pub struct Book {
    epoch: u64,
    caps: Caps,
    segments: BTreeMap<SegmentKey, Segment>,
    loaded: BTreeSet<SegmentKey>,
    streams: BTreeMap<(u64, Kind), Stream>,
    /// What will never come.
    pub omissions: Omissions,
    tally: Tally,
}

impl Book {
    /// Empty books of a new run.
    pub fn new(epoch: u64, caps: Caps) -> Self {
        Self {
            epoch,
            caps,
            segments: BTreeMap::new(),
            loaded: BTreeSet::new(),
            streams: BTreeMap::new(),
            omissions: Omissions::default(),
            tally: Tally::default(),
        }
    }

    /// Renames the run before its first batch.
    pub fn begin(&mut self, epoch: u64) {
        self.epoch = epoch;
    }

    /// The run that numbers new batches.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// What became of batches.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// The index.
    pub fn segments(&self) -> &BTreeMap<SegmentKey, Segment> {
        &self.segments
    }

    /// Batches that wait and their octets.
    pub fn waiting(&self) -> (u64, u64) {
        self.segments.values().fold((0, 0), |(batches, bytes), s| {
            (
                batches + u64::from(s.unsettled()),
                bytes + s.unsettled_size().bytes,
            )
        })
    }

    /// When the oldest batch that waits was sealed, ns since 1970: for a segment that is not in use,
    /// when its last one was.
    pub fn oldest_unix_ns(&self) -> Option<i64> {
        let mut kind = None;
        let waiting = self.segments.iter().filter(|(_, s)| s.unsettled() > 0);
        // The segments of a kind are in their order.
        let oldest = waiting.filter(|(key, _)| kind.replace(key.kind) != Some(key.kind));
        oldest
            .map(|(key, segment)| segment.oldest_unix_ns(key.first))
            .min()
    }

    /// Octets of memory the index takes.
    pub fn index_bytes(&self) -> usize {
        self.segments.values().map(Segment::index_bytes).sum()
    }

    /// A segment that an earlier run left.
    pub fn recover(&mut self, key: SegmentKey, mut segment: Segment) {
        segment.unload();
        let stream = self.streams.entry((key.epoch, key.kind)).or_default();
        stream.sealed_through = stream.sealed_through.max(segment.last);
        self.tally
            .recovered(key.kind, u64::from(segment.unsettled()));
        self.segments.insert(key, segment);
    }

    /// A new segment, to be appended to.
    pub fn open_segment(&mut self, key: SegmentKey, backing: Backing, header_bytes: u64) {
        let mut segment = Segment::new(backing, key.first);
        segment.bytes = header_bytes;
        self.loaded.insert(key);
        self.segments.insert(key, segment);
    }

    /// A batch was written into a segment.
    pub fn append(&mut self, key: SegmentKey, entry: Entry) {
        let stream = self.streams.entry((key.epoch, key.kind)).or_default();
        stream.sealed_through = stream.sealed_through.max(entry.sequence);
        self.tally.sealed(key.kind, 1);
        if let Some(segment) = self.segments.get_mut(&key) {
            segment.push(key.first, entry);
        }
    }

    /// A segment lies elsewhere now.
    pub fn move_segment(&mut self, key: SegmentKey, segment: Segment) {
        self.loaded.insert(key);
        self.segments.insert(key, segment);
    }

    /// Forgets a segment.
    pub fn remove(&mut self, key: SegmentKey) -> Option<Segment> {
        self.loaded.remove(&key);
        self.segments.remove(&key)
    }

    /// Segments in which nothing waits, but for those that are written to.
    pub fn finished(&self, active: impl Fn(SegmentKey) -> bool) -> Vec<SegmentKey> {
        let done = self.segments.iter().filter(|(_, s)| s.unsettled() == 0);
        done.map(|(key, _)| *key)
            .filter(|key| !active(*key))
            .collect()
    }

    fn holding_mut(&mut self, batch: BatchKey) -> Option<(SegmentKey, &mut Segment)> {
        let upto = SegmentKey {
            kind: batch.kind,
            epoch: batch.epoch,
            first: batch.sequence,
        };
        let (key, segment) = self.segments.range_mut(..=upto).next_back()?;
        let holds =
            key.kind == batch.kind && key.epoch == batch.epoch && batch.sequence <= segment.last;
        holds.then_some((*key, segment))
    }

    /// Whether a batch waits for its verdict.
    pub fn waits(&self, batch: BatchKey) -> bool {
        let upto = SegmentKey {
            kind: batch.kind,
            epoch: batch.epoch,
            first: batch.sequence,
        };
        let held = self.segments.range(..=upto).next_back();
        held.is_some_and(|(key, segment)| {
            (key.kind, key.epoch) == (batch.kind, batch.epoch)
                && segment.waits(key.first, batch.sequence)
        })
    }
}

/// The lowest key of a kind.
pub(super) const fn first_of(kind: Kind) -> SegmentKey {
    SegmentKey {
        kind,
        epoch: 0,
        first: 0,
    }
}

/// The highest key of a kind.
pub(super) const fn last_of(kind: Kind) -> SegmentKey {
    SegmentKey {
        kind,
        epoch: u64::MAX,
        first: u64::MAX,
    }
}
