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
    watch::MAX_ENTRIES,
};

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
        1 => mark(&WATCH4_A, key.low, key.high),
        2 => mark(&WATCH4_B, key.low, key.high),
        _ => 0,
    }
}

/// Which endpoints of an IPv6 flow are watched.
#[inline(always)]
pub fn mark6(key: &FlowKey6) -> u8 {
    match in_use() {
        1 => mark(&WATCH6_A, key.low, key.high),
        2 => mark(&WATCH6_B, key.low, key.high),
        _ => 0,
    }
}

#[inline(always)]
fn in_use() -> u32 {
    WATCH_IN_USE.get(0).copied().unwrap_or(0)
}

#[inline(always)]
fn mark<const N: usize>(trie: &LpmTrie<[u8; N], u8>, low: [u8; N], high: [u8; N]) -> u8 {
    let watched = |address| trie.get(Key::new(8 * N as u32, address)).is_some();
    let mut mark = 0;
    if watched(low) {
        mark |= WatchMark::LOW.0;
    }
    if watched(high) {
        mark |= WatchMark::HIGH.0;
    }
    mark
}
