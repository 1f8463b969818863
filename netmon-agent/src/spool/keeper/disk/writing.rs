//! Batches on their way into files: one segment of each kind is appended to.

use std::io;

use netmon_common::wire::{KINDS, Kind};

use super::{Disk, Held};
use crate::{
    clock::Now,
    spool::{
        book::Book,
        checkpoint::Checkpoint,
        directory::SegmentFile,
        rank,
        record::{self, Meta, SEGMENT_HEADER},
        segment::{Backing, Entry, Segment, SegmentKey},
        window::BatchKey,
    },
};

/// A segment that is written to.
#[derive(Debug)]
pub(super) struct Active {
    key: SegmentKey,
    pub(super) file: SegmentFile,
    next: u64,
    pub(super) is_synced: bool,
}

impl Disk {
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

    /// No more goes into any.
    pub fn close_all(&mut self) {
        for key in KINDS.map(|kind| self.active[rank(kind)].as_ref().map(|active| active.key)) {
            key.into_iter().for_each(|key| self.close(key));
        }
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
