//! `EVENTS`: NTP datagrams on their way to user space.

use core::{arch::asm, mem::offset_of};

use aya_ebpf::{
    Global,
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    helpers::{bpf_ktime_get_ns, bpf_ktime_get_tai_ns},
    macros::map,
    maps::RingBuf,
};
use netmon_common::{
    counters::Direction,
    event::{EventKind, MAX_PAYLOAD, NtpEvent},
    loss::Loss,
    packet::{
        Addresses, Datagram, IPV4_ADDRESSES, IPV4_LENGTH, IPV6_ADDRESSES, IPV6_LENGTH, UDP_LENGTH,
        protocol,
    },
};

use crate::{
    context::{Context, Frame, Refused},
    link::LinkLayer,
    losses,
    octets::Octets,
    place::Place,
    ports::InForce,
};

/// An event and the kernel's header before it.
const RECORD_BYTES: u64 = size_of::<NtpEvent>() as u64 + 8;

/// User space is woken each time so many octets more wait: a power of two, set before loading.
#[unsafe(no_mangle)]
static WAKEUP_BYTES: Global<u32> = Global::new(1 << 20);

/// The size is set by user space before loading.
#[map]
static EVENTS: RingBuf = RingBuf::with_byte_size(4 << 20, 0);

/// Turns the packet into an event if it is a datagram of NTP, or an ICMP error about one; otherwise it
/// is ordinary or a counted loss.
///
/// A function of its own, for the sake of the stack.
#[inline(never)]
pub fn extract(ctx: &impl Context, direction: Direction) {
    let frame = Frame(ctx);
    let Some(place) = Place::noted() else { return };
    if place.transport().is_none() {
        return;
    }
    let (link, ip) = (place.link(), place.ip());
    let (found, kind) = if ip.protocol == protocol::UDP {
        let found = Datagram::on_port(&frame, &link, &ip, &InForce);
        (found, EventKind::Datagram)
    } else {
        let found = Datagram::refused_on_port(&frame, &link, &ip, &InForce);
        (found, EventKind::Refusal)
    };
    let submitted = match found {
        Ok(Some(datagram)) => {
            let copy = |event| {
                // SAFETY: `submit` hands over the event it fills.
                unsafe { addresses(ctx, event, &datagram, link.network_offset) }
            };
            submit(ctx, direction, &datagram, kind, copy)
        }
        Ok(None) => return,
        Err(loss) => Err(loss),
    };
    if let Err(loss) = submitted {
        lose(ctx, loss);
    }
}

/// Turns a datagram into an event whose headers stand at the usual places of IPv4: without asking the
/// kernel for them.
///
/// A function of its own, as the other.
#[inline(never)]
pub fn extract_plain4<L: LinkLayer>(ctx: &impl Context, direction: Direction) {
    const UDP: usize = IPV4_LENGTH;
    let Some(headers) = Octets::<{ IPV4_LENGTH + UDP_LENGTH }>::at(ctx, L::LENGTH) else {
        return;
    };
    let datagram = Datagram {
        source_port: headers.half::<UDP>(),
        destination_port: headers.half::<{ UDP + 2 }>(),
        payload_length: headers
            .half::<{ UDP + 4 }>()
            .wrapping_sub(UDP_LENGTH as u16),
        payload_offset: L::LENGTH + IPV4_LENGTH + UDP_LENGTH,
        vlans: [ctx.stripped_identifier(), 0],
        addresses: Addresses::V4([0; 4], [0; 4]),
        ttl: headers.octet::<8>(),
    };
    let source = headers.word::<IPV4_ADDRESSES>();
    let destination = headers.word::<{ IPV4_ADDRESSES + 4 }>();
    let copy = |event: *mut NtpEvent| {
        // SAFETY: `submit` hands over the event it fills.
        unsafe {
            (*event).ip_version = 4;
            (&raw mut (*event).source).cast::<u32>().write(source);
            (&raw mut (*event).destination)
                .cast::<u32>()
                .write(destination);
        }
        Ok(())
    };
    if let Err(loss) = submit(ctx, direction, &datagram, EventKind::Datagram, copy) {
        lose(ctx, loss);
    }
}

/// The same of IPv6.
#[inline(never)]
pub fn extract_plain6<L: LinkLayer>(ctx: &impl Context, direction: Direction) {
    const UDP: usize = IPV6_LENGTH;
    let Some(headers) = Octets::<{ IPV6_LENGTH + UDP_LENGTH }>::at(ctx, L::LENGTH) else {
        return;
    };
    let datagram = Datagram {
        source_port: headers.half::<UDP>(),
        destination_port: headers.half::<{ UDP + 2 }>(),
        payload_length: headers
            .half::<{ UDP + 4 }>()
            .wrapping_sub(UDP_LENGTH as u16),
        payload_offset: L::LENGTH + IPV6_LENGTH + UDP_LENGTH,
        vlans: [ctx.stripped_identifier(), 0],
        addresses: Addresses::V6([0; 16], [0; 16]),
        ttl: headers.octet::<7>(),
    };
    let source = [
        headers.double::<IPV6_ADDRESSES>(),
        headers.double::<{ IPV6_ADDRESSES + 8 }>(),
    ];
    let destination = [
        headers.double::<{ IPV6_ADDRESSES + 16 }>(),
        headers.double::<{ IPV6_ADDRESSES + 24 }>(),
    ];
    let copy = |event: *mut NtpEvent| {
        // SAFETY: as above; both fields are aligned as words of eight octets.
        unsafe {
            (*event).ip_version = 6;
            (&raw mut (*event).source).cast::<[u64; 2]>().write(source);
            (&raw mut (*event).destination)
                .cast::<[u64; 2]>()
                .write(destination);
        }
        Ok(())
    };
    if let Err(loss) = submit(ctx, direction, &datagram, EventKind::Datagram, copy) {
        lose(ctx, loss);
    }
}

/// Counts a packet that may have been NTP, where NTP is looked for.
#[inline(always)]
pub fn lose(ctx: &impl Context, loss: Loss) {
    if !InForce::is_empty() {
        losses::count(ctx, loss);
    }
}

#[inline(always)]
fn submit(
    ctx: &impl Context,
    direction: Direction,
    datagram: &Datagram,
    kind: EventKind,
    addresses: impl FnOnce(*mut NtpEvent) -> Result<(), Loss>,
) -> Result<(), Loss> {
    let Some(mut entry) = EVENTS.reserve::<NtpEvent>(0) else {
        return Err(Loss::RingFull);
    };
    let event = entry.as_mut_ptr();
    // SAFETY: the entry is valid for writes and large enough. Octets behind an IPv4 address and
    // behind `captured_length` keep what an older record left there: user space does not look at
    // them, and clearing them takes a loop that the verifier refuses without CAP_PERFMON.
    let filled = unsafe {
        (*event).captured_at_ns = bpf_ktime_get_ns();
        (*event).captured_at_tai_ns = bpf_ktime_get_tai_ns();
        (*event).received_at_unix_ns = ctx.received_at_unix_ns();
        (*event).ifindex = ctx.ifindex();
        (*event).frame_length = ctx.length();
        (*event).source_port = datagram.source_port;
        (*event).destination_port = datagram.destination_port;
        (*event).payload_length = datagram.payload_length;
        (*event).vlan = datagram.vlans[0];
        (*event).inner_vlan = datagram.vlans[1];
        (*event).ttl = datagram.ttl;
        (*event).direction = direction as u8;
        (*event).kind = kind as u8;
        addresses(event).and_then(|()| payload(ctx, event, datagram))
    };
    match filled {
        Ok(()) => {
            entry.submit(wakeup());
            Ok(())
        }
        Err(loss) => {
            entry.discard(0);
            Err(loss)
        }
    }
}

/// Whether to wake user space: it looks by itself many times a second, and is woken only when another
/// part of the ring has filled up in between. Waking it for every event would cost an interrupt
/// each.
#[inline(always)]
fn wakeup() -> u64 {
    let waiting = EVENTS.query(u64::from(BPF_RB_AVAIL_DATA));
    let part = u64::from(WAKEUP_BYTES.load());
    if waiting & (part - 1) < RECORD_BYTES {
        u64::from(BPF_RB_FORCE_WAKEUP)
    } else {
        u64::from(BPF_RB_NO_WAKEUP)
    }
}

/// Copies the addresses out of the packet, by one call.
///
/// # Safety
///
/// `event` must be valid for writes.
#[inline(always)]
unsafe fn addresses(
    ctx: &impl Context,
    event: *mut NtpEvent,
    datagram: &Datagram,
    network_offset: usize,
) -> Result<(), Loss> {
    const {
        assert!(offset_of!(NtpEvent, source).is_multiple_of(8));
        assert!(offset_of!(NtpEvent, destination) == offset_of!(NtpEvent, source) + 16);
    };
    // SAFETY: the caller vouches for `event`, whose two fields of 16 octets lie one behind the other;
    // the payload comes after this, and until then there is room in its place.
    let copied = unsafe {
        let (source, room) = (&raw mut (*event).source, &raw mut (*event).payload);
        match datagram.addresses {
            Addresses::V4(..) => {
                (*event).ip_version = 4;
                let at = (network_offset + IPV4_ADDRESSES) as u32;
                let copied = ctx.load(at, room.cast(), 8);
                let [from, to] = room.cast::<[u32; 2]>().read();
                source.cast::<u32>().write(from);
                (&raw mut (*event).destination).cast::<u32>().write(to);
                copied
            }
            Addresses::V6(..) => {
                (*event).ip_version = 6;
                ctx.load((network_offset + IPV6_ADDRESSES) as u32, source.cast(), 32)
            }
        }
    };
    copied.map_err(|Refused| Loss::Unreadable)
}

/// # Safety
///
/// `event` must be valid for writes.
#[inline(always)]
unsafe fn payload(
    ctx: &impl Context,
    event: *mut NtpEvent,
    datagram: &Datagram,
) -> Result<(), Loss> {
    let available = (ctx.length() as usize).saturating_sub(datagram.payload_offset);
    let wanted = available
        .min(usize::from(datagram.payload_length))
        .min(MAX_PAYLOAD);
    // SAFETY: the caller vouches for `event`; `wanted` is at most the payload's size.
    unsafe {
        (*event).captured_length = wanted as u16;
        if wanted == 0 {
            return Ok(());
        }
        // The verifier wants to see that a length is not zero, and learns nothing from the
        // comparison above on Linux 6.1: it is shown by a mask, and the compiler must not see
        // that this is without effect. An instruction, for two lines of source at one address are
        // not accepted.
        const { assert!(MAX_PAYLOAD.is_power_of_two()) };
        let mut below = wanted - 1;
        asm!("{0} = {0}", inout(reg) below, options(pure, nomem, nostack, preserves_flags));
        let wanted = (below & (MAX_PAYLOAD - 1)) + 1;
        ctx.load(
            datagram.payload_offset as u32,
            (&raw mut (*event).payload).cast(),
            wanted as u32,
        )
        .map_err(|Refused| Loss::Unreadable)
    }
}
