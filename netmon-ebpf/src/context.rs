//! What the programs need of a packet, whichever hook hands it over.

use core::{ffi::c_void, mem::MaybeUninit};

use aya_ebpf::EbpfContext;
use netmon_common::{loss::Loss, packet::Reader};

/// A packet at a hook.
pub trait Context: EbpfContext {
    /// Octets from the link-layer header on.
    fn length(&self) -> u32;

    /// Where the part starts that can be read directly.
    fn start(&self) -> usize;

    /// Where that part ends.
    fn end(&self) -> usize;

    /// Copies `length` octets, also from behind the part that can be read directly.
    ///
    /// # Safety
    ///
    /// `to` must be valid for writes of `length` octets.
    unsafe fn load(&self, offset: u32, to: *mut c_void, length: u32) -> Result<(), Refused>;

    /// The interface's index.
    fn ifindex(&self) -> u32;

    /// The VLAN tag that the NIC, or the kernel, has taken out of the frame.
    fn stripped_tag(&self) -> Option<u16>;

    /// The identifier in that tag, 0 without one: without a branch that the verifier would follow twice.
    fn stripped_identifier(&self) -> u16;

    /// What the kernel says that the network layer is; asked only where the frame does not say.
    fn ethertype(&self) -> u16;

    /// When the kernel took the packet from its driver, `CLOCK_REALTIME` in ns; 0 if it does not say.
    fn received_at_unix_ns(&self) -> u64;

    /// GSO and GRO of a buffer.
    fn segments(&self) -> Segments;
}

/// The kernel does not copy: the packet ends before.
pub struct Refused;

/// How many packets on the wire a buffer stands for, if the kernel has counted them; a buffer that a
/// virtual machine or its host handed over has a segment size instead.
pub enum Segments {
    /// At least 1.
    Counted(u64),
    /// Octets of payload in each segment.
    OfSize(u64),
}

/// The frame, by the kernel's copying: it works on non-linear buffers and at variable offsets, where
/// direct access would need `CAP_PERFMON`.
pub struct Frame<'a, C>(pub &'a C);

/// Lets the compiler move addresses by eight octets instead of one.
#[repr(C, align(8))]
struct Aligned<const N: usize>([u8; N]);

impl<C: Context> Reader for Frame<'_, C> {
    #[inline(always)]
    fn read<const N: usize>(&self, offset: usize) -> Result<[u8; N], Loss> {
        let mut buffer = MaybeUninit::<Aligned<N>>::uninit();
        let to = buffer.as_mut_ptr();
        // SAFETY: the buffer holds N octets, and `load` writes all of them or fails.
        unsafe {
            match self.0.load(offset as u32, to.cast(), N as u32) {
                Ok(()) => Ok((*to).0),
                Err(Refused) => Err(Loss::Truncated),
            }
        }
    }
}

/// Direct access. `offset` must be a constant.
#[inline(always)]
pub fn read<const N: usize>(ctx: &impl Context, offset: usize) -> Option<[u8; N]> {
    let start = ctx.start();
    if start + offset + N > ctx.end() {
        return None;
    }
    // SAFETY: the octets lie between start and end, which the verifier proves once more.
    Some(unsafe { core::ptr::read_unaligned((start + offset) as *const [u8; N]) })
}
