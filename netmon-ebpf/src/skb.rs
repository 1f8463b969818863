//! What the programs read of a socket buffer.

use core::mem::MaybeUninit;

use aya_ebpf::{helpers::bpf_skb_load_bytes, programs::TcContext};
use netmon_common::{loss::Loss, packet::Reader};

/// The frame of a socket buffer, by `bpf_skb_load_bytes`: it works on non-linear buffers and at
/// variable offsets, where direct access would need `CAP_PERFMON`.
pub struct Frame<'a>(pub &'a TcContext);

/// Lets the compiler move addresses by eight octets instead of one.
#[repr(C, align(8))]
struct Aligned<const N: usize>([u8; N]);

impl Reader for Frame<'_> {
    #[inline(always)]
    fn read<const N: usize>(&self, offset: usize) -> Result<[u8; N], Loss> {
        let mut buffer = MaybeUninit::<Aligned<N>>::uninit();
        let skb = self.0.skb.skb.cast();
        // SAFETY: the buffer holds N octets, and the helper writes all of them or fails.
        unsafe {
            let to = buffer.as_mut_ptr();
            if bpf_skb_load_bytes(skb, offset as u32, to.cast(), N as u32) == 0 {
                Ok((*to).0)
            } else {
                Err(Loss::Truncated)
            }
        }
    }
}

/// Direct access to the linear part of the buffer. `offset` must be a constant.
#[inline(always)]
pub fn read<const N: usize>(ctx: &TcContext, offset: usize) -> Option<[u8; N]> {
    let start = ctx.data();
    if start + offset + N > ctx.data_end() {
        return None;
    }
    // SAFETY: the octets lie between data and data_end, which the verifier proves once more.
    Some(unsafe { core::ptr::read_unaligned((start + offset) as *const [u8; N]) })
}

/// The VLAN tag that the NIC, or the kernel, has taken out of the frame.
#[inline(always)]
pub fn stripped_tag(ctx: &TcContext) -> Option<u16> {
    // SAFETY: the kernel passes a valid __sk_buff to every program run.
    let skb = unsafe { &*ctx.skb.skb };
    if skb.vlan_present == 0 {
        None
    } else {
        Some(skb.vlan_tci as u16)
    }
}

/// The interface's index.
#[inline(always)]
pub fn ifindex(ctx: &TcContext) -> u32 {
    // SAFETY: as above.
    unsafe { (*ctx.skb.skb).ifindex }
}

/// What the kernel says that the network layer is.
#[inline(always)]
pub fn ethertype(ctx: &TcContext) -> u16 {
    // SAFETY: as above. The field holds 16 bits in network byte order.
    u16::from_be(unsafe { (*ctx.skb.skb).protocol } as u16)
}

/// How many packets on the wire the buffer stands for, if the kernel has counted them; a buffer that
/// a virtual machine or its host handed over has a segment size instead.
pub enum Segments {
    /// At least 1.
    Counted(u64),
    /// Octets of payload in each segment.
    OfSize(u64),
}

/// GSO and GRO of a buffer.
#[inline(always)]
pub fn segments(ctx: &TcContext) -> Segments {
    // SAFETY: as above. `gso_segs`: kernel 4.20, commit d9ff286a0f59; `gso_size`: kernel 5.7,
    // commit cf62089b0edd.
    let (segments, size) = unsafe { ((*ctx.skb.skb).gso_segs, (*ctx.skb.skb).gso_size) };
    match (segments, size) {
        (0, 0) => Segments::Counted(1),
        (0, size) => Segments::OfSize(u64::from(size)),
        (segments, _) => Segments::Counted(u64::from(segments)),
    }
}
