//! Ranges of addresses, found by their beginnings.

use std::fmt;

/// An address as a number. Binary searches compare keys, the part in which ranges nearly always
/// differ: so they touch half of the memory for IPv6.
pub trait Address: Copy + Ord {
    /// Its first part.
    type Key: Copy + Ord;

    /// How many heads there are.
    const HEADS: usize;

    /// Its first bits: a number below [`Self::HEADS`] that grows with the address.
    fn head(self) -> usize;

    /// Its first part, and what is behind it.
    fn split(self) -> (Self::Key, u64);

    /// An address of both parts.
    fn join(key: Self::Key, rest: u64) -> Self;
}

impl Address for u32 {
    type Key = u32;
    const HEADS: usize = 1 << 16;

    fn head(self) -> usize {
        (self >> 16) as usize
    }

    fn split(self) -> (u32, u64) {
        (self, 0)
    }

    fn join(key: u32, _: u64) -> Self {
        key
    }
}

/// Bits of an IPv6 address behind the three of 2000::/3, within which all places lie.
const V6_BITS: u32 = 18;

impl Address for u128 {
    type Key = u64;
    const HEADS: usize = (1 << V6_BITS) + 2;

    fn head(self) -> usize {
        match self >> 125 {
            0 => 0,
            1 => 1 + (self >> (125 - V6_BITS)) as usize % (1 << V6_BITS),
            _ => Self::HEADS - 1,
        }
    }

    fn split(self) -> (u64, u64) {
        ((self >> 64) as u64, self as u64)
    }

    fn join(key: u64, rest: u64) -> Self {
        u128::from(key) << 64 | u128::from(rest)
    }
}

/// Numbers of places for all addresses: ranges follow each other without a gap, from the first
/// address to the last.
///
/// The ranges that addresses of one head touch are known by number, so that a look-up is a binary
/// search among these.
pub struct Ranges<A: Address> {
    keys: Vec<A::Key>,
    /// What is behind the keys; none where that is nothing in all of them.
    rests: Vec<u64>,
    places: Vec<u16>,
    /// By head: how many ranges begin below it.
    heads: Vec<u32>,
}

impl<A: Address> Ranges<A> {
    /// Of ranges by ascending beginnings, the first of which is the first address.
    ///
    /// # Panics
    /// When there is no range; whoever makes them has checked it, and the order.
    pub fn new(ranges: Vec<(A, u16)>) -> Self {
        assert!(!ranges.is_empty(), "ranges cover all addresses");
        debug_assert!(ranges.is_sorted_by(|one, next| one.0 < next.0));
        let mut heads = vec![0u32; A::HEADS + 1];
        for (start, _) in &ranges {
            heads[start.head() + 1] += 1;
        }
        let mut below = 0;
        for head in &mut heads {
            below += *head;
            *head = below;
        }
        let starts = ranges.iter().map(|(start, _)| start.split());
        let (keys, mut rests): (Vec<_>, Vec<_>) = starts.unzip();
        if rests.iter().all(|rest| *rest == 0) {
            rests = Vec::new();
        }
        Self {
            keys,
            rests,
            places: ranges.iter().map(|(_, place)| *place).collect(),
            heads,
        }
    }

    /// The number of an address' place.
    pub fn place(&self, address: A) -> u16 {
        let head = address.head();
        let (from, to) = (self.heads[head] as usize, self.heads[head + 1] as usize);
        let (key, rest) = address.split();
        let keys = &self.keys[from..to];
        let mut within = keys.partition_point(|start| *start <= key);
        if !self.rests.is_empty() && within > 0 && keys[within - 1] == key {
            let same = keys.partition_point(|start| *start < key);
            let rests = &self.rests[from + same..from + within];
            within = same + rests.partition_point(|start| *start <= rest);
        }
        // The range before those that begin under this head reaches into it; the first range of
        // all begins with the first address, so there is always one.
        self.places[(from + within).saturating_sub(1)]
    }

    /// Every range's beginning and place number.
    pub fn iter(&self) -> impl Iterator<Item = (A, u16)> {
        let rests = self.rests.iter().copied().chain(std::iter::repeat(0));
        let starts = self.keys.iter().zip(rests);
        let starts = starts.map(|(key, rest)| A::join(*key, rest));
        starts.zip(self.places.iter().copied())
    }

    /// Octets in memory, about.
    pub fn memory_bytes(&self) -> usize {
        self.keys.len() * size_of::<A::Key>()
            + self.rests.len() * 8
            + self.places.len() * 2
            + self.heads.len() * 4
    }
}

impl<A: Address> fmt::Debug for Ranges<A> {
    /// Their number: they are hundreds of thousands.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ranges({})", self.keys.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_is_found_in_the_range_that_holds_it() {
        let ranges: Vec<(u32, u16)> = vec![
            (0, 0),
            (5, 1),
            (0x0001_0000, 2),
            (0x0001_0001, 3),
            (0x00ff_ffff, 4),
            (0x0100_0000, 5),
            (0xffff_ffff, 6),
        ];
        let table = Ranges::new(ranges.clone());
        for &(start, _) in &ranges {
            for address in [start.saturating_sub(1), start, start.saturating_add(1)] {
                let expected = ranges.iter().rev().find(|(s, _)| *s <= address).unwrap().1;
                assert_eq!(table.place(address), expected, "{address:#x}");
            }
        }
        assert!(table.iter().eq(ranges));
    }

    #[test]
    fn heads_of_ipv6_addresses_grow_with_them() {
        let addresses = [
            0,
            1 << 124,
            (1 << 125) - 1,
            1 << 125,
            (1 << 125) + (1 << 107),
            (1 << 126) - 1,
            1 << 126,
            u128::MAX,
        ];
        let heads = addresses.map(Address::head);
        assert_eq!(
            heads,
            [0, 0, 0, 1, 2, 1 << 18, (1 << 18) + 1, (1 << 18) + 1]
        );
        let ranges: Vec<_> = addresses.into_iter().zip(0u16..).collect();
        let table = Ranges::new(ranges.clone());
        for (address, place) in ranges {
            assert_eq!(table.place(address), place, "{address:#x}");
        }
    }

    #[test]
    fn ranges_that_begin_within_one_64_bit_prefix_are_told_apart() {
        let prefix = 0x2001_0506_0009_0000_u128 << 64;
        let ranges: Vec<(u128, u16)> = vec![
            (0, 0),
            (prefix - 5, 1),
            (prefix + 4, 2),
            (prefix + 6, 3),
            (prefix + (1 << 64), 4),
            (prefix + (1 << 64) + 1, 5),
        ];
        let table = Ranges::new(ranges.clone());
        for &(start, _) in &ranges[1..] {
            for address in [start - 1, start, start + 1] {
                let expected = ranges.iter().rev().find(|(s, _)| *s <= address).unwrap().1;
                assert_eq!(table.place(address), expected, "{address:#x}");
            }
        }
        assert!(table.iter().eq(ranges));
    }

    #[test]
    fn one_range_holds_everything() {
        let table = Ranges::new(vec![(0u128, 7)]);
        assert_eq!(table.place(0), 7);
        assert_eq!(table.place(u128::MAX), 7);
    }
}
