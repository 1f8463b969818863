//! The disk behind the spool, and what happens when it refuses.

use std::{collections::BTreeMap, io, path::Path, time::Duration};

use bytes::Bytes;
use netmon_common::wire::{KINDS, Kind, Omission};

use super::{Held, SyncPolicy};
use crate::{
    clock::Now,
    spool::{
        book::Book,
        checkpoint::Checkpoint,
        directory::{Directory, OpenError, SegmentFile},
        rank,
        record::{self, Meta, SEGMENT_HEADER},
        recovery::{self, Recovered},
        segment::{Backing, Entry, Segment, SegmentKey},
        state::State,
        window::BatchKey,
    },
};

/// How long a disk that refused is left alone.
const RETRY: Duration = Duration::from_secs(10);

/// Files, and what is still to be done with them.
#[derive(Debug)]
pub struct Disk {
    directory: Directory,
    sync: SyncPolicy,
    active: [Option<Active>; KINDS.len()],
    /// Written to, complete, and not synced yet.
    unsynced: Vec<(SegmentKey, SegmentFile)>,
    names_unsynced: bool,
    unsynced_since_ns: Option<u64>,
    doomed: Vec<SegmentKey>,
    refused: Option<Refused>,
    write_errors: u64,
}

#[derive(Debug)]
struct Active {
    key: SegmentKey,
    file: SegmentFile,
    next: u64,
    is_synced: bool,
}

/// The disk took no more.
#[derive(Clone, Copy, Debug)]
struct Refused {
    retry_ns: u64,
    is_full: bool,
}

impl Disk {
    /// Opens the directory and fills the books.
    pub fn open(
        path: &Path,
        sync: SyncPolicy,
        book: &mut Book,
    ) -> Result<(Self, Recovered, Checkpoint), OpenError> {
        let (mut directory, state) = Directory::open(path)?;
        let (recovered, checkpoint) = recovery::recover(&mut directory, state.as_deref(), book)?;
        let disk = Self {
            directory,
            sync,
            active: Default::default(),
            unsynced: Vec::new(),
            names_unsynced: true,
            unsynced_since_ns: None,
            doomed: Vec::new(),
            refused: None,
            write_errors: 0,
        };
        Ok((disk, recovered, checkpoint))
    }

    /// Writes a batch; `false`: the disk does not take it.
    pub fn write(
        &mut self,
        now: Now,
        book: &mut Book,
        meta: &Meta,
        message: &[u8],
        checkpoint: &Checkpoint,
    ) -> bool {
        if self.refused.is_some() {
            return false;
        }
        match self.try_write(book, meta, message, checkpoint) {
            Ok(()) => {
                self.unsynced_since_ns.get_or_insert(now.monotonic_ns);
                true
            }
            Err(error) => {
                self.refuse(now, &error);
                false
            }
        }
    }

    fn try_write(
        &mut self,
        book: &mut Book,
        meta: &Meta,
        message: &[u8],
        checkpoint: &Checkpoint,
    ) -> io::Result<()> {
        let segment_bytes = book.caps().segment_bytes;
        let goes_on =
            |active: &Active| active.next == meta.sequence && active.file.length() < segment_bytes;
        let mut bytes = Vec::with_capacity(SEGMENT_HEADER + record::RECORD_HEADER + message.len());
        if let Some(active) = self.active[rank(meta.kind)].as_mut().filter(|a| goes_on(a)) {
            record::append(&mut bytes, meta, message, &[]);
            let offset = active.file.length();
            let written = self.directory.append(&mut active.file, &bytes);
            if written.is_err() && !active.file.is_whole() {
                // Half a record lies at its end: recovery steps over it, we do not write behind it.
                let key = active.key;
                self.close(key);
                return written;
            }
            written?;
            active.next += 1;
            active.is_synced = false;
            book.append(active.key, entry_of(meta, offset, bytes.len()));
            return Ok(());
        }
        let key = SegmentKey {
            kind: meta.kind,
            epoch: meta.epoch,
            first: meta.sequence,
        };
        bytes.extend_from_slice(&record::segment_header(key.kind, key.epoch, key.first));
        let full = match meta.kind {
            Kind::Bandwidth => checkpoint.encode(),
            _ => Vec::new(),
        };
        record::append(&mut bytes, meta, message, &full);
        if let Some(before) = &self.active[rank(meta.kind)] {
            let before = before.key;
            self.close(before);
        }
        let file = self.directory.create(key, &bytes)?;
        self.names_unsynced = true;
        book.open_segment(key, Backing::File, SEGMENT_HEADER as u64);
        let length = bytes.len() - SEGMENT_HEADER;
        book.append(key, entry_of(meta, SEGMENT_HEADER as u64, length));
        self.active[rank(meta.kind)] = Some(Active {
            key,
            file,
            next: meta.sequence + 1,
            is_synced: false,
        });
        Ok(())
    }

    /// Writes a segment that was in memory; its index, if the disk takes it.
    pub fn write_segment(
        &mut self,
        now: Now,
        key: SegmentKey,
        held: &[(&BatchKey, &Held)],
        checkpoint: &Checkpoint,
    ) -> Option<Segment> {
        let mut bytes = record::segment_header(key.kind, key.epoch, key.first).to_vec();
        let mut segment = Segment::new(Backing::File, key.first);
        segment.bytes = SEGMENT_HEADER as u64;
        for (at, (_, held)) in held.iter().enumerate() {
            let offset = bytes.len();
            let full = match key.kind {
                Kind::Bandwidth if at == 0 => checkpoint.encode(),
                _ => Vec::new(),
            };
            record::append(&mut bytes, &held.meta, &held.message, &full);
            segment.push(
                key.first,
                entry_of(&held.meta, offset as u64, bytes.len() - offset),
            );
        }
        match self.directory.create(key, &bytes) {
            Ok(file) => {
                self.names_unsynced = true;
                self.will_sync(key, file);
                self.unsynced_since_ns.get_or_insert(now.monotonic_ns);
                Some(segment)
            }
            Err(error) => {
                self.refuse(now, &error);
                None
            }
        }
    }

    fn refuse(&mut self, now: Now, error: &io::Error) {
        self.write_errors += 1;
        if self.refused.is_none() {
            tracing::warn!(
                directory = %self.directory.path().display(),
                %error,
                "the spool's disk takes no more; batches are kept in memory until it does"
            );
        }
        let full = [libc::ENOSPC, libc::EDQUOT, libc::EFBIG];
        self.refused = Some(Refused {
            retry_ns: now.monotonic_ns + RETRY.as_nanos() as u64,
            is_full: error
                .raw_os_error()
                .is_some_and(|errno| full.contains(&errno)),
        });
    }

    /// Whether the disk may be asked again after it has refused.
    pub fn may_retry(&self, now: Now) -> bool {
        self.refused
            .is_some_and(|refused| now.monotonic_ns >= refused.retry_ns)
    }

    /// There is reason to believe that it takes something.
    pub fn retry_now(&mut self) {
        if let Some(refused) = &mut self.refused {
            refused.retry_ns = 0;
        }
    }

    /// It takes something again.
    pub fn took(&mut self) {
        if self.refused.take().is_some() {
            tracing::info!("the spool's disk takes batches again");
        }
    }

    /// Whether it refused for want of room.
    pub fn is_full(&self) -> bool {
        self.refused.is_some_and(|refused| refused.is_full)
    }

    /// Whether a segment is written to.
    pub fn writes(&self, key: SegmentKey) -> bool {
        self.active.iter().flatten().any(|active| active.key == key)
    }

    /// No more goes into a segment.
    pub fn close(&mut self, key: SegmentKey) {
        let active = &mut self.active[rank(key.kind)];
        if let Some(closed) = active.take_if(|active| active.key == key)
            && !closed.is_synced
        {
            self.will_sync(key, closed.file);
        }
    }

    fn will_sync(&mut self, key: SegmentKey, file: SegmentFile) {
        // An open file keeps its blocks, deleted or not.
        if self.sync != SyncPolicy::Never {
            self.unsynced.push((key, file));
        }
    }

    /// No more goes into any.
    pub fn close_all(&mut self) {
        for key in KINDS.map(|kind| self.active[rank(kind)].as_ref().map(|active| active.key)) {
            key.into_iter().for_each(|key| self.close(key));
        }
    }

    /// A file may go as soon as the state file is written.
    pub fn doom(&mut self, key: SegmentKey) {
        self.close(key);
        self.unsynced.retain(|(closed, _)| *closed != key);
        self.doomed.push(key);
    }

    /// Whether files wait for the state file.
    pub fn has_doomed(&self) -> bool {
        !self.doomed.is_empty()
    }

    /// Deletes what may go.
    pub fn delete_doomed(&mut self) {
        let directory = &mut self.directory;
        self.doomed.retain(|key| match directory.delete(*key) {
            Ok(()) => false,
            Err(error) => {
                tracing::warn!(%error, segment = %directory.path_of(*key).display(), "cannot delete a segment");
                true
            }
        });
        self.names_unsynced = true;
    }

    /// What the state file says now.
    pub fn state(
        &self,
        book: &Book,
        checkpoint: &Checkpoint,
        memory: &BTreeMap<BatchKey, Held>,
        clean: bool,
    ) -> State {
        let omissions = book.omissions.all().iter();
        let segments = book.segments().iter();
        let in_memory = segments.filter(|(_, segment)| segment.backing == Backing::Memory);
        State {
            epoch: book.epoch(),
            clean,
            streams: book.saved_streams(),
            omissions: omissions.map(|pending| pending.omission).collect(),
            in_memory: if memory.is_empty() {
                vec![]
            } else {
                in_memory
                    .filter(|(_, segment)| segment.unsettled() > 0)
                    .map(|(key, segment)| Omission {
                        epoch: key.epoch,
                        kind: key.kind.into(),
                        first_sequence: key.first,
                        last_sequence: segment.last,
                        cause: 0,
                        batches: segment.unsettled().into(),
                        records: segment.unsettled_size().records,
                    })
                    .collect()
            },
            checkpoint: checkpoint.encode(),
        }
    }

    /// Writes the state file; `false`: the disk does not take it.
    pub fn save(&mut self, now: Now, state: &State) -> bool {
        match self
            .directory
            .write_state(state, self.sync != SyncPolicy::Never)
        {
            Ok(()) => true,
            Err(error) => {
                self.refuse(now, &error);
                false
            }
        }
    }

    /// When files must be synced.
    pub fn next_sync(&self, now: Now) -> Option<Duration> {
        let since_ns = self.unsynced_since_ns?;
        let waited = Duration::from_nanos(now.monotonic_ns.saturating_sub(since_ns));
        match self.sync {
            SyncPolicy::Always => Some(Duration::ZERO),
            SyncPolicy::Within(span) => Some(span.saturating_sub(waited)),
            SyncPolicy::Never => None,
        }
    }

    /// Syncs if it is time.
    pub fn sync_if_due(&mut self, now: Now) {
        if self.next_sync(now) == Some(Duration::ZERO) {
            self.sync();
        }
    }

    /// Makes everything written last.
    pub fn sync(&mut self) {
        self.unsynced_since_ns = None;
        if self.sync == SyncPolicy::Never {
            return;
        }
        let mut failed = None;
        for (_, file) in std::mem::take(&mut self.unsynced) {
            failed = file.sync().err().or(failed);
        }
        for active in self.active.iter_mut().flatten().filter(|a| !a.is_synced) {
            failed = active.file.sync().err().or(failed);
            active.is_synced = true;
        }
        if std::mem::take(&mut self.names_unsynced) {
            failed = self.directory.sync().err().or(failed);
        }
        // The kernel says this once and takes the pages for clean: asking again means nothing.
        if let Some(error) = failed {
            self.write_errors += 1;
            tracing::warn!(%error, "the spool's disk failed to keep what it had taken");
        }
    }

    /// A segment's bytes.
    pub fn read(&self, key: SegmentKey) -> io::Result<Bytes> {
        self.directory.read(key).map(Bytes::from)
    }

    /// One record's bytes.
    pub fn read_entry(&self, key: SegmentKey, entry: &Entry) -> io::Result<Bytes> {
        self.directory
            .read_at(key, entry.offset, entry.bytes)
            .map(Bytes::from)
    }

    /// Writes and syncs the disk refused.
    pub fn write_errors(&self) -> u64 {
        self.write_errors
    }

    #[cfg(test)]
    pub fn directory_mut(&mut self) -> &mut Directory {
        &mut self.directory
    }
}

fn entry_of(meta: &Meta, offset: u64, bytes: usize) -> Entry {
    Entry {
        sequence: meta.sequence,
        offset: offset as u32,
        bytes: bytes as u32,
        records: meta.records,
        sealed_at_unix_ns: meta.sealed.unix_ns,
    }
}
