//! What is remembered of a segment: a few numbers, whatever its size.

use netmon_common::wire::Kind;

/// What names a segment; in order, the oldest of a kind comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentKey {
    /// Kind of all its batches.
    pub kind: Kind,
    /// Epoch of all its batches.
    pub epoch: u64,
    /// Number of the first.
    pub first: u64,
}

/// Where a segment's records are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backing {
    /// A file of the spool's directory.
    File,
    /// This process's memory.
    Memory,
}

/// One batch of a segment that is being written, read or sent from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number in the stream.
    pub sequence: u64,
    /// Where its record begins in the file; 0 in memory.
    pub offset: u32,
    /// Octets of the record.
    pub bytes: u32,
    /// Frames, samples or exchanges in it.
    pub records: u32,
    /// When it was sealed, by the wall clock.
    pub sealed_at_unix_ns: i64,
}

/// The index of one segment.
#[derive(Clone, Debug)]
pub struct Segment {
    /// File or memory.
    pub backing: Backing,
    /// Octets it takes up.
    pub bytes: u64,
    /// Number of its last batch.
    pub last: u64,
    /// When its last batch was sealed, by the wall clock.
    pub sealed_at_unix_ns: i64,
    unsettled: u32,
    unsettled_records: u64,
    unsettled_bytes: u64,
    /// A bit for each number from the first on, once one of them is settled before the others.
    settled: Vec<u64>,
    entries: Option<Vec<Entry>>,
}

/// What a batch was, as far as it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Frames, samples or exchanges.
    pub records: u64,
    /// Octets of its record.
    pub bytes: u64,
}

impl Segment {
    /// An empty segment that will be appended to.
    pub fn new(backing: Backing, first: u64) -> Self {
        Self {
            backing,
            bytes: 0,
            last: first - 1,
            sealed_at_unix_ns: i64::MIN,
            unsettled: 0,
            unsettled_records: 0,
            unsettled_bytes: 0,
            settled: Vec::new(),
            entries: Some(Vec::new()),
        }
    }

    /// Adds the next batch. Numbers left out are settled.
    pub fn push(&mut self, first: u64, entry: Entry) {
        for missing in self.last + 1..entry.sequence {
            self.set(first, missing);
        }
        self.last = entry.sequence;
        self.bytes += u64::from(entry.bytes);
        self.sealed_at_unix_ns = entry.sealed_at_unix_ns;
        self.unsettled += 1;
        self.unsettled_records += u64::from(entry.records);
        self.unsettled_bytes += u64::from(entry.bytes);
        if let Some(entries) = &mut self.entries {
            entries.push(entry);
        }
    }

    /// How many batches the server has no word on yet.
    pub fn unsettled(&self) -> u32 {
        self.unsettled
    }

    /// What these are together: an upper bound when some of the settled ones were not known.
    pub fn unsettled_size(&self) -> Size {
        Size {
            records: self.unsettled_records,
            bytes: self.unsettled_bytes,
        }
    }

    /// Whether the batch waits for the server's word.
    pub fn waits(&self, first: u64, sequence: u64) -> bool {
        self.unsettled > 0 && (first..=self.last).contains(&sequence) && !self.bit(first, sequence)
    }

    /// Takes a batch out; what it was, unless it had been out before.
    pub fn settle(&mut self, first: u64, sequence: u64, known: Option<Size>) -> Option<Size> {
        if !self.waits(first, sequence) {
            return None;
        }
        let size = self.entry(sequence).map(|entry| Size {
            records: entry.records.into(),
            bytes: entry.bytes.into(),
        });
        let size = size.or(known).unwrap_or_default();
        self.set(first, sequence);
        self.unsettled -= 1;
        self.unsettled_records = self.unsettled_records.saturating_sub(size.records);
        self.unsettled_bytes = self.unsettled_bytes.saturating_sub(size.bytes);
        if self.unsettled == 0 {
            self.unsettled_records = 0;
            self.unsettled_bytes = 0;
        }
        Some(size)
    }

    /// The first number from `from` on that waits.
    pub fn first_waiting(&self, first: u64, from: u64) -> Option<u64> {
        if self.unsettled == 0 {
            return None;
        }
        (from.max(first)..=self.last).find(|sequence| !self.bit(first, *sequence))
    }

    /// When the first batch that waits was sealed, or at least the last one.
    pub fn oldest_unix_ns(&self, first: u64) -> i64 {
        self.first_waiting(first, first)
            .and_then(|sequence| self.entry(sequence))
            .map_or(self.sealed_at_unix_ns, |entry| entry.sealed_at_unix_ns)
    }

    /// The last number that waits.
    pub fn last_waiting(&self, first: u64) -> Option<u64> {
        if self.unsettled == 0 {
            return None;
        }
        (first..=self.last)
            .rev()
            .find(|sequence| !self.bit(first, *sequence))
    }

    /// Whether the places of its batches are known.
    pub fn is_loaded(&self) -> bool {
        self.entries.is_some()
    }

    /// The places of its batches, read from the file; those that waited and are not among them are
    /// out now, and given back.
    pub fn load(&mut self, first: u64, entries: Vec<Entry>) -> Vec<u64> {
        let is_there = |sequence| {
            entries
                .binary_search_by_key(&sequence, |entry: &Entry| entry.sequence)
                .is_ok()
        };
        let missing: Vec<u64> = (first..=self.last)
            .filter(|sequence| self.waits(first, *sequence) && !is_there(*sequence))
            .collect();
        for sequence in &missing {
            self.set(first, *sequence);
        }
        let waiting = || {
            let waits = |entry: &&Entry| !self.bit(first, entry.sequence);
            entries.iter().filter(waits)
        };
        let (unsettled, records, bytes) = (
            waiting().count() as u32,
            waiting().map(|entry| u64::from(entry.records)).sum(),
            waiting().map(|entry| u64::from(entry.bytes)).sum(),
        );
        self.unsettled = unsettled;
        self.unsettled_records = records;
        self.unsettled_bytes = bytes;
        self.entries = Some(entries);
        missing
    }

    /// Forgets the places of its batches.
    pub fn unload(&mut self) {
        self.entries = None;
    }

    /// The place of a batch, if places are known.
    pub fn entry(&self, sequence: u64) -> Option<&Entry> {
        let entries = self.entries.as_ref()?;
        let at = entries.binary_search_by_key(&sequence, |entry| entry.sequence);
        at.ok().map(|at| &entries[at])
    }

    /// Octets of memory the index takes.
    pub fn index_bytes(&self) -> usize {
        let entries = self.entries.as_ref().map_or(0, Vec::capacity);
        size_of::<SegmentKey>()
            + size_of::<Self>()
            + self.settled.capacity() * size_of::<u64>()
            + entries * size_of::<Entry>()
    }

    fn bit(&self, first: u64, sequence: u64) -> bool {
        let at = (sequence - first) as usize;
        let word = self.settled.get(at / 64).copied().unwrap_or(0);
        word >> (at % 64) & 1 == 1
    }

    fn set(&mut self, first: u64, sequence: u64) {
        let at = (sequence - first) as usize;
        if self.settled.len() <= at / 64 {
            self.settled.resize(at / 64 + 1, 0);
        }
        self.settled[at / 64] |= 1 << (at % 64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(sequences: impl IntoIterator<Item = u64>) -> Segment {
        let mut segment = Segment::new(Backing::File, 5);
        for sequence in sequences {
            segment.push(5, entry(sequence));
        }
        segment
    }

    fn entry(sequence: u64) -> Entry {
        Entry {
            sequence,
            offset: 0,
            bytes: 100,
            records: 2,
            sealed_at_unix_ns: 0,
        }
    }

    #[test]
    fn a_batch_is_settled_once_in_any_order() {
        let mut segment = segment(5..=8);
        let size = Some(Size {
            records: 2,
            bytes: 100,
        });
        assert_eq!(segment.settle(5, 6, None), size);
        assert_eq!(segment.settle(5, 6, None), None);
        assert_eq!(segment.settle(5, 99, None), None);
        assert_eq!(segment.first_waiting(5, 0), Some(5));
        assert_eq!(segment.first_waiting(5, 6), Some(7));
        segment.settle(5, 8, None);
        assert_eq!(segment.last_waiting(5), Some(7));
        segment.settle(5, 5, None);
        segment.settle(5, 7, None);
        assert_eq!(
            (segment.unsettled(), segment.first_waiting(5, 0)),
            (0, None)
        );
    }

    #[test]
    fn numbers_left_out_are_settled() {
        let segment = segment([5, 9]);
        assert_eq!(segment.unsettled(), 2);
        assert_eq!(segment.first_waiting(5, 6), Some(9));
    }

    #[test]
    fn what_a_file_no_longer_holds_is_noticed_when_its_places_are_read() {
        let mut segment = segment(5..=8);
        segment.unload();
        assert_eq!(segment.settle(5, 5, None), Some(Size::default()));
        assert_eq!(segment.unsettled_size().records, 8, "an upper bound");
        assert_eq!(segment.load(5, vec![entry(5), entry(6), entry(8)]), [7]);
        assert_eq!(segment.unsettled(), 2);
        assert_eq!(segment.unsettled_size().records, 4);
    }
}
