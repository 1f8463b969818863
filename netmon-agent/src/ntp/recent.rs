//! A bounded map that forgets what was used least recently.

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
};

/// Uses within this time count as one: most entries are used in bursts.
const COARSE_NS: u64 = 1_000_000_000;

/// At most so many entries; one more pushes out the one that was not used for longest.
#[derive(Debug)]
pub struct Recent<K, V> {
    max_entries: usize,
    entries: HashMap<K, Entry<V>>,
    /// By when they were used last, and a number that tells equal times apart.
    order: BTreeMap<(u64, u64), K>,
    next_number: u64,
    evictions: u64,
}

#[derive(Debug)]
struct Entry<V> {
    used: (u64, u64),
    value: V,
}

impl<K: Copy + Eq + Hash, V> Recent<K, V> {
    /// Empty.
    pub fn new(max_entries: usize) -> Self {
        Self {
            max_entries: max_entries.max(1),
            entries: HashMap::new(),
            order: BTreeMap::new(),
            next_number: 0,
            evictions: 0,
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many were pushed out so far.
    pub fn evictions(&self) -> u64 {
        self.evictions
    }

    /// Looks one up without using it.
    pub fn peek(&self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|entry| &entry.value)
    }

    /// Looks one up to change it, without using it.
    pub fn peek_mut(&mut self, key: &K) -> Option<&mut V> {
        self.entries.get_mut(key).map(|entry| &mut entry.value)
    }

    /// Uses an entry, making it if there is none. Returns what had to go for it, too.
    pub fn entry(
        &mut self,
        key: K,
        now_ns: u64,
        make: impl FnOnce() -> V,
    ) -> (&mut V, Option<(K, V)>) {
        let number = self.next_number;
        self.next_number += 1;
        let is_new = !self.entries.contains_key(&key);
        let evicted = if is_new && self.entries.len() >= self.max_entries {
            let oldest = self.oldest();
            self.evictions += u64::from(oldest.is_some());
            oldest
        } else {
            None
        };
        let order = &mut self.order;
        let entry = self.entries.entry(key).or_insert_with(|| {
            order.insert((now_ns, number), key);
            Entry {
                used: (now_ns, number),
                value: make(),
            }
        });
        if now_ns.saturating_sub(entry.used.0) >= COARSE_NS {
            order.remove(&entry.used);
            entry.used = (now_ns, number);
            order.insert(entry.used, key);
        }
        (&mut entry.value, evicted)
    }

    /// Of all entries.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.entries.keys()
    }

    /// Takes one out.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let entry = self.entries.remove(key)?;
        self.order.remove(&entry.used);
        Some(entry.value)
    }

    /// Takes out the oldest that was last used before a moment.
    pub fn pop_unused_since(&mut self, moment_ns: u64) -> Option<(K, V)> {
        let ((used_ns, _), _) = self.order.first_key_value()?;
        if *used_ns < moment_ns {
            self.oldest()
        } else {
            None
        }
    }

    fn oldest(&mut self) -> Option<(K, V)> {
        let (_, key) = self.order.pop_first()?;
        let entry = self.entries.remove(&key)?;
        Some((key, entry.value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = COARSE_NS;

    #[test]
    fn what_was_not_used_for_longest_goes() {
        let mut recent = Recent::new(2);
        recent.entry('a', 0, || 1);
        recent.entry('b', S, || 2);
        recent.entry('a', 2 * S, || panic!("it is there"));
        let (value, evicted) = recent.entry('c', 3 * S, || 3);
        assert_eq!((*value, evicted), (3, Some(('b', 2))));
        assert_eq!((recent.len(), recent.evictions()), (2, 1));
        assert_eq!((recent.peek(&'a'), recent.peek(&'b')), (Some(&1), None));
    }

    #[test]
    fn what_was_not_used_since_can_be_taken_out() {
        let mut recent = Recent::new(9);
        recent.entry('a', 0, || 1);
        recent.entry('b', S, || 2);
        assert_eq!(recent.pop_unused_since(S), Some(('a', 1)));
        assert_eq!(recent.pop_unused_since(S), None);
        assert_eq!(recent.remove(&'b'), Some(2));
        assert!(recent.order.is_empty() && recent.entries.is_empty());
    }
}
