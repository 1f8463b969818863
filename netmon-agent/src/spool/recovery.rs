//! What an earlier run left: every whole record is kept, what is damaged is named.

use std::{collections::HashMap, io, path::Path};

use bytes::Bytes;
use netmon_common::wire::{Kind, OmissionCause, Uplink, uplink};
use prost::Message as _;

use super::{
    book::Book,
    checkpoint::Checkpoint,
    directory::{Directory, OpenError, list},
    record::{Found, Record, Scan, SegmentHeader, read_segment_header},
    segment::{Backing, Entry, Segment, SegmentKey},
    state::State,
};
use crate::{bandwidth::Totals, clock::Moment};

/// What the run before left for this one.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    /// The run before.
    pub previous: Option<Previous>,
    /// By (interface index, attachment): totals after the last frame that is in a batch, and its
    /// end. Where a damaged batch may have been the last one, the attachment is missing.
    pub checkpoint: HashMap<(u32, u32), (Totals, Moment)>,
    /// Batches that wait to be sent.
    pub batches: u64,
    /// Batches that were damaged.
    pub corrupt: u64,
}

/// A run that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Previous {
    /// Its number.
    pub epoch: u64,
    /// Whether it came to an orderly end.
    pub clean: bool,
    /// End of the last frame that is in a batch.
    pub ended: Moment,
}

/// The messages of every whole batch in a spool's directory, oldest segments first, without taking
/// its lock: for looking at it.
///
/// # Errors
/// When it cannot be read.
pub fn read_batches(path: &Path) -> io::Result<Vec<Bytes>> {
    let mut batches = Vec::new();
    for (_, path) in list(path)? {
        // One that has just been delivered is deleted.
        let Ok(data) = std::fs::read(path).map(Bytes::from) else {
            continue;
        };
        for found in Scan::new(&data) {
            if let Found::Record(record) = found {
                batches.push(data.slice_ref(record.message));
            }
        }
    }
    Ok(batches)
}

/// A damaged part of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Damage {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) records: u64,
}

/// A segment as its bytes have it.
#[derive(Debug)]
pub(super) struct Scanned {
    pub(super) entries: Vec<Entry>,
    pub(super) damage: Vec<Damage>,
    /// Where the file should end, if it ends in a torn record.
    pub(super) torn_at: Option<usize>,
}

/// Reads a segment's bytes. Records that are of another segment are damage, too.
pub(super) fn scan(key: SegmentKey, data: &[u8]) -> Scanned {
    let mut scanned = Scanned {
        entries: Vec::new(),
        damage: Vec::new(),
        torn_at: None,
    };
    let mut next = key.first;
    // Records, and the highest number, of damage whose header is whole.
    let mut damaged: Option<(u64, u64)> = None;
    for found in Scan::new(data) {
        match found {
            Found::Record(record) if belongs(key, &record, next) => {
                let sequence = record.meta.sequence;
                if let Some((records, _)) = damaged.take()
                    && sequence > next
                {
                    scanned.damage.push(Damage {
                        first: next,
                        last: sequence - 1,
                        records,
                    });
                }
                scanned.entries.push(entry(&record));
                next = sequence + 1;
            }
            Found::Record(_) | Found::Corrupt(None) => {
                damaged.get_or_insert((0, next));
            }
            Found::Corrupt(Some(meta)) => {
                let (records, highest) = damaged.get_or_insert((0, next));
                *records += u64::from(meta.records);
                *highest = (*highest).max(meta.sequence);
            }
            Found::Torn(at) => scanned.torn_at = Some(at),
        }
    }
    if let Some((records, highest)) = damaged {
        scanned.damage.push(Damage {
            first: next,
            last: highest,
            records,
        });
    }
    scanned
}

fn belongs(key: SegmentKey, record: &Record<'_>, next: u64) -> bool {
    let meta = record.meta;
    (meta.kind, meta.epoch) == (key.kind, key.epoch) && meta.sequence >= next
}

pub(super) fn entry(record: &Record<'_>) -> Entry {
    Entry {
        sequence: record.meta.sequence,
        offset: record.offset as u32,
        bytes: (record.end() - record.offset) as u32,
        records: record.meta.records,
        sealed_at_unix_ns: record.meta.sealed.unix_ns,
    }
}

/// Fills the books from the files.
pub(super) fn recover(
    directory: &mut Directory,
    state: Option<&State>,
    book: &mut Book,
) -> Result<(Recovered, Checkpoint), OpenError> {
    let unusable = |directory: &Directory, key: Option<SegmentKey>| {
        let path = key.map_or_else(|| directory.path().to_owned(), |key| directory.path_of(key));
        move |source| OpenError::Unusable { path, source }
    };
    if let Some(state) = state {
        for omission in &state.omissions {
            book.omissions.add(*omission);
        }
    }
    let keys = directory.segments().map_err(unusable(directory, None))?;
    let mut recovered = Recovered::default();
    for key in &keys {
        let data = directory
            .read(*key)
            .map_err(unusable(directory, Some(*key)))?;
        if let SegmentHeader::Newer(version) = read_segment_header(&data) {
            return Err(OpenError::Newer {
                path: directory.path_of(*key),
                version,
            });
        }
        let settled = settled_through(state, *key);
        let scanned = scan(*key, &data);
        for damage in &scanned.damage {
            recovered.corrupt += report_damage(book, *key, *damage, settled);
        }
        // The rest of a torn record would be found again; without a whole record there is nothing.
        if let Some(at) = scanned.torn_at
            && !scanned.entries.is_empty()
            && let Err(error) = directory.truncate(*key, at as u64)
        {
            tracing::warn!(segment = %directory.path_of(*key).display(), %error, "cannot cut off a torn record");
        }
        let mut segment = Segment::new(Backing::File, key.first);
        segment.bytes = super::record::SEGMENT_HEADER as u64;
        for entry in &scanned.entries {
            segment.push(key.first, *entry);
        }
        for sequence in key.first..=settled.min(segment.last) {
            segment.settle(key.first, sequence, None);
        }
        segment.bytes = segment.bytes.max(data.len() as u64);
        recovered.batches += u64::from(segment.unsettled());
        book.recover(*key, segment);
    }
    for stream in state.iter().flat_map(|state| &state.streams) {
        book.recover_stream(stream);
    }
    for lost in state.iter().flat_map(|state| &state.in_memory) {
        report_lost(book, lost, &keys);
    }
    let checkpoint = last_checkpoint(directory, state, &keys).map_err(unusable(directory, None))?;
    recovered.previous = previous(state, &keys, &checkpoint);
    recovered.checkpoint = checkpoint.totals.iter().map(|(k, v)| (*k, *v)).collect();
    Ok((recovered, checkpoint))
}

/// Up to where the server had every batch of the segment's stream.
fn settled_through(state: Option<&State>, key: SegmentKey) -> u64 {
    let streams = state.iter().flat_map(|state| &state.streams);
    let mut of_stream = streams.filter(|s| (s.epoch, s.kind) == (key.epoch, i32::from(key.kind)));
    of_stream.next().map_or(0, |stream| stream.settled_through)
}

fn report_damage(book: &mut Book, key: SegmentKey, damage: Damage, settled: u64) -> u64 {
    let first = damage.first.max(settled + 1);
    if first > damage.last
        || book
            .omissions
            .cover(key.epoch, key.kind, first, damage.last)
    {
        return 0;
    }
    let batches = damage.last - first + 1;
    let counts = (batches, damage.records);
    book.omit_left(
        key.kind,
        key.epoch,
        (first, damage.last),
        OmissionCause::Corrupt,
        counts,
    );
    batches
}

/// Batches that were only in the memory of a process that is gone.
fn report_lost(book: &mut Book, lost: &netmon_common::wire::Omission, keys: &[SegmentKey]) {
    let Ok(kind) = Kind::try_from(lost.kind) else {
        return;
    };
    // They may have come to the disk in the end.
    let key = SegmentKey {
        kind,
        epoch: lost.epoch,
        first: lost.first_sequence,
    };
    let range = (lost.first_sequence, lost.last_sequence);
    if !keys.contains(&key) && !book.omissions.cover(lost.epoch, kind, range.0, range.1) {
        let counts = (lost.batches, lost.records);
        book.omit_left(kind, lost.epoch, range, OmissionCause::NotSpooled, counts);
    }
}

fn previous(
    state: Option<&State>,
    keys: &[SegmentKey],
    checkpoint: &Checkpoint,
) -> Option<Previous> {
    let newest = keys.iter().map(|key| key.epoch).max();
    let state_epoch = state.map(|state| state.epoch);
    Some(Previous {
        epoch: newest.max(state_epoch)?,
        clean: state.is_some_and(|state| state.clean),
        ended: checkpoint.ended?,
    })
}

/// The checkpoint in the newest segment of bandwidth that begins with one, brought up to date by the
/// frames behind it, and by the state file where that is newer.
fn last_checkpoint(
    directory: &Directory,
    state: Option<&State>,
    keys: &[SegmentKey],
) -> io::Result<Checkpoint> {
    let saved = state.and_then(|state| Checkpoint::decode(&state.checkpoint));
    let saved = saved.unwrap_or_default();
    if state.is_some_and(|state| state.clean) {
        return Ok(saved);
    }
    let bandwidth: Vec<_> = keys
        .iter()
        .filter(|key| key.kind == Kind::Bandwidth)
        .collect();
    let mut from = bandwidth.len();
    while from > 0 {
        from -= 1;
        if begins_with_checkpoint(&directory.read(*bandwidth[from])?) {
            break;
        }
    }
    let mut last = saved;
    for key in &bandwidth[from..] {
        replay(&mut last, &directory.read(**key)?);
    }
    Ok(last)
}

fn begins_with_checkpoint(data: &[u8]) -> bool {
    let first = Scan::new(data).next();
    matches!(first, Some(Found::Record(record)) if !record.checkpoint.is_empty())
}

fn replay(last: &mut Checkpoint, data: &[u8]) {
    for found in Scan::new(data) {
        match found {
            Found::Record(record) => {
                if let Some(checkpoint) = Checkpoint::decode(record.checkpoint) {
                    last.merge(&checkpoint);
                }
                let mut frames = Checkpoint::default();
                if let Ok(Uplink {
                    message: Some(uplink::Message::Batch(batch)),
                }) = Uplink::decode(record.message)
                {
                    for frame in &batch.bandwidth {
                        frames.observe(frame, record.meta.sealed);
                    }
                }
                last.merge(&frames);
            }
            // It may have been sent before it was damaged: going on from older totals would count
            // its frames twice. Only attachments that come up behind it are certain.
            Found::Corrupt(_) => last.totals.clear(),
            Found::Torn(_) => {}
        }
    }
}
