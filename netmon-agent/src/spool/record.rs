//! One batch as it lies in a segment, and the segment's own header.
//!
//! A record has two checksums: one over its header, so that its length can be trusted when the rest
//! is damaged, and one over everything, message and checkpoint together, so that a torn write keeps
//! neither. All numbers are little-endian.

use netmon_common::wire::Kind;

use crate::clock::Moment;

use super::window::BatchKey;

/// The format this agent writes. It reads this and older ones.
pub const VERSION: u32 = 1;

/// Octets of a segment's header.
pub const SEGMENT_HEADER: usize = 40;

/// Octets of a record's header.
pub const RECORD_HEADER: usize = 64;

/// No segment grows beyond this many octets; what a larger file holds there is not looked at.
pub const MAX_SEGMENT_BYTES: usize = 4 << 20;

const SEGMENT_MAGIC: [u8; 8] = *b"NETMONSG";
const RECORD_MAGIC: [u8; 4] = *b"NMrc";

/// What a segment's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentHeader {
    /// Of this format.
    Good,
    /// Of a later one.
    Newer(u32),
    /// Damaged: the file's name says the same, and every record does.
    Bad,
}

/// The header of a new segment.
pub fn segment_header(kind: Kind, epoch: u64, first: u64) -> [u8; SEGMENT_HEADER] {
    let mut bytes = [0; SEGMENT_HEADER];
    bytes[0..8].copy_from_slice(&SEGMENT_MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[12..16].copy_from_slice(&(kind as u32).to_le_bytes());
    bytes[16..24].copy_from_slice(&epoch.to_le_bytes());
    bytes[24..32].copy_from_slice(&first.to_le_bytes());
    let checksum = crc32fast::hash(&bytes[..36]);
    bytes[36..40].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// Reads the header of a segment.
pub fn read_segment_header(data: &[u8]) -> SegmentHeader {
    let Some(bytes) = data.get(..SEGMENT_HEADER) else {
        return SegmentHeader::Bad;
    };
    let whole = bytes[0..8] == SEGMENT_MAGIC && u32_at(bytes, 36) == crc32fast::hash(&bytes[..36]);
    match u32_at(bytes, 8) {
        _ if !whole => SegmentHeader::Bad,
        version if version > VERSION => SegmentHeader::Newer(version),
        _ => SegmentHeader::Good,
    }
}

/// What is kept of a batch beside its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Its stream's kind.
    pub kind: Kind,
    /// Its stream's epoch.
    pub epoch: u64,
    /// Its number in the stream.
    pub sequence: u64,
    /// When it was sealed.
    pub sealed: Moment,
    /// Frames, samples or exchanges in it.
    pub records: u32,
}

impl Meta {
    /// What names the batch.
    pub fn batch(&self) -> BatchKey {
        BatchKey {
            kind: self.kind,
            epoch: self.epoch,
            sequence: self.sequence,
        }
    }
}

/// A record with its message, borrowed from a segment's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// What it is.
    pub meta: Meta,
    /// Where it begins in the segment.
    pub offset: usize,
    /// The encoded message.
    pub message: &'a [u8],
    /// The encoded checkpoint, or nothing.
    pub checkpoint: &'a [u8],
}

impl Record<'_> {
    /// Where the record ends.
    pub fn end(&self) -> usize {
        self.offset + RECORD_HEADER + self.message.len() + self.checkpoint.len()
    }
}

/// Appends a record to `out`.
pub fn append(out: &mut Vec<u8>, meta: &Meta, message: &[u8], checkpoint: &[u8]) {
    let mut header = [0; RECORD_HEADER];
    header[0..4].copy_from_slice(&RECORD_MAGIC);
    header[8..12].copy_from_slice(&(meta.kind as u32).to_le_bytes());
    header[12..16].copy_from_slice(&meta.records.to_le_bytes());
    header[16..24].copy_from_slice(&meta.epoch.to_le_bytes());
    header[24..32].copy_from_slice(&meta.sequence.to_le_bytes());
    header[32..40].copy_from_slice(&meta.sealed.unix_ns.to_le_bytes());
    header[40..48].copy_from_slice(&meta.sealed.monotonic_ns.to_le_bytes());
    header[56..60].copy_from_slice(&meta.sealed.boot.to_le_bytes());
    header[48..52].copy_from_slice(&(message.len() as u32).to_le_bytes());
    header[52..56].copy_from_slice(&(checkpoint.len() as u32).to_le_bytes());
    let checksum = of_all(&header, message, checkpoint);
    header[4..8].copy_from_slice(&checksum.to_le_bytes());
    let of_header = crc32fast::hash(&header[..60]);
    header[60..64].copy_from_slice(&of_header.to_le_bytes());
    out.extend_from_slice(&header);
    out.extend_from_slice(message);
    out.extend_from_slice(checkpoint);
}

fn of_all(header: &[u8], message: &[u8], checkpoint: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&header[8..60]);
    hasher.update(message);
    hasher.update(checkpoint);
    hasher.finalize()
}

/// What lies at a place of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// A whole record.
    Record(Record<'a>),
    /// Bytes that were a record: its number if the header is whole.
    Corrupt(Option<Meta>),
    /// The segment ends within a record: the write was cut short. The record began here.
    Torn(usize),
}

/// Walks over a segment's bytes from `offset` on.
#[derive(Clone, Debug)]
pub struct Scan<'a> {
    data: &'a [u8],
    offset: usize,
}

impl<'a> Scan<'a> {
    /// All records of a segment's bytes.
    pub fn new(data: &'a [u8]) -> Self {
        let offset = SEGMENT_HEADER.min(data.len());
        Self { data, offset }
    }

    /// The record that begins at `offset`.
    pub fn at(data: &'a [u8], offset: usize) -> Option<Found<'a>> {
        Self { data, offset }.next()
    }
}

impl<'a> Iterator for Scan<'a> {
    type Item = Found<'a>;

    fn next(&mut self) -> Option<Found<'a>> {
        let offset = self.offset;
        let rest = self.data.get(offset..)?;
        if rest.is_empty() {
            return None;
        }
        // A file system that had grown the file before it lost power leaves zeros.
        if rest.len() < RECORD_HEADER || rest.iter().all(|byte| *byte == 0) {
            self.offset = self.data.len();
            return Some(Found::Torn(offset));
        }
        let Some((meta, message, checkpoint)) = read_header(rest) else {
            let next = next_header(rest, 1);
            self.offset = next.map_or(self.data.len(), |at| offset + at);
            return Some(Found::Corrupt(None));
        };
        let end = RECORD_HEADER + message + checkpoint;
        let Some(record) = rest.get(..end) else {
            self.offset = self.data.len();
            return Some(Found::Torn(offset));
        };
        self.offset = offset + end;
        let (message, checkpoint) = record[RECORD_HEADER..].split_at(message);
        if u32_at(record, 4) != of_all(&record[..RECORD_HEADER], message, checkpoint) {
            return Some(Found::Corrupt(Some(meta)));
        }
        Some(Found::Record(Record {
            meta,
            offset,
            message,
            checkpoint,
        }))
    }
}

/// Meta, octets of the message and of the checkpoint, if the header is whole.
fn read_header(bytes: &[u8]) -> Option<(Meta, usize, usize)> {
    let header = bytes.get(..RECORD_HEADER)?;
    if header[0..4] != RECORD_MAGIC || u32_at(header, 60) != crc32fast::hash(&header[..60]) {
        return None;
    }
    let meta = Meta {
        kind: Kind::try_from(u32_at(header, 8) as i32).ok()?,
        records: u32_at(header, 12),
        epoch: u64_at(header, 16),
        sequence: u64_at(header, 24),
        sealed: Moment {
            unix_ns: u64_at(header, 32) as i64,
            monotonic_ns: u64_at(header, 40),
            boot: u32_at(header, 56),
        },
    };
    let (message, checkpoint) = (u32_at(header, 48) as usize, u32_at(header, 52) as usize);
    Some((meta, message, checkpoint))
}

/// Where the next whole header begins, from `from` on.
fn next_header(bytes: &[u8], from: usize) -> Option<usize> {
    (from..bytes.len().saturating_sub(RECORD_HEADER - 1))
        .find(|at| bytes[*at..].starts_with(&RECORD_MAGIC) && read_header(&bytes[*at..]).is_some())
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four octets"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight octets"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(sequence: u64) -> Meta {
        Meta {
            kind: Kind::Exchanges,
            epoch: 42,
            sequence,
            sealed: Moment {
                unix_ns: -5,
                monotonic_ns: 7,
                boot: 9,
            },
            records: 3,
        }
    }

    fn segment(records: u64) -> (Vec<u8>, Vec<usize>) {
        let mut data = segment_header(Kind::Exchanges, 42, 1).to_vec();
        let mut ends = vec![data.len()];
        for sequence in 1..=records {
            let message = vec![sequence as u8 + 0x40; 20 + sequence as usize];
            append(&mut data, &meta(sequence), &message, &[sequence as u8; 5]);
            ends.push(data.len());
        }
        (data, ends)
    }

    fn sequences(data: &[u8]) -> Vec<u64> {
        Scan::new(data)
            .filter_map(|found| match found {
                Found::Record(record) => Some(record.meta.sequence),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let (data, ends) = segment(2);
        assert_eq!(read_segment_header(&data), SegmentHeader::Good);
        let found: Vec<_> = Scan::new(&data).collect();
        let Found::Record(record) = found[1] else {
            panic!("{found:?}");
        };
        assert_eq!(record.meta, meta(2));
        assert_eq!((record.message.len(), record.checkpoint), (22, &[2; 5][..]));
        assert_eq!((record.offset, record.end()), (ends[1], ends[2]));
    }

    #[test]
    fn a_cut_at_any_offset_keeps_every_whole_record() {
        let (data, ends) = segment(3);
        for cut in SEGMENT_HEADER..data.len() {
            let whole = ends.iter().filter(|end| **end <= cut).count() as u64 - 1;
            assert_eq!(sequences(&data[..cut]), (1..=whole).collect::<Vec<_>>());
            let torn = Scan::new(&data[..cut]).find_map(|found| match found {
                Found::Torn(at) => Some(at),
                Found::Corrupt(_) => panic!("{cut} is no damage"),
                Found::Record(_) => None,
            });
            let expected = (!ends.contains(&cut)).then_some(ends[whole as usize]);
            assert_eq!(torn, expected, "{cut}");
        }
    }

    #[test]
    fn a_flipped_bit_costs_one_record_and_is_noticed() {
        let (data, ends) = segment(3);
        for bit in SEGMENT_HEADER * 8..data.len() * 8 {
            let mut damaged = data.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let hit = ends.iter().filter(|end| **end <= bit / 8).count() as u64;
            let left: Vec<_> = (1..=3).filter(|sequence| *sequence != hit).collect();
            assert_eq!(sequences(&damaged), left, "bit {bit}");
            let noticed = Scan::new(&damaged).filter(|found| matches!(found, Found::Corrupt(_)));
            assert_eq!(noticed.count(), 1, "bit {bit}");
        }
    }

    #[test]
    fn zeros_at_the_end_are_a_torn_write() {
        let (mut data, ends) = segment(1);
        data.resize(data.len() + 4096, 0);
        let last = Scan::new(&data).last();
        assert_eq!(last, Some(Found::Torn(ends[1])));
    }

    #[test]
    fn a_newer_format_is_recognised() {
        let mut header = segment_header(Kind::Flows, 1, 1);
        header[8] = VERSION as u8 + 1;
        assert_eq!(read_segment_header(&header), SegmentHeader::Bad);
        let checksum = crc32fast::hash(&header[..36]);
        header[36..40].copy_from_slice(&checksum.to_le_bytes());
        assert_eq!(
            read_segment_header(&header),
            SegmentHeader::Newer(VERSION + 1)
        );
    }
}
