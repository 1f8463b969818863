//! `COUNTERS` and `COUNTERS_OF_HIGH_INDEX`: packets and bytes per interface and direction.
//!
//! The lookup is most of what an ordinary packet costs: in an array it is a few instructions, in a
//! hash a call and a hash function. Interfaces whose index fits
//! the array have their counters there; a host that has made thousands of interfaces finds the
//! others in the hash.

use aya_ebpf::{
    macros::map,
    maps::{PerCpuArray, PerCpuHashMap},
    programs::TcContext,
};
use netmon_common::{
    counters::{CounterKey, Counters, Direction},
    packet::headers_length,
};

use crate::{
    link::LinkLayer,
    skb::{self, Frame, Segments},
};

/// Slot [`CounterKey::slot`]; user space sets it to zero before it attaches.
#[map]
static COUNTERS: PerCpuArray<Counters> = PerCpuArray::with_max_entries(CounterKey::SLOTS, 0);

/// User space inserts the keys of an interface before it attaches, and deletes them after it has
/// detached and read them.
#[map]
static COUNTERS_OF_HIGH_INDEX: PerCpuHashMap<CounterKey, Counters> =
    PerCpuHashMap::with_max_entries(4096, 0);

/// Octets of a VLAN tag.
const TAG_LENGTH: u64 = 4;

#[inline(always)]
pub fn count<L: LinkLayer>(ctx: &TcContext, direction: Direction) {
    let key = CounterKey::new(skb::ifindex(ctx), direction);
    let found = match key.slot() {
        Some(slot) => COUNTERS.get_ptr_mut(slot),
        None => COUNTERS_OF_HIGH_INDEX.get_ptr_mut(&key),
    };
    let Some(counters) = found else { return };
    let mut bytes = u64::from(ctx.len());
    if skb::stripped_tag(ctx).is_some() {
        bytes += TAG_LENGTH;
    }
    let (segments, wire_bytes) = match skb::segments(ctx) {
        Segments::Counted(1) => (1, bytes),
        segments => on_the_wire::<L>(ctx, bytes, segments),
    };
    // SAFETY: the map returned a valid pointer to this CPU's value, and no other program run can
    // touch it: softirqs are off while a tc program runs.
    let counters = unsafe { &mut *counters };
    counters.packets += 1;
    counters.bytes += bytes;
    counters.wire_packets += segments;
    counters.wire_bytes += wire_bytes;
}

/// Packets and octets on the wire of a buffer that stands for several: every segment repeats the
/// headers.
#[inline(always)]
fn on_the_wire<L: LinkLayer>(ctx: &TcContext, bytes: u64, segments: Segments) -> (u64, u64) {
    let headers = match L::parse(ctx).and_then(|link| headers_length(&Frame(ctx), link)) {
        Ok(Some(headers)) => {
            let stripped = skb::stripped_tag(ctx).is_some();
            headers as u64 + if stripped { TAG_LENGTH } else { 0 }
        }
        _ => 0,
    };
    let segments = match segments {
        Segments::Counted(segments) => segments,
        // Checked, since a panic has no place in a kernel program; the size is never 0.
        Segments::OfSize(size) => (bytes.saturating_sub(headers) + size - 1)
            .checked_div(size)
            .unwrap_or(1)
            .max(1),
    };
    (segments, bytes + (segments - 1) * headers)
}
