//! The disk behind the spool: what is written waits there for the server, and for the next run.

mod refusal;
mod syncing;
mod writing;

use std::{collections::BTreeMap, io, path::Path};

use bytes::Bytes;
use netmon_common::wire::{KINDS, Omission};

use self::{refusal::Refused, writing::Active};
use super::{Held, SyncPolicy};
use crate::{
    clock::Now,
    spool::{
        book::Book,
        checkpoint::Checkpoint,
        directory::{Directory, OpenError, SegmentFile},
        recovery::{self, Recovered},
        segment::{Backing, Entry, SegmentKey},
        state::State,
        window::BatchKey,
    },
};

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
