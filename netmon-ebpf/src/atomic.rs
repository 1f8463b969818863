//! Atomic additions for values that several CPUs work on at a time.
//!
//! `AtomicU64::fetch_add` does not exist for this target, since older BPF machines have no
//! compare-and-swap. The instruction for adding without asking for the earlier value is as old as
//! BPF. It is written out, with the field's offset in it: of the compiler's own it makes one for two
//! fields where it can, at an offset that a register holds, and such arithmetic the verifier refuses
//! without `CAP_PERFMON`.

use core::arch::asm;

/// Adds to the word `AT` octets behind a pointer.
///
/// # Safety
///
/// `to` must be valid there, and the word aligned.
#[inline(always)]
pub unsafe fn add<const AT: usize, T>(to: *mut T, value: u64) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!("lock *(u64 *)({to} + {at}) += {value}",
            to = in(reg) to, at = const AT, value = in(reg) value, options(nostack));
    }
}

/// Adds to the half word `AT` octets behind a pointer.
///
/// # Safety
///
/// As [`add`].
#[inline(always)]
pub unsafe fn add_half<const AT: usize, T>(to: *mut T, value: u32) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!("lock *(u32 *)({to} + {at}) += {value}",
            to = in(reg) to, at = const AT, value = in(reg) u64::from(value), options(nostack));
    }
}
