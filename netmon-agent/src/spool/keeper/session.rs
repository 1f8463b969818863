//! What is sent over one connection, and in what order.

use bytes::Bytes;
use netmon_common::wire::{KINDS, Kind, OmissionCause};

use super::Keeper;
use crate::{
    clock::Now,
    spool::{
        book::{Book, Cursor, Next},
        rank,
        record::{Found, Scan},
        recovery,
        segment::{Entry, SegmentKey, Size},
        window::{BatchKey, Sort, Window},
    },
};

/// Two places in the batches of each kind: one in those that are sealed while the connection
/// stands, one in all that are older.
#[derive(Debug)]
pub struct Session {
    pub(super) window: Window,
    fresh: [Cursor; KINDS.len()],
    backlog: [Cursor; KINDS.len()],
    boundary: [Cursor; KINDS.len()],
    stream_batches: usize,
}

/// Octets of batches that travel together, about: little enough to be sent again, and for the server
/// to hold whole.
const STREAM_BYTES: usize = 16 << 10;

const END: Cursor = Cursor {
    epoch: u64::MAX,
    sequence: u64::MAX,
};

impl Keeper {
    /// A server is connected that takes so many batches on one stream: whatever waits now is backlog.
    pub fn connect(&mut self, now: Now, stream_batches: usize) {
        let epoch = self.book.epoch();
        let boundary = KINDS.map(|kind| Cursor {
            epoch,
            sequence: self.book.sealed_through(epoch, kind) + 1,
        });
        self.session = Some(Session {
            window: Window::new(now.monotonic_ns),
            fresh: boundary,
            backlog: [Cursor {
                epoch: 0,
                sequence: 0,
            }; KINDS.len()],
            boundary,
            stream_batches,
        });
    }

    /// The connection has ended.
    pub fn disconnect(&mut self) {
        self.session = None;
        self.buffers.clear();
        self.unload();
    }

    /// Why the connection is of no more use, if it is not.
    pub fn fault(&self, now: Now) -> Option<&'static str> {
        self.session.as_ref()?.window.fault(now.monotonic_ns)
    }

    /// The next messages to send, for one stream: batches of a kind that wait anyway travel
    /// together, which spares both sides most of what a stream costs.
    pub fn next_stream(&mut self, now: Now) -> Option<Vec<Bytes>> {
        let (kind, first) = self.next_of(now, &KINDS, STREAM_BYTES)?;
        let mut room = STREAM_BYTES.saturating_sub(first.len());
        let mut messages = vec![first];
        let most = self.session.as_ref()?.stream_batches;
        while messages.len() < most
            && let Some((_, message)) = self.next_of(now, &[kind], room)
        {
            room = room.saturating_sub(message.len());
            messages.push(message);
        }
        Some(messages)
    }

    /// The next message to send, if the window has room for it.
    #[cfg(test)]
    pub fn next_to_send(&mut self, now: Now) -> Option<Bytes> {
        let (_, message) = self.next_of(now, &KINDS, STREAM_BYTES)?;
        Some(message)
    }

    /// The next message of these kinds. When `room` is less than a stream's, one that is larger
    /// waits for the next stream.
    fn next_of(&mut self, now: Now, kinds: &[Kind], room: usize) -> Option<(Kind, Bytes)> {
        loop {
            let (sort, key, entry) = self.choose(kinds)?;
            if room < STREAM_BYTES && entry.bytes as usize > room {
                return None;
            }
            let batch = BatchKey {
                kind: key.kind,
                epoch: key.epoch,
                sequence: entry.sequence,
            };
            let session = self.session.as_mut()?;
            let cursors = match sort {
                Sort::Fresh => &mut session.fresh,
                Sort::Backlog => &mut session.backlog,
            };
            cursors[rank(key.kind)] = Book::behind(batch);
            self.unload();
            let Some(message) = self.message(key, batch, &entry) else {
                self.read_errors += 1;
                self.book.omit_one(batch, OmissionCause::Corrupt);
                self.must_save = true;
                continue;
            };
            let size = Size {
                records: entry.records.into(),
                bytes: entry.bytes.into(),
            };
            let session = self.session.as_mut()?;
            session.window.sent(now.monotonic_ns, batch, sort, size);
            return Some((key.kind, message));
        }
    }

    /// The oldest batch of these kinds for which the window has room, the new ones first.
    fn choose(&mut self, kinds: &[Kind]) -> Option<(Sort, SegmentKey, Entry)> {
        let backlog = KINDS.map(|kind| self.candidate(kind, Sort::Backlog));
        let fresh = KINDS.map(|kind| self.candidate(kind, Sort::Fresh));
        let window = &self.session.as_ref()?.window;
        let contended = backlog.iter().any(Option::is_some);
        for (sort, candidates) in [(Sort::Fresh, fresh), (Sort::Backlog, backlog)] {
            let allowed = candidates.into_iter().flatten().filter(|(key, _)| {
                kinds.contains(&key.kind) && window.has_room(sort, key.kind, contended)
            });
            let oldest = allowed.min_by_key(|(_, entry)| entry.sealed_at_unix_ns);
            if let Some((key, entry)) = oldest {
                return Some((sort, key, entry));
            }
        }
        None
    }

    fn candidate(&mut self, kind: Kind, sort: Sort) -> Option<(SegmentKey, Entry)> {
        loop {
            let session = self.session.as_ref()?;
            let at = rank(kind);
            let (from, end) = match sort {
                Sort::Fresh => (session.fresh[at], END),
                Sort::Backlog => (session.backlog[at], session.boundary[at]),
            };
            match self.book.next_waiting(kind, from, end)? {
                Next::Batch(key, entry) => {
                    // Moved up to it, so that the segment is known to be needed.
                    let cursors = match sort {
                        Sort::Fresh => &mut self.session.as_mut()?.fresh,
                        Sort::Backlog => &mut self.session.as_mut()?.backlog,
                    };
                    cursors[at] = Cursor {
                        epoch: key.epoch,
                        sequence: entry.sequence,
                    };
                    return Some((key, entry));
                }
                Next::Load(key) => self.load(key),
            }
        }
    }

    /// Reads a segment whole: its batches are sent one after the other.
    fn load(&mut self, key: SegmentKey) {
        let data = self.disk.as_ref().map(|disk| disk.read(key));
        let data = match data {
            Some(Ok(data)) => data,
            Some(Err(error)) => {
                tracing::warn!(%error, ?key, "cannot read a segment of the spool");
                Bytes::new()
            }
            None => Bytes::new(),
        };
        let scanned = recovery::scan(key, &data);
        if self.book.load(key, scanned.entries) > 0 {
            self.read_errors += 1;
            self.must_save = true;
        }
        self.buffers.insert(key, data);
    }

    /// Keeps only what cursors stand in and what is written to.
    pub(super) fn unload(&mut self) {
        let cursors: Vec<(Kind, Cursor)> = self.session.iter().flat_map(cursors).collect();
        let Self {
            book,
            disk,
            memory_segments,
            buffers,
            ..
        } = self;
        let needed = |key: SegmentKey, last: u64| {
            cursors.iter().any(|(kind, cursor)| {
                (*kind, cursor.epoch) == (key.kind, key.epoch)
                    && (key.first..=last).contains(&cursor.sequence)
            })
        };
        let last: std::collections::HashMap<SegmentKey, u64> = book.loaded_segments().collect();
        buffers.retain(|key, _| last.get(key).is_some_and(|last| needed(*key, *last)));
        book.unload_except(|key| {
            memory_segments.contains(&Some(key))
                || disk.as_ref().is_none_or(|disk| disk.writes(key))
                || last.get(&key).is_some_and(|last| needed(key, *last))
        });
    }

    fn message(&self, key: SegmentKey, batch: BatchKey, entry: &Entry) -> Option<Bytes> {
        if let Some(held) = self.memory.get(&batch) {
            return Some(held.message.clone());
        }
        if let Some(message) = self.recent.get(&batch) {
            return Some(message.clone());
        }
        let (data, offset) = match self.buffers.get(&key) {
            Some(segment) => (segment.clone(), entry.offset as usize),
            None => (self.disk.as_ref()?.read_entry(key, entry).ok()?, 0),
        };
        match Scan::at(&data, offset) {
            Some(Found::Record(record)) if record.meta.batch() == batch => {
                Some(data.slice_ref(record.message))
            }
            _ => None,
        }
    }
}

fn cursors(session: &Session) -> Vec<(Kind, Cursor)> {
    let both = |kind: Kind| [session.fresh[rank(kind)], session.backlog[rank(kind)]];
    KINDS
        .into_iter()
        .flat_map(|kind| both(kind).map(|cursor| (kind, cursor)))
        .collect()
}
