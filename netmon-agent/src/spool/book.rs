//! The spool's books: which segments there are, what of them waits, what has to go, and what the
//! server is told of it. Pure: files and sockets lie with the keeper.

mod sending;
mod tally;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use netmon_common::wire::{KINDS, Kind, Omission, OmissionCause, StreamState};

pub use self::{
    sending::{Cursor, Next},
    tally::{Outcome, Tally},
};
use super::{
    omissions::Omissions,
    segment::{Backing, Entry, Segment, SegmentKey, Size},
    window::BatchKey,
};

/// What a segment has before the next is begun: a file is read whole, and given up whole.
pub const SEGMENT_BYTES: u64 = 1 << 20;

/// What the smallest file takes up.
const BLOCK_BYTES: u64 = 4096;

/// Most streams remembered whose batches are all settled.
const MAX_STREAMS: usize = 2048;

/// Bounds of the spool.
#[derive(Clone, Copy, Debug)]
pub struct Caps {
    /// Most octets of files.
    pub disk_bytes: u64,
    /// Most octets in memory.
    pub memory_bytes: u64,
    /// No batch is kept for longer.
    pub max_age: Duration,
    /// A segment that is this large is not appended to any more.
    pub segment_bytes: u64,
}

/// What is known of a stream beside its segments.
#[derive(Clone, Copy, Debug, Default)]
struct Stream {
    sealed_through: u64,
    /// What the newest report says, and the batch that carries it; 0: none.
    reported: (u64, u64),
    carrier: u64,
    /// What a server is known to have stored.
    stored: (u64, u64),
}

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

    /// Its bounds.
    pub fn caps(&self) -> &Caps {
        &self.caps
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

    /// Octets of files (whole blocks) or of memory.
    pub fn bytes_in(&self, backing: Backing) -> u64 {
        let of_backing = self.segments.values().filter(|s| s.backing == backing);
        of_backing
            .map(|segment| match backing {
                Backing::File => segment.bytes.next_multiple_of(BLOCK_BYTES),
                Backing::Memory => segment.unsettled_size().bytes,
            })
            .sum()
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

    /// How far a stream of an earlier run had come by its own words.
    pub fn recover_stream(&mut self, state: &StreamState) {
        let Ok(kind) = Kind::try_from(state.kind) else {
            return;
        };
        let stream = self.streams.entry((state.epoch, kind)).or_default();
        stream.sealed_through = stream.sealed_through.max(state.sealed_through);
        self.settle_through(kind, state.epoch, state.settled_through, None);
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

    /// Batches of this run that were sealed and never came into the spool.
    pub fn omit_unspooled(&mut self, kind: Kind, range: (u64, u64), counts: (u64, u64)) {
        self.tally.sealed(kind, counts.0);
        self.omit(kind, self.epoch, range, OmissionCause::SpoolFull, counts);
    }

    /// A batch that waits and cannot be read any more.
    pub fn omit_one(&mut self, batch: BatchKey, cause: OmissionCause) {
        let Some((key, segment)) = self.holding_mut(batch) else {
            return;
        };
        if let Some(size) = segment.settle(key.first, batch.sequence, None) {
            let range = (batch.sequence, batch.sequence);
            self.omit(batch.kind, batch.epoch, range, cause, (1, size.records));
        }
    }

    /// Batches that an earlier run left and that cannot be read, or are gone.
    pub fn omit_left(
        &mut self,
        kind: Kind,
        epoch: u64,
        range: (u64, u64),
        cause: OmissionCause,
        counts: (u64, u64),
    ) {
        self.tally.recovered(kind, counts.0);
        self.omit(kind, epoch, range, cause, counts);
    }

    /// Batches that are not there any more.
    fn omit(
        &mut self,
        kind: Kind,
        epoch: u64,
        (first, last): (u64, u64),
        cause: OmissionCause,
        (batches, records): (u64, u64),
    ) {
        let stream = self.streams.entry((epoch, kind)).or_default();
        stream.sealed_through = stream.sealed_through.max(last);
        self.tally.omitted(kind, cause, batches, records);
        self.omissions.add(Omission {
            epoch,
            kind: kind.into(),
            first_sequence: first,
            last_sequence: last,
            cause: cause.into(),
            batches,
            records,
        });
        if epoch == self.epoch && kind == Kind::Bandwidth {
            self.carriers_lost(first, last);
        }
    }

    fn carriers_lost(&mut self, first: u64, last: u64) {
        self.omissions.carriers_lost(first, last);
        for stream in self.streams.values_mut() {
            if (first..=last).contains(&stream.carrier) {
                stream.carrier = 0;
                stream.reported = stream.stored;
            }
        }
    }

    /// The segment that goes next because there is too much: the oldest of the least valuable kind.
    /// `among`: only of this backing.
    pub fn victim(&self, among: Option<Backing>) -> Option<SegmentKey> {
        let waits = |(_, segment): &(&SegmentKey, &Segment)| {
            among.is_none_or(|backing| segment.backing == backing)
        };
        KINDS.into_iter().rev().find_map(|kind| {
            let of_kind = self.segments.range(first_of(kind)..=last_of(kind));
            of_kind.filter(waits).map(|(key, _)| *key).next()
        })
    }

    /// Whether files or memory hold more than they may.
    pub fn is_over(&self, backing: Backing) -> bool {
        let cap = match backing {
            Backing::File => self.caps.disk_bytes,
            Backing::Memory => self.caps.memory_bytes,
        };
        self.bytes_in(backing) > cap
    }

    /// Segments whose youngest batch is older than batches may get.
    pub fn too_old(&self, now_unix_ns: i64) -> Vec<SegmentKey> {
        let max_age_ns = i64::try_from(self.caps.max_age.as_nanos()).unwrap_or(i64::MAX);
        let limit = now_unix_ns.saturating_sub(max_age_ns);
        let old = self
            .segments
            .iter()
            .filter(|(_, segment)| segment.unsettled() > 0 && segment.sealed_at_unix_ns < limit);
        old.map(|(key, _)| *key).collect()
    }

    /// Gives a segment up; the file may be deleted once the omission is in the state file.
    pub fn give_up(&mut self, key: SegmentKey, cause: OmissionCause) -> Option<Segment> {
        let segment = self.remove(key)?;
        let first = segment.first_waiting(key.first, 0);
        if let (Some(first), Some(last)) = (first, segment.last_waiting(key.first)) {
            let counts = (
                u64::from(segment.unsettled()),
                segment.unsettled_size().records,
            );
            self.omit(key.kind, key.epoch, (first, last), cause, counts);
        }
        Some(segment)
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

    /// The highest number of a stream.
    pub fn sealed_through(&self, epoch: u64, kind: Kind) -> u64 {
        let stream = self.streams.get(&(epoch, kind));
        stream.map_or(0, |stream| stream.sealed_through)
    }

    /// How far a stream has come.
    fn settled_through(&self, epoch: u64, kind: Kind) -> u64 {
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

    /// How far a stream has come, up to what the server may know: nothing is called settled whose
    /// omission has not arrived, or does not ride in the same batch.
    fn tellable(&self, epoch: u64, kind: Kind, carrier: Option<u64>) -> StreamState {
        let untold = self.omissions.first_untold(epoch, kind, carrier);
        let settled = self.settled_through(epoch, kind);
        StreamState {
            epoch,
            kind: kind.into(),
            settled_through: untold.map_or(settled, |first| settled.min(first - 1)),
            sealed_through: self.sealed_through(epoch, kind),
        }
    }

    /// The streams a server is told of when it is greeted, newest epochs first.
    pub fn hello_streams(&self, most: usize) -> Vec<StreamState> {
        let newest_first = self.streams.keys().rev().take(most);
        newest_first
            .map(|(epoch, kind)| self.tellable(*epoch, *kind, None))
            .collect()
    }

    /// Whether reports should not wait for the next batch of bandwidth.
    pub fn reports_are_due(&self) -> bool {
        self.omissions.are_due()
    }

    /// The reports that ride in the bandwidth batch `carrier` of this run.
    pub fn carry_reports(
        &mut self,
        carrier: u64,
        most: usize,
    ) -> (Vec<Omission>, Vec<StreamState>) {
        // The batch is not in the books yet, and says so itself.
        let own = self
            .streams
            .entry((self.epoch, Kind::Bandwidth))
            .or_default();
        own.sealed_through = own.sealed_through.max(carrier - 1);
        let omissions = self.omissions.carry(carrier);
        let mut states = Vec::new();
        for (epoch, kind) in self.streams.keys().rev().copied().collect::<Vec<_>>() {
            let mut state = self.tellable(epoch, kind, Some(carrier));
            if (epoch, kind) == (self.epoch, Kind::Bandwidth) {
                state.sealed_through = carrier;
                state.settled_through = state.settled_through.min(carrier - 1);
            }
            let told = (state.settled_through, state.sealed_through);
            let stream = self.streams.entry((epoch, kind)).or_default();
            if states.len() < most && stream.reported != told {
                stream.reported = told;
                stream.carrier = carrier;
                states.push(state);
            }
        }
        (omissions, states)
    }

    fn reports_stored(&mut self, carrier: u64) {
        self.omissions.stored(carrier);
        for stream in self.streams.values_mut() {
            if stream.carrier == carrier {
                stream.stored = stream.reported;
                stream.carrier = 0;
            }
        }
        let finished: Vec<_> = self
            .streams
            .iter()
            .filter(|((epoch, kind), stream)| {
                *epoch != self.epoch
                    && stream.stored == (stream.sealed_through, stream.sealed_through)
                    && self.omissions.first_untold(*epoch, *kind, None).is_none()
            })
            .map(|(key, _)| *key)
            .collect();
        for key in finished {
            self.streams.remove(&key);
        }
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
