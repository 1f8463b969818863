//! Ingress by XDP: the same counting and the same events, before the kernel makes a socket buffer.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::xdp_action::XDP_PASS,
    helpers::{bpf_xdp_get_buff_len, bpf_xdp_load_bytes},
    macros::xdp,
    programs::XdpContext,
};
use netmon_common::counters::Direction;

use crate::{
    context::{Context, Refused, Segments},
    link::Ethernet,
};

/// Counts and inspects what the host receives over Ethernet. Frames may lie in several pieces, as
/// drivers with a large MTU have them (kernel 5.18, commit c2f2cdbeffda).
#[xdp(frags)]
pub fn netmon_xdp_ingress(ctx: XdpContext) -> u32 {
    crate::inspect::<Ethernet>(&ctx, Direction::Ingress);
    XDP_PASS
}

impl Context for XdpContext {
    #[inline(always)]
    fn length(&self) -> u32 {
        // SAFETY: the kernel passes a valid xdp_md to every program run. Kernel 5.18, commit
        // 0165cc817075.
        unsafe { bpf_xdp_get_buff_len(self.ctx) as u32 }
    }

    #[inline(always)]
    fn start(&self) -> usize {
        self.data()
    }

    #[inline(always)]
    fn end(&self) -> usize {
        self.data_end()
    }

    #[inline(always)]
    unsafe fn load(&self, offset: u32, to: *mut c_void, length: u32) -> Result<(), Refused> {
        // SAFETY: the context is the kernel's own, the target is the caller's promise. Kernel 5.18,
        // commit 3f364222d032.
        match unsafe { bpf_xdp_load_bytes(self.ctx, offset, to, length) } {
            0 => Ok(()),
            _ => Err(Refused),
        }
    }

    #[inline(always)]
    fn ifindex(&self) -> u32 {
        self.ingress_ifindex() as u32
    }

    /// What a NIC has taken out, XDP does not see; most drivers leave tags in place for XDP.
    #[inline(always)]
    fn stripped_tag(&self) -> Option<u16> {
        None
    }

    #[inline(always)]
    fn stripped_identifier(&self) -> u16 {
        0
    }

    /// Never asked: frames of Ethernet say it themselves.
    #[inline(always)]
    fn ethertype(&self) -> u16 {
        0
    }

    /// The hook is where the driver hands the packet over: nothing is before it.
    #[inline(always)]
    fn received_at_unix_ns(&self) -> u64 {
        0
    }

    /// Every frame is one of the wire, unless the NIC has put several together (LRO).
    #[inline(always)]
    fn segments(&self) -> Segments {
        Segments::Counted(1)
    }
}
