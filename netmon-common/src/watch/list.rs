//! Sorted lists of addresses and prefixes, in little space, and what differs between two of them.

use core::{fmt, net::IpAddr};
use std::vec::Vec;

use super::Prefix;

/// An IPv4 entry: the address and the number of bits that count. As octets they sort as prefixes do.
pub(super) type Entry4 = [u8; 5];
/// An IPv6 entry.
pub(super) type Entry6 = [u8; 17];

/// Addresses and prefixes, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List {
    v4: Vec<Entry4>,
    v6: Vec<Entry6>,
    /// Lengths that entries have: whoever looks an address up tries each.
    lengths: [Vec<u8>; 2],
}

/// What makes one list of another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Entries that only the first has.
    pub removed: List,
    /// Entries that only the second has.
    pub added: List,
}

/// Names the content of a list. Equal for equal lists; that others have the same is as unlikely as an
/// accident of 128 bits. No protection from those who want two lists to look the same.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; Self::LENGTH]);

impl List {
    /// Of entries in ascending order, each once.
    pub(super) fn of_sorted(v4: Vec<Entry4>, v6: Vec<Entry6>) -> Self {
        let lengths = [lengths(&v4), lengths(&v6)];
        Self { v4, v6, lengths }
    }

    /// How many entries there are.
    pub const fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// How many of IPv4.
    pub const fn len_v4(&self) -> usize {
        self.v4.len()
    }

    /// How many of IPv6.
    pub const fn len_v6(&self) -> usize {
        self.v6.len()
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All entries, IPv4 first, in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = Prefix> {
        let v4 = self.v4.iter().map(|[a, b, c, d, length]| Prefix {
            address: IpAddr::from([*a, *b, *c, *d]),
            length: *length,
        });
        let v6 = self.v6.iter().map(|entry| {
            let (address, length) = parts6(entry);
            Prefix {
                address: IpAddr::from(address),
                length,
            }
        });
        v4.chain(v6)
    }

    /// Whether an entry is, or contains, the address.
    pub fn covers(&self, address: IpAddr) -> bool {
        let [of_v4, of_v6] = &self.lengths;
        match address {
            IpAddr::V4(address) => of_v4.iter().any(|length| {
                let bits = u32::from(address) & high_bits(u128::MAX, *length, 32) as u32;
                self.v4
                    .binary_search(&entry4(bits.to_be_bytes(), *length))
                    .is_ok()
            }),
            IpAddr::V6(address) => of_v6.iter().any(|length| {
                let bits = u128::from(address) & high_bits(u128::MAX, *length, 128);
                self.v6
                    .binary_search(&entry6(bits.to_be_bytes(), *length))
                    .is_ok()
            }),
        }
    }

    /// Entries of either list.
    pub fn union(&self, other: &Self) -> Self {
        Self::of_sorted(merge(&self.v4, &other.v4), merge(&self.v6, &other.v6))
    }

    /// Entries that the other does not have.
    pub fn without(&self, other: &Self) -> Self {
        Self::of_sorted(without(&self.v4, &other.v4), without(&self.v6, &other.v6))
    }

    /// The first so many entries.
    pub fn first(&self, most: usize) -> Self {
        let v4 = self.v4.len().min(most);
        let v6 = self.v6.len().min(most - v4);
        Self::of_sorted(self.v4[..v4].to_vec(), self.v6[..v6].to_vec())
    }

    /// What makes `next` of this list.
    pub fn change_to(&self, next: &Self) -> Change {
        Change {
            removed: self.without(next),
            added: next.without(self),
        }
    }

    /// The list after a change.
    pub fn changed(&self, change: &Change) -> Self {
        self.without(&change.removed).union(&change.added)
    }

    /// Names the content.
    pub fn digest(&self) -> Digest {
        let mut lanes = Lanes::new();
        lanes.take(self.v4.len() as u64);
        lanes.take(self.v6.len() as u64);
        for [a, b, c, d, length] in &self.v4 {
            lanes.take(u64::from_be_bytes([0, 0, 0, *a, *b, *c, *d, *length]));
        }
        for entry in &self.v6 {
            let (address, length) = parts6(entry);
            let bits = u128::from_be_bytes(address);
            lanes.take((bits >> 64) as u64);
            lanes.take(bits as u64);
            lanes.take(length.into());
        }
        lanes.digest()
    }

    pub(super) fn v4(&self) -> &[Entry4] {
        &self.v4
    }

    pub(super) fn v6(&self) -> &[Entry6] {
        &self.v6
    }
}

impl FromIterator<Prefix> for List {
    fn from_iter<T: IntoIterator<Item = Prefix>>(entries: T) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for Prefix { address, length } in entries {
            match address {
                IpAddr::V4(address) => v4.push(entry4(address.octets(), length)),
                IpAddr::V6(address) => v6.push(entry6(address.octets(), length)),
            }
        }
        v4.sort_unstable();
        v4.dedup();
        v6.sort_unstable();
        v6.dedup();
        v4.shrink_to_fit();
        v6.shrink_to_fit();
        Self::of_sorted(v4, v6)
    }
}

impl Change {
    /// How many entries it names.
    pub const fn len(&self) -> usize {
        self.removed.len() + self.added.len()
    }

    /// Whether nothing changes.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// This change and then another one, as one.
    pub fn then(&self, next: &Self) -> Self {
        let of = |first: &List, second: &List, undone_by: &List, undoes: &List| {
            first.without(undone_by).union(&second.without(undoes))
        };
        Self {
            removed: of(&self.removed, &next.removed, &next.added, &self.added),
            added: of(&self.added, &next.added, &next.removed, &self.removed),
        }
    }
}

impl Digest {
    /// Octets.
    pub const LENGTH: usize = 16;

    /// From the octets of a message; `None`: they are no digest.
    pub fn parse(octets: &[u8]) -> Option<Self> {
        octets.try_into().map(Self).ok()
    }

    /// Its octets.
    pub const fn octets(&self) -> [u8; Self::LENGTH] {
        self.0
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

/// Two chains of the same words, each begun and gone on with otherwise.
struct Lanes([u64; 2]);

impl Lanes {
    /// The fractions of the golden ratio and of the square root of two.
    const STEPS: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0x6a09_e667_f3bc_c909];

    const fn new() -> Self {
        Self(Self::STEPS)
    }

    fn take(&mut self, word: u64) {
        for (lane, step) in self.0.iter_mut().zip(Self::STEPS) {
            // The finaliser of SplitMix64: every bit of a word reaches every bit of the lane.
            let mut mixed = (*lane ^ word).wrapping_add(step);
            mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            *lane = mixed ^ mixed >> 31;
        }
    }

    fn digest(&self) -> Digest {
        let [high, low] = self.0;
        Digest((u128::from(high) << 64 | u128::from(low)).to_be_bytes())
    }
}

pub(super) const fn entry4([a, b, c, d]: [u8; 4], length: u8) -> Entry4 {
    [a, b, c, d, length]
}

pub(super) fn entry6(address: [u8; 16], length: u8) -> Entry6 {
    let mut entry = [length; 17];
    entry[..16].copy_from_slice(&address);
    entry
}

pub(super) fn parts6(entry: &Entry6) -> ([u8; 16], u8) {
    let mut address = [0; 16];
    address.copy_from_slice(&entry[..16]);
    (address, entry[16])
}

/// A number of `of` bits with the first `length` of them set.
fn high_bits(all: u128, length: u8, of: u8) -> u128 {
    let within = all >> (128 - u32::from(of));
    let behind = within.checked_shr(length.into()).unwrap_or(0);
    within & !behind
}

fn lengths<const N: usize>(entries: &[[u8; N]]) -> Vec<u8> {
    let mut present = [false; 256];
    for entry in entries {
        present[usize::from(entry[N - 1])] = true;
    }
    (0..=u8::MAX)
        .filter(|length| present[usize::from(*length)])
        .collect()
}

fn merge<const N: usize>(one: &[[u8; N]], other: &[[u8; N]]) -> Vec<[u8; N]> {
    let mut merged = Vec::with_capacity(one.len() + other.len());
    let (mut one, mut other) = (one, other);
    while let ([first, rest @ ..], [second, behind @ ..]) = (one, other) {
        merged.push(*first.min(second));
        if first <= second {
            one = rest;
        }
        if second <= first {
            other = behind;
        }
    }
    merged.extend_from_slice(one);
    merged.extend_from_slice(other);
    merged.shrink_to_fit();
    merged
}

fn without<const N: usize>(from: &[[u8; N]], other: &[[u8; N]]) -> Vec<[u8; N]> {
    let mut other = other.iter().peekable();
    let mut left = Vec::new();
    for entry in from {
        while other.next_if(|next| *next < entry).is_some() {}
        if other.peek() != Some(&entry) {
            left.push(*entry);
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn list(entries: &[&str]) -> List {
        entries.iter().map(|entry| entry.parse().unwrap()).collect()
    }

    /// Lists that share some entries, of both families.
    fn some(seed: u64) -> BTreeSet<Prefix> {
        let mut state = seed;
        let mut random = move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as u8
        };
        let entries = (0..random()).map(|_| {
            let (number, length) = (random() % 64, 24 + random() % 9);
            match number % 3 {
                0 => Prefix::new([2001, 0xdb8, 0, 0, 0, 0, 0, number.into()].into(), 128),
                1 => Prefix::new([10, number, 0, 0].into(), length),
                _ => Prefix::new([10, 0, 0, number].into(), 32),
            }
        });
        entries.map(Result::unwrap).collect()
    }

    #[test]
    fn entries_are_sorted_and_unique() {
        let list = list(&["2001:db8::/32", "10.0.0.2", "10.0.0.0/8", "10.0.0.2"]);
        let texts = ["10.0.0.0/8", "10.0.0.2", "2001:db8::/32"];
        let entries: Vec<Prefix> = texts.map(|text| text.parse().unwrap()).into();
        assert_eq!(list.iter().collect::<Vec<_>>(), entries);
        assert_eq!((list.len(), list.len_v4(), list.len_v6()), (3, 2, 1));
        assert_eq!(list.first(2).iter().collect::<Vec<_>>(), entries[..2]);
    }

    #[test]
    fn lists_do_what_sets_of_the_standard_library_do() {
        for seed in 0..200 {
            let (a, b) = (some(seed), some(seed + 1000));
            let (one, other): (List, List) =
                (a.iter().copied().collect(), b.iter().copied().collect());
            let same = |list: List, set: BTreeSet<Prefix>| {
                assert_eq!(list, set.into_iter().collect::<List>(), "seed {seed}");
            };
            same(one.union(&other), a.union(&b).copied().collect());
            same(one.without(&other), a.difference(&b).copied().collect());
            let change = one.change_to(&other);
            assert_eq!(one.changed(&change), other, "seed {seed}");
            assert_eq!(change.is_empty(), one == other);
            let third: List = some(seed + 2000).into_iter().collect();
            let both = change.then(&other.change_to(&third));
            assert_eq!(both, one.change_to(&third), "seed {seed}");
        }
    }

    #[test]
    fn an_address_is_covered_by_itself_and_by_prefixes() {
        let list = list(&[
            "192.0.2.7",
            "198.51.100.0/25",
            "2001:db8::/64",
            "2001:db8:1::1",
        ]);
        for (address, covered) in [
            ("192.0.2.7", true),
            ("192.0.2.6", false),
            ("198.51.100.127", true),
            ("198.51.100.128", false),
            ("2001:db8::ffff", true),
            ("2001:db8:0:1::", false),
            ("2001:db8:1::1", true),
        ] {
            assert_eq!(list.covers(address.parse().unwrap()), covered, "{address}");
        }
        assert!(List::from_iter(["0.0.0.0/0".parse().unwrap()]).covers([1, 2, 3, 4].into()));
        assert!(!List::default().covers([1, 2, 3, 4].into()));
    }

    #[test]
    fn a_digest_names_the_content() {
        let of = |entries: &[&str]| list(entries).digest();
        let one = of(&["192.0.2.1", "2001:db8::1"]);
        assert_eq!(one, of(&["2001:db8::1", "192.0.2.1"]));
        assert_eq!(Digest::parse(&one.octets()), Some(one));
        assert_eq!(Digest::parse(&[1, 2, 3]), None);
        let others = [
            of(&[]),
            of(&["192.0.2.1"]),
            of(&["2001:db8::1"]),
            of(&["192.0.2.1", "2001:db8::2"]),
            of(&["192.0.2.0/31", "2001:db8::1"]),
        ];
        assert!(!others.contains(&one));
    }
}
