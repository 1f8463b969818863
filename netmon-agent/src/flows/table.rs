//! The flows of one family that are alive, in little space.
//!
//! Entries stand side by side in chunks, without gaps: a table that grows copies nothing and leaves
//! no freed half of itself behind, and memory follows the flows that there are. An index of numbers
//! finds them. The hash is keyed at random, since others choose the keys.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, Hash, RandomState},
};

use netmon_common::flow::FlowValue;

use super::packed::{Packed, Segments};

/// Entries of a chunk.
const CHUNK: usize = 1024;
/// No entry. There are fewer of them, by the range of `flows.max_entries`.
const EMPTY: u32 = u32::MAX;
const NONE: Segments = [0; 4];

#[derive(Debug)]
struct Entry<K> {
    key: K,
    value: Packed,
}

/// A map of flows.
#[derive(Debug)]
pub struct Table<K> {
    chunks: Vec<Vec<Entry<K>>>,
    len: usize,
    /// Numbers of entries, open addressing with linear probing; the length is a power of two.
    index: Vec<u32>,
    hasher: RandomState,
    /// Of the flows that have any.
    segments: HashMap<K, Segments>,
}

impl<K: Copy + Hash + Eq> Table<K> {
    /// An empty one.
    pub fn new() -> Self {
        Self {
            chunks: Vec::new(),
            len: 0,
            index: Vec::new(),
            hasher: RandomState::new(),
            segments: HashMap::new(),
        }
    }

    /// How many flows there are.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Has `change` work on a flow; false if it is not there.
    pub fn update(&mut self, key: &K, change: impl FnOnce(&mut FlowValue)) -> bool {
        let Some(slot) = self.find(key) else {
            return false;
        };
        let number = self.index[slot] as usize;
        let mut value = self.value(number);
        change(&mut value);
        self.write(number, &value);
        true
    }

    /// Adds a flow that is not there.
    pub fn insert(&mut self, key: K, value: &FlowValue) {
        if (self.len + 1) * 4 > self.index.len() * 3 {
            self.grow();
        }
        let number = self.len;
        if number == self.chunks.len() * CHUNK {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let (packed, segments) = Packed::new(value);
        self.chunks[number / CHUNK].push(Entry { key, value: packed });
        self.len += 1;
        self.link(number);
        self.keep_segments(key, segments);
    }

    /// Shows every flow to `keep`, which may change it, and removes those it does not want to keep.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &mut FlowValue) -> bool) {
        let mut number = 0;
        while number < self.len {
            let key = self.entry(number).key;
            let before = self.value(number);
            let mut value = before;
            if keep(&key, &mut value) {
                if value != before {
                    self.write(number, &value);
                }
                number += 1;
            } else {
                // The last one comes here and is looked at next.
                self.remove(number);
            }
        }
    }

    fn entry(&self, number: usize) -> &Entry<K> {
        &self.chunks[number / CHUNK][number % CHUNK]
    }

    fn value(&self, number: usize) -> FlowValue {
        let entry = self.entry(number);
        let segments = if self.segments.is_empty() {
            NONE
        } else {
            self.segments.get(&entry.key).copied().unwrap_or(NONE)
        };
        entry.value.value(segments)
    }

    fn write(&mut self, number: usize, value: &FlowValue) {
        let (packed, segments) = Packed::new(value);
        let entry = &mut self.chunks[number / CHUNK][number % CHUNK];
        entry.value = packed;
        let key = entry.key;
        self.keep_segments(key, segments);
    }

    fn keep_segments(&mut self, key: K, segments: Segments) {
        if segments != NONE {
            self.segments.insert(key, segments);
        } else if !self.segments.is_empty() {
            self.segments.remove(&key);
        }
    }

    /// Takes an entry out and puts the last one in its place.
    fn remove(&mut self, number: usize) {
        let key = self.entry(number).key;
        self.keep_segments(key, NONE);
        let slot = self.find(&key).expect("every entry is in the index");
        self.unlink(slot);
        let last = self.len - 1;
        if number != last {
            let key = self.entry(last).key;
            let slot = self.find(&key).expect("every entry is in the index");
            self.index[slot] = number as u32;
        }
        let moved = self.chunks[last / CHUNK].pop().expect("the last entry");
        if number != last {
            self.chunks[number / CHUNK][number % CHUNK] = moved;
        }
        self.len = last;
        // One empty chunk stays: a flow that comes and goes at the edge allocates nothing.
        self.chunks.truncate(last.div_ceil(CHUNK) + 1);
    }

    /// Where an entry's search begins.
    fn home(&self, key: &K) -> usize {
        self.hasher.hash_one(key) as usize & (self.index.len() - 1)
    }

    /// The place of a key in the index.
    fn find(&self, key: &K) -> Option<usize> {
        if self.index.is_empty() {
            return None;
        }
        let mut slot = self.home(key);
        // It ends: a quarter of the index is empty.
        loop {
            match self.index[slot] {
                EMPTY => return None,
                number if self.entry(number as usize).key == *key => return Some(slot),
                _ => slot = (slot + 1) & (self.index.len() - 1),
            }
        }
    }

    fn link(&mut self, number: usize) {
        let mut slot = self.home(&self.entry(number).key);
        while self.index[slot] != EMPTY {
            slot = (slot + 1) & (self.index.len() - 1);
        }
        self.index[slot] = number as u32;
    }

    /// Empties a slot and moves up what was displaced by it (Knuth, volume 3, 6.4, algorithm R).
    fn unlink(&mut self, mut gap: usize) {
        let mask = self.index.len() - 1;
        let mut slot = gap;
        loop {
            slot = (slot + 1) & mask;
            let number = self.index[slot];
            if number == EMPTY {
                break;
            }
            let home = self.home(&self.entry(number as usize).key);
            // Whether its search passes the gap on the way from its home.
            if slot.wrapping_sub(home) & mask >= slot.wrapping_sub(gap) & mask {
                self.index[gap] = number;
                gap = slot;
            }
        }
        self.index[gap] = EMPTY;
    }

    fn grow(&mut self) {
        let length = (self.index.len() * 2).max(CHUNK);
        self.index = vec![EMPTY; length];
        for number in 0..self.len {
            self.link(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use netmon_common::{
        counters::Counters,
        flow::{FlowCounters, Side, Sighting},
    };

    use super::*;

    fn value(number: u64) -> FlowValue {
        let passed = Counters::from_words([1, number, 1, number]);
        FlowValue::first(&Sighting::default(), Side::Low, passed, number, 0)
    }

    #[test]
    fn it_does_what_a_map_of_the_standard_library_does() {
        let mut table = Table::new();
        let mut map = HashMap::new();
        let mut random = 7_u64;
        for round in 0..60_000_u64 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let key = (random >> 33) % 9000;
            let mut more = value(round);
            if key.is_multiple_of(5) {
                more.high = FlowCounters {
                    further_wire_packets: round,
                    ..FlowCounters::default()
                };
            }
            if !table.update(&key, |known| known.absorb(&more)) {
                table.insert(key, &more);
            }
            map.entry(key)
                .and_modify(|known: &mut FlowValue| known.absorb(&more))
                .or_insert(more);
            if round % 7000 == 6999 {
                table.retain(|key, _| key % 3 != round / 7000 % 3);
                map.retain(|key, _| key % 3 != round / 7000 % 3);
            }
        }
        assert_eq!(table.len(), map.len());
        let mut seen = HashMap::new();
        table.retain(|key, value| {
            assert!(seen.insert(*key, *value).is_none());
            true
        });
        assert_eq!(seen, map);
    }

    #[test]
    fn an_empty_table_gives_its_memory_back() {
        let mut table = Table::new();
        for key in 0..10_000_u32 {
            table.insert(key, &value(1));
        }
        table.retain(|_, _| false);
        assert_eq!((table.len(), table.chunks.len()), (0, 1));
        assert!(!table.update(&1, |_| {}));
        table.insert(1, &value(2));
        assert!(table.update(&1, |known| assert_eq!(known.low.bytes, 2)));
    }
}
