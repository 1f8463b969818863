//! Putting a watch set in force.

use aya::{
    Ebpf,
    maps::{
        Array, MapData, MapError,
        lpm_trie::{Key, LpmTrie},
    },
};
use netmon_common::watch::{Change, List, Prefix};
use std::net::IpAddr;

use super::{LoadError, Sensor};

/// The two sets and the word that says which is in force. While the programs look into one, the
/// other is filled.
pub struct WatchMaps {
    v4: [LpmTrie<MapData, [u8; 4], u8>; 2],
    v6: [LpmTrie<MapData, [u8; 16], u8>; 2],
    in_use: Array<MapData, u32>,
    /// None at first.
    current: Option<usize>,
}

impl WatchMaps {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, LoadError> {
        let mut take = |name| ebpf.take_map(name).ok_or(LoadError::Missing(name));
        Ok(Self {
            v4: [
                LpmTrie::try_from(take("WATCH4_A")?)?,
                LpmTrie::try_from(take("WATCH4_B")?)?,
            ],
            v6: [
                LpmTrie::try_from(take("WATCH6_A")?)?,
                LpmTrie::try_from(take("WATCH6_B")?)?,
            ],
            in_use: Array::try_from(take("WATCH_IN_USE")?)?,
            current: None,
        })
    }

    /// Puts a set in force in the place of the one before: whole, and between two packets. Takes one
    /// to two microseconds for each entry; programs go on meanwhile.
    ///
    /// # Errors
    /// When the kernel has no room; the set before stays in force.
    pub fn replace(&mut self, set: &List) -> Result<(), MapError> {
        let next = self.current.map_or(0, |current| 1 - current);
        // A set that could not be filled to the end may have left something.
        self.clear(next)?;
        for prefix in set.iter() {
            self.insert(next, prefix)?;
        }
        self.in_use.set(0, next as u32 + 1, 0)?;
        let earlier = self.current.replace(next);
        // Programs that began before the change may still look into the earlier set.
        super::batch::wait_for_programs();
        earlier.map_or(Ok(()), |earlier| self.clear(earlier))
    }

    /// Changes the set in force, entry by entry: for a change that is small beside the set.
    ///
    /// # Errors
    /// When the kernel has no room, or an entry to remove is not there; some of the change is in force
    /// then, and the set is to be replaced.
    pub fn change(&mut self, change: &Change) -> Result<(), MapError> {
        let Some(current) = self.current else {
            return self.replace(&change.added);
        };
        for prefix in change.removed.iter() {
            self.remove(current, prefix)?;
        }
        for prefix in change.added.iter() {
            self.insert(current, prefix)?;
        }
        Ok(())
    }

    fn insert(&mut self, which: usize, prefix: Prefix) -> Result<(), MapError> {
        let length = u32::from(prefix.length());
        match prefix.address() {
            IpAddr::V4(address) => self.v4[which].insert(&Key::new(length, address.octets()), 1, 0),
            IpAddr::V6(address) => self.v6[which].insert(&Key::new(length, address.octets()), 1, 0),
        }
    }

    fn remove(&mut self, which: usize, prefix: Prefix) -> Result<(), MapError> {
        let length = u32::from(prefix.length());
        match prefix.address() {
            IpAddr::V4(address) => self.v4[which].remove(&Key::new(length, address.octets())),
            IpAddr::V6(address) => self.v6[which].remove(&Key::new(length, address.octets())),
        }
    }

    fn clear(&mut self, which: usize) -> Result<(), MapError> {
        clear(&mut self.v4[which])?;
        clear(&mut self.v6[which])
    }
}

fn clear<K: aya::Pod>(trie: &mut LpmTrie<MapData, K, u8>) -> Result<(), MapError> {
    // Beginning anew each time: the key that the next one would be looked up by is gone.
    while let Some(key) = trie.keys().next() {
        trie.remove(&key?)?;
    }
    Ok(())
}

impl Sensor {
    /// The watch set's maps, once: filling them takes seconds for a million entries, and need not
    /// hold up anything else.
    pub fn take_watch(&mut self) -> Option<WatchMaps> {
        self.watch.take()
    }
}
