//! Socket buffers: what TCX and clsact hand over.

use core::ffi::c_void;

use aya_ebpf::{bindings::__sk_buff, helpers::bpf_skb_load_bytes, programs::TcContext};

use netmon_common::packet::VLAN_IDENTIFIER;

use crate::context::{Context, Refused, Segments};

#[inline(always)]
fn skb(ctx: &TcContext) -> &__sk_buff {
    // SAFETY: the kernel passes a valid __sk_buff to every program run.
    unsafe { &*ctx.skb.skb }
}

impl Context for TcContext {
    #[inline(always)]
    fn length(&self) -> u32 {
        self.len()
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
        // SAFETY: the context is the kernel's own, the target is the caller's promise.
        match unsafe { bpf_skb_load_bytes(self.skb.skb.cast(), offset, to, length) } {
            0 => Ok(()),
            _ => Err(Refused),
        }
    }

    #[inline(always)]
    fn ifindex(&self) -> u32 {
        skb(self).ifindex
    }

    #[inline(always)]
    fn stripped_tag(&self) -> Option<u16> {
        if skb(self).vlan_present == 0 {
            None
        } else {
            Some(skb(self).vlan_tci as u16)
        }
    }

    #[inline(always)]
    fn stripped_identifier(&self) -> u16 {
        // 0 or 1.
        let present = skb(self).vlan_present;
        (present.wrapping_neg() & skb(self).vlan_tci) as u16 & VLAN_IDENTIFIER
    }

    #[inline(always)]
    fn ethertype(&self) -> u16 {
        // The field holds 16 bits in network byte order.
        u16::from_be(skb(self).protocol as u16)
    }

    #[inline(always)]
    fn received_at_unix_ns(&self) -> u64 {
        // At ingress the kernel shows no time of delivery here: kernel 5.18, commit 7449197d600d.
        skb(self).tstamp
    }

    #[inline(always)]
    fn segments(&self) -> Segments {
        // `gso_segs`: kernel 4.20, commit d9ff286a0f59; `gso_size`: kernel 5.7, commit cf62089b0edd.
        match (skb(self).gso_segs, skb(self).gso_size) {
            (0, 0) => Segments::Counted(1),
            (0, size) => Segments::OfSize(u64::from(size)),
            (segments, _) => Segments::Counted(u64::from(segments)),
        }
    }
}
