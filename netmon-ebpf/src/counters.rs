//! `COUNTERS` and `COUNTERS_OF_HIGH_INDEX`: packets and bytes per interface, direction and class.
//!
//! The lookup is most of what an ordinary packet costs: in an array it is a few instructions, in a
//! hash a call and a hash function. Interfaces whose index fits the array have their counters there;
//! a host that has made hundreds of interfaces finds the others in the hash. The class is part of the
//! key instead of the value: so it costs no second look-up, and classes add up to the whole at any
//! moment.

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    macros::map,
    maps::{PerCpuArray, PerCpuHashMap},
};
use netmon_common::{
    counters::{Class, ClassKey, CounterKey, Counters, Direction},
    packet::{IPV4_LENGTH, IPV6_LENGTH, headers_end, protocol},
};

use crate::{
    array::Slots as _,
    context::{Context, Frame, Segments},
    link::LinkLayer,
    place::Place,
};

/// Slot [`ClassKey::slot`]; user space sets it to zero before it attaches.
#[map]
static COUNTERS: PerCpuArray<Counters> = PerCpuArray::with_max_entries(ClassKey::SLOTS, 0);

/// Interfaces that find room in the hash.
const HIGH_INDICES: u32 = 2048;

/// User space inserts the keys of an interface before it attaches, and deletes them after it has
/// detached and read them. Only what is inserted takes memory.
#[map]
static COUNTERS_OF_HIGH_INDEX: PerCpuHashMap<ClassKey, Counters> = PerCpuHashMap::with_max_entries(
    HIGH_INDICES * 2 * Class::ALL.len() as u32,
    BPF_F_NO_PREALLOC,
);

/// Octets of a VLAN tag.
const TAG_LENGTH: u64 = 4;

/// What this packet adds to counters.
#[inline(always)]
pub fn measure<L: LinkLayer>(ctx: &impl Context, plain: Option<Class>) -> Counters {
    let mut bytes = u64::from(ctx.length());
    if ctx.stripped_tag().is_some() {
        bytes += TAG_LENGTH;
    }
    let (wire_packets, wire_bytes) = match ctx.segments() {
        Segments::Counted(1) => (1, bytes),
        segments => on_the_wire(ctx, bytes, segments, transport::<L>(plain)),
    };
    Counters {
        packets: 1,
        bytes,
        wire_packets,
        wire_bytes,
    }
}

/// Adds what has passed to the interface's counters.
#[inline(always)]
pub fn count(ctx: &impl Context, direction: Direction, class: u8, passed: &Counters) {
    let key = CounterKey::new(ctx.ifindex(), direction).of_number(class);
    let found = match key.slot() {
        Some(slot) => COUNTERS.slot(slot),
        None => COUNTERS_OF_HIGH_INDEX.get_ptr_mut(&key),
    };
    let Some(counters) = found else { return };
    // SAFETY: the map returned a valid pointer to this CPU's value, and no other program run can
    // touch it: softirqs are off while a program runs.
    unsafe { *counters += *passed };
}

/// Protocol and offset of the transport header that segments repeat.
#[inline(always)]
fn transport<L: LinkLayer>(plain: Option<Class>) -> Option<(u8, usize)> {
    match plain {
        Some(Class::Ipv4Tcp) => Some((protocol::TCP, L::LENGTH + IPV4_LENGTH)),
        Some(Class::Ipv4Udp) => Some((protocol::UDP, L::LENGTH + IPV4_LENGTH)),
        Some(Class::Ipv6Tcp) => Some((protocol::TCP, L::LENGTH + IPV6_LENGTH)),
        Some(Class::Ipv6Udp) => Some((protocol::UDP, L::LENGTH + IPV6_LENGTH)),
        Some(_) => None,
        None => Place::noted()?.transport(),
    }
}

/// Packets and octets on the wire of a buffer that stands for several: every segment repeats the
/// headers.
#[inline(always)]
fn on_the_wire(
    ctx: &impl Context,
    bytes: u64,
    segments: Segments,
    transport: Option<(u8, usize)>,
) -> (u64, u64) {
    let found = match transport {
        Some((protocol, offset)) => headers_end(&Frame(ctx), protocol, offset),
        None => Ok(None),
    };
    let headers = match found {
        Ok(Some(headers)) => {
            let stripped = ctx.stripped_tag().is_some();
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
