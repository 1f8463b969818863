//! The spool at work: books in front, files behind. Everything that waits for a disk happens here, on
//! one thread, in an order that a crash may cut anywhere:
//!
//! 1. a batch is written before it may be sent; one that no disk takes is only in memory, and the
//!    state file is to say so, with the checkpoint, before it is sent;
//! 2. what is given up stands in the state file before its segment is deleted.
//!
//! Where the state file cannot be written either, nothing is deleted, but batches are sent all the
//! same. A full disk still takes that file, since it never grows: one that does not is broken, or
//! read-only, and may stay so. Batches that waited for it would be given up in the end, although a
//! server is there. The price is paid only if the agent dies before the file is written again, and
//! only for pinned counters: the next one goes on from older totals, and counts twice what was sent
//! since; the audit calls it `doubled`.

mod disk;
mod memory;
mod options;
mod recent;
mod room;
mod session;
mod status;
mod verdicts;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fmt,
    time::Duration,
};

use bytes::Bytes;
use netmon_common::wire::{KINDS, Kind, MAX_HELLO_STREAMS, StreamState, Uplink, uplink};
use prost::Message as _;

use self::{disk::Disk, memory::Held, recent::Recent, session::Session};
pub use self::{
    options::{Options, SyncPolicy},
    status::Status,
};
use super::{
    book::Book,
    checkpoint::Checkpoint,
    directory::OpenError,
    intake::{Sealed, Unspooled},
    recovery::Recovered,
    segment::{Backing, SegmentKey},
    window::BatchKey,
};
use crate::clock::{Moment, Now};

/// How often the state file says how far the server has come.
const STATE_INTERVAL: Duration = Duration::from_secs(5);

/// Most stream states in one batch.
const MAX_REPORTED_STREAMS: usize = 512;

/// The spool without its thread.
pub struct Keeper {
    book: Book,
    disk: Option<Disk>,
    memory: BTreeMap<BatchKey, Held>,
    memory_segments: [Option<SegmentKey>; KINDS.len()],
    checkpoint: Checkpoint,
    recent: Recent,
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
            recent: Recent::default(),
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
            self.recent.remember(meta.batch(), message);
        } else {
            self.hold(meta, message);
        }
        self.make_room(now);
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
        let since_saved = Duration::from_nanos(now.monotonic_ns.saturating_sub(self.saved_ns));
        if self.state_is_old && since_saved >= STATE_INTERVAL {
            self.must_save = true;
        }
        self.give_up_the_old(now);
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
