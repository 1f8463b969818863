//! The watch set: addresses and prefixes that user space wants to hear of.
//!
//! There are two sets. Programs look into the one that `WATCH_IN_USE` names; user space fills the
//! other and then changes that word, so that a new set comes into force between two packets and
//! whole.

use aya_ebpf::{
    macros::map,
    maps::{Array, LpmTrie, lpm_trie::Key},
};
use netmon_common::{
    flow::{FlowKey4, FlowKey6, WatchMark},
    watch::{KEY4_LENGTH, KEY6_LENGTH, MAX_ENTRIES, key4, key6},
};

use crate::array::Slots as _;

/// 0: no set, 1: A, 2: B.
#[map]
static WATCH_IN_USE: Array<u32> = Array::with_max_entries(1, 0);

// Tries take memory for what they hold, not for what they may hold.

#[map]
static WATCH4_A: LpmTrie<[u8; 4], u8> = LpmTrie::with_max_entries(MAX_ENTRIES, 0);
#[map]
static WATCH4_B: LpmTrie<[u8; 4], u8> = LpmTrie::with_max_entries(MAX_ENTRIES, 0);
#[map]
static WATCH6_A: LpmTrie<[u8; 16], u8> = LpmTrie::with_max_entries(MAX_ENTRIES, 0);
#[map]
static WATCH6_B: LpmTrie<[u8; 16], u8> = LpmTrie::with_max_entries(MAX_ENTRIES, 0);

/// Which endpoints of an IPv4 flow are watched.
#[inline(always)]
pub fn mark4(key: &FlowKey4) -> u8 {
    match in_use() {
        1 => mark_by4(&WATCH4_A, key),
        2 => mark_by4(&WATCH4_B, key),
        _ => 0,
    }
}

/// Which endpoints of an IPv6 flow are watched.
#[inline(always)]
pub fn mark6(key: &FlowKey6) -> u8 {
    match in_use() {
        1 => mark_by6(&WATCH6_A, key),
        2 => mark_by6(&WATCH6_B, key),
        _ => 0,
    }
}

#[inline(always)]
fn in_use() -> u32 {
    // SAFETY: a valid pointer; user space writes one octet of the number.
    WATCH_IN_USE
        .slot(0)
        .map_or(0, |set| unsafe { set.read_volatile() })
}

#[inline(always)]
fn mark(low: bool, high: bool) -> u8 {
    let low = if low { WatchMark::LOW.0 } else { 0 };
    let high = if high { WatchMark::HIGH.0 } else { 0 };
    low | high
}

type Trie<const N: usize> = LpmTrie<[u8; N], u8>;

#[inline(always)]
fn mark_by4(trie: &Trie<4>, key: &FlowKey4) -> u8 {
    let has = |address| {
        const { assert!(size_of::<Key<[u8; 4]>>() == KEY4_LENGTH) };
        let words = key4(address);
        // SAFETY: any octets are a key, which has no alignment, and the word holds all of them.
        trie.get(unsafe { &*(&raw const words).cast::<Key<[u8; 4]>>() })
            .is_some()
    };
    mark(has(key.low), has(key.high))
}

#[inline(always)]
fn mark_by6(trie: &Trie<16>, key: &FlowKey6) -> u8 {
    let has = |address: [u8; 16]| {
        const { assert!(size_of::<Key<[u8; 16]>>() == KEY6_LENGTH) };
        // SAFETY: of the same size, and any octets are words.
        let words = key6(unsafe { core::mem::transmute::<[u8; 16], [u64; 2]>(address) });
        // SAFETY: as above.
        trie.get(unsafe { &*(&raw const words).cast::<Key<[u8; 16]>>() })
            .is_some()
    };
    mark(has(key.low), has(key.high))
}
