//! Flows: one look-up per packet, exact on any number of CPUs.
//!
//! For each family there are two maps. Programs work on the one that `FLOW_GENERATION` names; every
//! few seconds user space empties the other and then turns the generation over. A map is therefore
//! read only when no program can still be writing to it, and no packet falls between reading and
//! deleting. They are plain hash maps: an LRU map would throw flows out without telling anybody.

mod birth;
mod headers;
mod untracked;

use core::mem::offset_of;

use aya_ebpf::{
    Global,
    bindings::BPF_F_NO_PREALLOC,
    macros::map,
    maps::{Array, HashMap, PerCpuArray},
};
use netmon_common::{
    counters::{Counters, Direction},
    flow::{FlowCounters, FlowKey4, FlowKey6, FlowValue, Side, Sighting, Untracked},
};

use self::birth::{First, Tell, birth};
use crate::{array::Slots as _, atomic, context::Context, link::LinkLayer, tick, watch};

/// Without flows the verifier removes everything here: a constant is known to it.
#[unsafe(no_mangle)]
static FLOWS_ENABLED: Global<u8> = Global::new(0);

/// The lowest bit names the maps in use.
#[map]
static FLOW_GENERATION: Array<u32> = Array::with_max_entries(1, 0);

/// What the packet under work counts: in memory, where the verifier does not tell buffers of one
/// segment from others, and so does not look at all that follows for each kind by itself.
#[map]
static FLOW_PASSED: PerCpuArray<Counters> = PerCpuArray::with_max_entries(1, 0);

// Sizes are set by user space before loading. Entries take memory while they live.

#[map]
static FLOWS4_A: HashMap<FlowKey4, FlowValue> = HashMap::with_max_entries(1, BPF_F_NO_PREALLOC);
#[map]
static FLOWS4_B: HashMap<FlowKey4, FlowValue> = HashMap::with_max_entries(1, BPF_F_NO_PREALLOC);
#[map]
static FLOWS6_A: HashMap<FlowKey6, FlowValue> = HashMap::with_max_entries(1, BPF_F_NO_PREALLOC);
#[map]
static FLOWS6_B: HashMap<FlowKey6, FlowValue> = HashMap::with_max_entries(1, BPF_F_NO_PREALLOC);

/// A family's key, and what depends on it.
trait Key: Tell + Copy + 'static {
    /// 4 or 6.
    const IP_VERSION: u8;

    /// The two generations.
    fn maps() -> [&'static HashMap<Self, FlowValue>; 2];

    /// Which endpoints are watched.
    fn mark(&self) -> u8;
}

impl Key for FlowKey4 {
    const IP_VERSION: u8 = 4;

    #[inline(always)]
    fn maps() -> [&'static HashMap<Self, FlowValue>; 2] {
        [&FLOWS4_A, &FLOWS4_B]
    }

    #[inline(always)]
    fn mark(&self) -> u8 {
        watch::mark4(self)
    }
}

impl Key for FlowKey6 {
    const IP_VERSION: u8 = 6;

    #[inline(always)]
    fn maps() -> [&'static HashMap<Self, FlowValue>; 2] {
        [&FLOWS6_A, &FLOWS6_B]
    }

    #[inline(always)]
    fn mark(&self) -> u8 {
        watch::mark6(self)
    }
}

/// Whether there are any.
#[inline(always)]
pub fn are_kept() -> bool {
    FLOWS_ENABLED.load() != 0
}

/// Adds a packet to its flow, or to what is not tracked. `passed` is what was counted for the
/// interface.
#[inline(always)]
pub fn update<L: LinkLayer>(
    ctx: &impl Context,
    direction: Direction,
    is_plain: bool,
    passed: &Counters,
) {
    if !are_kept() {
        return;
    }
    let Some(slot) = FLOW_PASSED.slot(0) else {
        return;
    };
    // SAFETY: the map returned a valid pointer to this CPU's value; softirqs are off.
    let passed = unsafe {
        slot.write(*passed);
        &*slot
    };
    if let Err(cause) = headers::follow::<L>(ctx, is_plain, passed) {
        untracked::count(ctx, direction, cause, passed);
    }
}

/// Adds a packet to its flow.
#[inline(always)]
fn add<K: Key>(
    key: &K,
    side: Side,
    sighting: Sighting,
    passed: &Counters,
    payload: impl Fn() -> u64,
) -> Result<(), Untracked> {
    let now_ns = tick::now_ns();
    // SAFETY: a valid pointer; user space writes one octet of the number.
    let turned = FLOW_GENERATION
        .slot(0)
        .is_some_and(|generation| unsafe { generation.read_volatile() } & 1 != 0);
    let [a, b] = K::maps();
    // Two places with a constant map each: only then is the look-up compiled into the program.
    let found = if turned {
        b.get_ptr_mut(key)
    } else {
        a.get_ptr_mut(key)
    };
    let Some(flow) = found else {
        let first = First {
            sighting: Sighting {
                payload: payload(),
                ..sighting
            },
            passed: *passed,
            now_ns,
            side,
            turned,
        };
        return match birth(key, &first) {
            0 => Ok(()),
            _ => Err(Untracked::MapFull),
        };
    };
    // SAFETY: the map returned a valid pointer. Entries are removed from a map only when no program
    // uses it.
    unsafe { add_to(flow, side, &sighting, passed, now_ns, payload) };
    Ok(())
}

/// # Safety
///
/// `flow` must be an entry of a map.
#[inline(always)]
unsafe fn add_to(
    flow: *mut FlowValue,
    side: Side,
    sighting: &Sighting,
    passed: &Counters,
    now_ns: u64,
    payload: impl Fn() -> u64,
) {
    let counters = FlowCounters::from(*passed);
    // SAFETY: the caller's promise; what is not a count is written in one piece by whoever comes.
    unsafe {
        match side {
            Side::Low => count::<LOW>(flow, counters),
            Side::High => count::<HIGH>(flow, counters),
        }
        // Another CPU may have read the clock later in the same tick.
        if (&raw const (*flow).last_seen_ns).read() < now_ns {
            (&raw mut (*flow).last_seen_ns).write(now_ns);
        }
        if (&raw const (*flow).payload).read() == 0 {
            let seen = payload();
            if seen != 0 {
                (&raw mut (*flow).payload).write(seen);
            }
        }
        let flags = sighting.tcp_flags;
        if flags != (&raw const (*flow).known_flags).read() {
            see_flags(flow, flags);
        }
        if sighting.is_counted() {
            count_flags(flow, sighting);
        }
    }
}

const LOW: usize = offset_of!(FlowValue, low);
const HIGH: usize = offset_of!(FlowValue, high);

/// Adds to the counters of the side at `SIDE`.
///
/// # Safety
///
/// `flow` must be an entry of a map.
#[inline(always)]
unsafe fn count<const SIDE: usize>(flow: *mut FlowValue, passed: FlowCounters) {
    const BYTES: usize = offset_of!(FlowCounters, bytes);
    const WIRE_PACKETS: usize = offset_of!(FlowCounters, further_wire_packets);
    const WIRE_BYTES: usize = offset_of!(FlowCounters, further_wire_bytes);
    // SAFETY: the caller's promise.
    unsafe {
        match SIDE {
            LOW => {
                atomic::add::<LOW, _>(flow, passed.packets);
                atomic::add::<{ LOW + BYTES }, _>(flow, passed.bytes);
            }
            _ => {
                atomic::add::<HIGH, _>(flow, passed.packets);
                atomic::add::<{ HIGH + BYTES }, _>(flow, passed.bytes);
            }
        }
        if passed.further_wire_packets == 0 {
            return;
        }
        match SIDE {
            LOW => {
                atomic::add::<{ LOW + WIRE_PACKETS }, _>(flow, passed.further_wire_packets);
                atomic::add::<{ LOW + WIRE_BYTES }, _>(flow, passed.further_wire_bytes);
            }
            _ => {
                atomic::add::<{ HIGH + WIRE_PACKETS }, _>(flow, passed.further_wire_packets);
                atomic::add::<{ HIGH + WIRE_BYTES }, _>(flow, passed.further_wire_bytes);
            }
        }
    }
}

/// # Safety
///
/// `flow` must be an entry of a map.
#[inline(always)]
unsafe fn see_flags(flow: *mut FlowValue, flags: u8) {
    // SAFETY: the caller's promise; the array has eight octets.
    unsafe {
        let seen = (&raw mut (*flow).tcp_seen).cast::<u8>();
        for bit in 0..8 {
            if flags & 1 << bit != 0 {
                seen.add(bit).write(1);
            }
        }
        (&raw mut (*flow).known_flags).write(flags);
    }
}

/// # Safety
///
/// `flow` must be an entry of a map.
#[inline(always)]
unsafe fn count_flags(flow: *mut FlowValue, sighting: &Sighting) {
    // SAFETY: the caller's promise.
    unsafe {
        if sighting.is_syn() {
            atomic::add_half::<{ offset_of!(FlowValue, syn) }, _>(flow, 1);
        }
        if sighting.is_syn_ack() {
            atomic::add_half::<{ offset_of!(FlowValue, syn_ack) }, _>(flow, 1);
        }
        if sighting.is_fin() {
            atomic::add_half::<{ offset_of!(FlowValue, fin) }, _>(flow, 1);
        }
        if sighting.is_rst() {
            atomic::add_half::<{ offset_of!(FlowValue, rst) }, _>(flow, 1);
        }
    }
}
