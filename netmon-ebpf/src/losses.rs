//! `LOSSES`: packets that did not become an event, by cause; and `LOST_PACKETS`, each of them, where
//! user space wants to log them.

use aya_ebpf::{
    Global,
    bindings::BPF_RB_NO_WAKEUP,
    macros::map,
    maps::{PerCpuArray, RingBuf},
};
use netmon_common::loss::{Loss, LostPacket};

use crate::{array::Slots as _, context::Context};

#[map]
static LOSSES: PerCpuArray<u64> = PerCpuArray::with_max_entries(Loss::ALL.len() as u32, 0);

/// Without a log the verifier removes what is about it: a constant is known to it.
#[unsafe(no_mangle)]
static LOG_LOSSES: Global<u8> = Global::new(0);

/// For people, who can miss one: what finds no room is in [`LOSSES`] all the same.
#[map]
static LOST_PACKETS: RingBuf = RingBuf::with_byte_size(1 << 16, 0);

#[inline(always)]
pub fn count(ctx: &impl Context, loss: Loss) {
    let cause = loss as u32;
    if let Some(count) = LOSSES.slot(cause) {
        // SAFETY: the map returned a valid pointer to this CPU's value; softirqs are off.
        unsafe { *count += 1 };
    }
    if LOG_LOSSES.load() != 0
        && let Some(mut entry) = LOST_PACKETS.reserve::<LostPacket>(0)
    {
        let ifindex = ctx.ifindex();
        entry.write(LostPacket { ifindex, cause });
        entry.submit(u64::from(BPF_RB_NO_WAKEUP));
    }
}
