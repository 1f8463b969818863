//! The spool at work: books in front, files behind. Everything that waits for a disk happens here, on
//! one thread, in an order that a crash may cut anywhere:
//!
//! 1. a batch is written before it may be sent; one that no disk takes is only in memory, and then
//!    the state file says so, with the checkpoint, before it may be sent;
//! 2. what is given up stands in the state file before its segment is deleted.

mod disk;
mod memory;
mod session;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fmt,
    path::PathBuf,
    time::Duration,
};

use bytes::Bytes;
use netmon_common::wire::{
    Acknowledgement, KINDS, Kind, MAX_HELLO_STREAMS, OmissionCause, Refusal, StreamState, Uplink,
    uplink,
};
use prost::Message as _;

use self::{disk::Disk, memory::Held, session::Session};
use super::{
    book::{Book, Caps, Outcome, Tally},
    checkpoint::Checkpoint,
    directory::OpenError,
    intake::{Sealed, Unspooled},
    rank,
    recovery::Recovered,
    segment::{Backing, SegmentKey},
    window::BatchKey,
};
use crate::clock::{Moment, Now};

/// When what was written must have reached the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncPolicy {
    /// Before a batch is sent.
    Always,
    /// So long after it was written, at most.
    Within(Duration),
    /// Whenever the kernel likes.
    Never,
}

/// Settings of the spool.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where segments lie; `None`: in memory only.
    pub directory: Option<PathBuf>,
    /// Bounds.
    pub caps: Caps,
    /// When files are synced.
    pub sync: SyncPolicy,
}

/// How often the state file says how far the server has come.
const STATE_INTERVAL: Duration = Duration::from_secs(5);

/// How often ages are looked at. A batch goes when it was too old twice in a row, so that a wall
/// clock that is wrong for a moment costs nothing.
const AGE_INTERVAL: Duration = Duration::from_secs(600);

/// Messages of this run kept in memory beside the disk, so that they need not be read again.
const RECENT_BYTES: usize = 2 << 20;

/// Most stream states in one batch.
const MAX_REPORTED_STREAMS: usize = 512;

/// Figures for metrics, and for whoever waits for the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// What became of batches.
    pub tally: Tally,
    /// Batches that wait for the server, and their octets.
    pub waiting: (u64, u64),
    /// Of these, batches that are in memory only.
    pub in_memory: u64,
    /// Octets of the files.
    pub disk_bytes: u64,
    /// Segments there are.
    pub segments: u64,
    /// Octets of memory that their index takes.
    pub index_bytes: u64,
    /// Writes and syncs the disk refused.
    pub write_errors: u64,
    /// Batches that could not be read any more.
    pub read_errors: u64,
}

/// The spool without its thread.
pub struct Keeper {
    book: Book,
    disk: Option<Disk>,
    memory: BTreeMap<BatchKey, Held>,
    memory_segments: [Option<SegmentKey>; KINDS.len()],
    checkpoint: Checkpoint,
    recent: BTreeMap<BatchKey, Bytes>,
    recent_order: VecDeque<BatchKey>,
    recent_bytes: usize,
    buffers: HashMap<SegmentKey, Bytes>,
    session: Option<Session>,
    state_is_old: bool,
    must_save: bool,
    saved_ns: u64,
    aged_ns: u64,
    aged: Vec<SegmentKey>,
    read_errors: u64,
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper")
            .field("epoch", &self.book.epoch())
            .finish_non_exhaustive()
    }
}

impl Keeper {
    /// Opens a spool and takes over what an earlier run left.
    ///
    /// # Errors
    /// When the directory cannot be used.
    pub fn open(options: &Options, epoch: u64, now: Now) -> Result<(Self, Recovered), OpenError> {
        let mut book = Book::new(epoch, options.caps);
        let mut recovered = Recovered::default();
        let mut checkpoint = Checkpoint::default();
        let mut disk = None;
        if let Some(path) = &options.directory {
            let opened = Disk::open(path, options.sync, &mut book)?;
            (disk, recovered, checkpoint) = (Some(opened.0), opened.1, opened.2);
        }
        // Whoever comes next must know since when nothing is known, also if no frame is ever full.
        checkpoint.ended.get_or_insert(Moment::of(now));
        // Runs are ordered by their epochs, also where the wall clock has gone back in between.
        if let Some(previous) = recovered.previous {
            book.begin(epoch.max(previous.epoch + 1));
        }
        let mut keeper = Self {
            book,
            disk,
            memory: BTreeMap::new(),
            memory_segments: [None; KINDS.len()],
            checkpoint,
            recent: BTreeMap::new(),
            recent_order: VecDeque::new(),
            recent_bytes: 0,
            buffers: HashMap::new(),
            session: None,
            state_is_old: false,
            must_save: true,
            saved_ns: now.monotonic_ns,
            aged_ns: now.monotonic_ns,
            aged: Vec::new(),
            read_errors: 0,
        };
        // From here on this run is the one that may have crashed.
        keeper.end_turn(now);
        Ok((keeper, recovered))
    }

    /// The run's number: the one asked for, or a later one.
    pub fn epoch(&self) -> u64 {
        self.book.epoch()
    }

    /// Takes note of counters that begin at zero; on the disk once the turn has ended.
    pub fn begin_attachment(&mut self, ifindex: u32, attachment: u32, now: Now) {
        self.checkpoint.begin(ifindex, attachment, Moment::of(now));
        self.must_save = true;
    }

    /// Takes what was sealed.
    pub fn take(&mut self, now: Now, sealed: VecDeque<Sealed>, unspooled: &[Unspooled]) {
        for lost in unspooled {
            let counts = (lost.batches, lost.records);
            self.book
                .omit_unspooled(lost.kind, (lost.first, lost.last), counts);
            self.must_save = true;
        }
        for batch in sealed {
            self.take_one(now, batch);
        }
    }

    fn take_one(&mut self, now: Now, sealed: Sealed) {
        let Sealed {
            mut batch,
            kind,
            records,
            must_report,
            forget,
            at,
            ..
        } = sealed;
        let sequence = batch.sequence;
        if kind == Kind::Bandwidth {
            // Far from any server, reports would only pile up: they are joined until one is there.
            if must_report || self.session.is_some() {
                let (omissions, streams) = self.book.carry_reports(sequence, MAX_REPORTED_STREAMS);
                batch.omissions = omissions;
                batch.streams = streams;
            }
            for frame in &batch.bandwidth {
                self.checkpoint.observe(frame, at);
            }
            for (ifindex, attachment) in forget {
                self.checkpoint.forget(ifindex, attachment);
            }
        }
        let meta = super::record::Meta {
            kind,
            epoch: batch.epoch,
            sequence,
            sealed: at,
            records: records as u32,
        };
        let message = Bytes::from(
            Uplink {
                message: Some(uplink::Message::Batch(batch)),
            }
            .encode_to_vec(),
        );
        self.retry_disk(now);
        let written = match &mut self.disk {
            Some(disk) => disk.write(now, &mut self.book, &meta, &message, &self.checkpoint),
            None => false,
        };
        if written {
            self.remember(meta.batch(), message);
        } else {
            self.hold(meta, message);
        }
        self.make_room(now);
    }

    /// Keeps the newest messages at hand.
    fn remember(&mut self, batch: BatchKey, message: Bytes) {
        self.recent_bytes += message.len();
        self.recent.insert(batch, message);
        self.recent_order.push_back(batch);
        while self.recent_bytes > RECENT_BYTES {
            let Some(oldest) = self.recent_order.pop_front() else {
                return;
            };
            self.recent_bytes -= self.recent.remove(&oldest).map_or(0, |m| m.len());
        }
    }

    /// Gives up whole segments while there is too much.
    fn make_room(&mut self, now: Now) {
        while self.book.is_over(Backing::File) {
            let Some(key) = self.book.victim(Some(Backing::File)) else {
                break;
            };
            self.give_up(key, OmissionCause::SpoolFull);
        }
        while self.book.is_over(Backing::Memory) {
            // Room on a full disk is as good as room in memory.
            let disk_is_full = self.disk.as_ref().is_some_and(Disk::is_full);
            let among = (!disk_is_full).then_some(Backing::Memory);
            let Some(key) = self.book.victim(among) else {
                break;
            };
            let was_file = self.book.segments()[&key].backing == Backing::File;
            self.give_up(key, OmissionCause::SpoolFull);
            if was_file {
                self.save_and_delete(now);
                if let Some(disk) = &mut self.disk {
                    disk.retry_now();
                }
                self.retry_disk(now);
            }
        }
    }

    fn give_up(&mut self, key: SegmentKey, cause: OmissionCause) {
        self.stop_writing(key);
        let Some(segment) = self.book.give_up(key, cause) else {
            return;
        };
        if segment.unsettled() > 0 {
            tracing::warn!(
                kind = key.kind.name(),
                batches = segment.unsettled(),
                cause = cause.as_str_name(),
                "the spool gives up its oldest segment of a kind"
            );
        }
        match (segment.backing, &mut self.disk) {
            (Backing::File, Some(disk)) => disk.doom(key),
            _ => self.let_go(key, segment.last),
        }
        self.must_save = true;
    }

    /// No more batches go into a segment.
    fn stop_writing(&mut self, key: SegmentKey) {
        self.buffers.remove(&key);
        let memory = &mut self.memory_segments[rank(key.kind)];
        if *memory == Some(key) {
            *memory = None;
        }
        if let Some(disk) = &mut self.disk {
            disk.close(key);
        }
    }

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

    /// The streams a server is greeted with.
    pub fn hello_streams(&self) -> Vec<StreamState> {
        self.book.hello_streams(MAX_HELLO_STREAMS)
    }

    /// Whether a batch should be made for reports alone.
    pub fn reports_are_due(&self) -> bool {
        self.session.is_some() && self.book.reports_are_due()
    }

    /// Ends what one turn of work has begun: state, syncs, deletions. Only then may be sent.
    pub fn end_turn(&mut self, now: Now) {
        self.tick(now);
        let disk = self.disk.as_ref();
        let is_active = |key| {
            disk.is_some_and(|disk| disk.writes(key)) || self.memory_segments.contains(&Some(key))
        };
        for key in self.book.finished(is_active) {
            self.stop_writing(key);
            let Some(segment) = self.book.remove(key) else {
                continue;
            };
            match (segment.backing, &mut self.disk) {
                (Backing::File, Some(disk)) => disk.doom(key),
                _ => self.let_go(key, segment.last),
            }
        }
        // One of each kind is written to; more may be sent from.
        if self.book.loaded() > KINDS.len() {
            self.unload();
        }
        self.save_and_delete(now);
        if let Some(disk) = &mut self.disk {
            disk.sync_if_due(now);
        }
    }

    /// What comes with time.
    fn tick(&mut self, now: Now) {
        self.retry_disk(now);
        let since = |then_ns: u64| Duration::from_nanos(now.monotonic_ns.saturating_sub(then_ns));
        if self.state_is_old && since(self.saved_ns) >= STATE_INTERVAL {
            self.must_save = true;
        }
        let mut too_old = Vec::new();
        if since(self.aged_ns) >= AGE_INTERVAL {
            self.aged_ns = now.monotonic_ns;
            let before = std::mem::replace(&mut self.aged, self.book.too_old(now.unix_ns));
            for key in before.into_iter().filter(|key| self.aged.contains(key)) {
                too_old.push(key);
            }
        }
        for key in too_old {
            self.give_up(key, OmissionCause::TooOld);
        }
    }

    /// Writes the state file if it must be, and only then deletes.
    fn save_and_delete(&mut self, now: Now) {
        let Some(disk) = &mut self.disk else {
            return;
        };
        if !self.must_save && !disk.has_doomed() {
            return;
        }
        let state = disk.state(&self.book, &self.checkpoint, &self.memory, false);
        if disk.save(now, &state) {
            self.must_save = false;
            self.state_is_old = false;
            self.saved_ns = now.monotonic_ns;
            disk.delete_doomed();
        }
    }

    /// The orderly end: everything to the disk, and word that it was one. What stays in memory.
    pub fn stop(&mut self, now: Now) -> u64 {
        self.session = None;
        if let Some(disk) = &mut self.disk {
            disk.retry_now();
        }
        self.retry_disk(now);
        let Some(disk) = &mut self.disk else {
            return self.memory.len() as u64;
        };
        disk.close_all();
        self.memory_segments = [None; KINDS.len()];
        for key in self.book.finished(|_| false) {
            if self
                .book
                .remove(key)
                .is_some_and(|s| s.backing == Backing::File)
            {
                disk.doom(key);
            }
        }
        let state = disk.state(&self.book, &self.checkpoint, &self.memory, true);
        if disk.save(now, &state) {
            disk.delete_doomed();
        }
        disk.sync();
        self.memory.len() as u64
    }

    /// When there is something to do even if nothing happens.
    pub fn next_deadline(&self, now: Now) -> Duration {
        let sync = self.disk.as_ref().and_then(|disk| disk.next_sync(now));
        sync.unwrap_or(Duration::from_secs(1))
            .min(Duration::from_secs(1))
    }

    /// Figures as they are.
    pub fn status(&self) -> Status {
        Status {
            tally: self.book.tally().clone(),
            waiting: self.book.waiting(),
            in_memory: self.memory.len() as u64,
            disk_bytes: self.book.bytes_in(Backing::File),
            segments: self.book.segments().len() as u64,
            index_bytes: self.book.index_bytes() as u64,
            write_errors: self.disk.as_ref().map_or(0, Disk::write_errors),
            read_errors: self.read_errors,
        }
    }

    /// The books, for tests.
    #[cfg(test)]
    pub(super) fn book(&self) -> &Book {
        &self.book
    }

    #[cfg(test)]
    pub(super) fn disk_mut(&mut self) -> Option<&mut Disk> {
        self.disk.as_mut()
    }
}

impl Options {
    /// Memory only.
    pub fn in_memory(caps: Caps) -> Self {
        Self {
            directory: None,
            caps,
            sync: SyncPolicy::Never,
        }
    }
}
