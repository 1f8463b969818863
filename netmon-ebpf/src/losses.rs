//! `LOSSES`: packets that did not become an event, by cause.

use aya_ebpf::{macros::map, maps::PerCpuArray};
use netmon_common::loss::Loss;

#[map]
static LOSSES: PerCpuArray<u64> = PerCpuArray::with_max_entries(Loss::ALL.len() as u32, 0);

#[inline(always)]
pub fn count(loss: Loss) {
    if let Some(count) = LOSSES.get_ptr_mut(loss as u32) {
        // SAFETY: the map returned a valid pointer to this CPU's value; softirqs are off.
        unsafe { *count += 1 };
    }
}
