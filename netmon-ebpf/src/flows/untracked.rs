//! `UNTRACKED` and `UNTRACKED_OF_HIGH_INDEX`: packets of no flow, laid out as the counters are.

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    macros::map,
    maps::{PerCpuArray, PerCpuHashMap},
};
use netmon_common::{
    counters::{CounterKey, Counters, Direction},
    flow::{Untracked, UntrackedCounters},
};

use crate::{array::Slots as _, context::Context};

/// Slot [`CounterKey::slot`]; user space sets it to zero before it attaches.
#[map]
static UNTRACKED: PerCpuArray<UntrackedCounters> =
    PerCpuArray::with_max_entries(CounterKey::SLOTS, 0);

/// User space inserts and deletes the keys together with those of the counters.
#[map]
static UNTRACKED_OF_HIGH_INDEX: PerCpuHashMap<CounterKey, UntrackedCounters> =
    PerCpuHashMap::with_max_entries(4096, BPF_F_NO_PREALLOC);

/// Counts a packet of no flow.
#[inline(always)]
pub fn count(ctx: &impl Context, direction: Direction, cause: Untracked, passed: &Counters) {
    let key = CounterKey::new(ctx.ifindex(), direction);
    let found = match key.slot() {
        Some(slot) => UNTRACKED.slot(slot),
        None => UNTRACKED_OF_HIGH_INDEX.get_ptr_mut(&key),
    };
    if let Some(counters) = found {
        // SAFETY: the map returned a valid pointer to this CPU's value; softirqs are off.
        unsafe { (*counters).add(cause, *passed) };
    }
}
