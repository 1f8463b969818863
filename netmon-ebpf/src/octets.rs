//! Octets of a packet that may be read directly, word by word.

use core::arch::asm;

use crate::context::Context;

/// A pointer to octets that may be read directly: `LENGTH` of them have been compared with the end.
#[derive(Clone, Copy)]
pub struct Octets<const LENGTH: usize>(usize);

impl<const LENGTH: usize> Octets<LENGTH> {
    /// `None`: the part of the packet that can be read directly ends before.
    #[inline(always)]
    pub fn at(ctx: &impl Context, offset: usize) -> Option<Self> {
        let start = ctx.start() + offset;
        (start + LENGTH <= ctx.end()).then_some(Self(start))
    }

    // Words are loaded by one instruction each: for the compiler they are not aligned, and it would
    // load and shift eight octets. Both x86-64 and arm64 load them at any address, and the verifier
    // knows (`CONFIG_HAVE_EFFICIENT_UNALIGNED_ACCESS`).

    #[inline(always)]
    pub fn double<const AT: usize>(self) -> u64 {
        const { assert!(AT + 8 <= LENGTH) };
        let word: u64;
        // SAFETY: the octets lie within the packet, which the verifier proves once more.
        unsafe {
            asm!("{word} = *(u64 *)({start} + {at})", word = out(reg) word,
                start = in(reg) self.0, at = const AT, options(pure, readonly, nostack));
        }
        word
    }

    #[inline(always)]
    pub fn word<const AT: usize>(self) -> u32 {
        const { assert!(AT + 4 <= LENGTH) };
        let word: u64;
        // SAFETY: as above.
        unsafe {
            asm!("{word} = *(u32 *)({start} + {at})", word = out(reg) word,
                start = in(reg) self.0, at = const AT, options(pure, readonly, nostack));
        }
        word as u32
    }

    /// A 16-bit number in network byte order.
    #[inline(always)]
    pub fn half<const AT: usize>(self) -> u16 {
        const { assert!(AT + 2 <= LENGTH) };
        let half: u64;
        // SAFETY: as above.
        unsafe {
            asm!("{half} = *(u16 *)({start} + {at})", half = out(reg) half,
                start = in(reg) self.0, at = const AT, options(pure, readonly, nostack));
        }
        u16::from_be(half as u16)
    }

    #[inline(always)]
    pub fn octet<const AT: usize>(self) -> u8 {
        const { assert!(AT < LENGTH) };
        // SAFETY: as above.
        unsafe { core::ptr::read((self.0 + AT) as *const u8) }
    }
}
