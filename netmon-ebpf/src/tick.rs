//! The clock of flows: right to a tick of the kernel, and almost free.

use aya_ebpf::{
    helpers::generated::{bpf_jiffies64, bpf_ktime_get_ns},
    macros::map,
    maps::PerCpuArray,
};

use crate::array::Slots as _;

/// The monotonic clock, as it was at the first packet of a tick.
#[map]
static TICK: PerCpuArray<Reading> = PerCpuArray::with_max_entries(1, 0);

#[repr(C)]
struct Reading {
    /// Which tick of the kernel.
    tick: u64,
    /// `CLOCK_MONOTONIC`, ns.
    at_ns: u64,
}

/// `CLOCK_MONOTONIC` in ns, never ahead and up to a tick behind (1 to 10 ms).
///
/// Even the kernel's coarse clock is a call for every packet. The number of the tick is a load (inlined
/// since kernel 5.6, commit 5576b991e9c1), and a clock is asked only when it has changed. The fine one:
/// a moment after the tick the coarse one still shows the tick before, which on an idle machine may be
/// seconds ago.
#[inline(always)]
pub fn now_ns() -> u64 {
    let Some(reading) = TICK.slot(0) else {
        return 0;
    };
    // SAFETY: helpers without arguments; the map returned a valid pointer to this CPU's value, and
    // softirqs are off.
    unsafe {
        let tick = bpf_jiffies64();
        if tick != (*reading).tick {
            reading.write(Reading {
                tick,
                at_ns: bpf_ktime_get_ns(),
            });
        }
        (*reading).at_ns
    }
}
