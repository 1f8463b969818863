//! From a packet to its flow: at fixed offsets where possible, else through the whole parser.

use aya_ebpf::{macros::map, maps::PerCpuArray};
use netmon_common::{
    counters::Counters,
    flow::{FlowKey4, FlowKey6, Sighting, Untracked, first_octets},
    packet::{
        ICMP_LENGTH, IPV4_ADDRESSES, IPV4_FRAGMENT_BITS, IPV4_LENGTH, IPV4_WITHOUT_OPTIONS,
        IPV6_ADDRESSES, IPV6_LENGTH, Reader as _, TCP_LENGTH, UDP_LENGTH, ethertype, protocol,
    },
};

use super::add;
use crate::{
    array::Slots as _,
    context::{Context, Frame, read},
    link::LinkLayer,
    octets::Octets,
    place::{Place, state},
};

/// What became of a packet, as a number: programs can call functions of their own only if these
/// return numbers. They have such functions because of the stack: the 512 octets are shared by those
/// that call each other, not by those that are called in turn.
const DONE: u64 = 0;
/// It is in the scratch space, as a packet of IPv4 or IPv6.
const IN_SCRATCH_4: u64 = 64;
const IN_SCRATCH_6: u64 = 65;
/// It is not what it was said to be.
const UNUSUAL: u64 = u64::MAX;

/// Adds the packet to its flow: a plain one by what stands where it usually does, others by what the
/// parser has noted.
#[inline(always)]
pub fn follow<L: LinkLayer>(
    ctx: &impl Context,
    is_plain: bool,
    passed: &Counters,
) -> Result<(), Untracked> {
    let number = if is_plain {
        match L::ethertype(ctx) {
            Some(ethertype::IPV4) => ipv4::<L>(ctx, passed),
            Some(ethertype::IPV6) => ipv6::<L>(ctx, passed),
            _ => to_number(Err(Untracked::NotIp)),
        }
    } else {
        match parsed(ctx) {
            IN_SCRATCH_4 => scratch4(passed),
            IN_SCRATCH_6 => scratch6(passed),
            cause => cause,
        }
    };
    from_number(number)
}

#[inline(always)]
fn to_number(result: Result<(), Untracked>) -> u64 {
    match result {
        Ok(()) => DONE,
        Err(cause) => cause as u64 + 1,
    }
}

#[inline(always)]
fn from_number(number: u64) -> Result<(), Untracked> {
    const NOT_IP: u64 = Untracked::NotIp as u64 + 1;
    const MAP_FULL: u64 = Untracked::MapFull as u64 + 1;
    match number {
        DONE => Ok(()),
        NOT_IP => Err(Untracked::NotIp),
        MAP_FULL => Err(Untracked::MapFull),
        _ => Err(Untracked::Unparsed),
    }
}

/// What the transport header at a fixed offset says.
struct Segment {
    ports: (u16, u16),
    sighting: Sighting,
    /// From the start of the transport header.
    payload_offset: usize,
    /// As UDP states it.
    payload_length: usize,
}

/// `None`: not whole, not in reach, or unusual.
#[inline(always)]
fn segment(ctx: &impl Context, protocol: u8, icmp: u8, offset: usize) -> Option<Segment> {
    match protocol {
        protocol::TCP => {
            let header = Octets::<TCP_LENGTH>::at(ctx, offset)?;
            let payload_offset = usize::from(header.octet::<12>() >> 4) * 4;
            if payload_offset < TCP_LENGTH {
                return None;
            }
            Some(Segment {
                ports: (header.half::<0>(), header.half::<2>()),
                sighting: Sighting {
                    tcp_flags: header.octet::<13>(),
                    ..Sighting::default()
                },
                payload_offset,
                payload_length: usize::MAX,
            })
        }
        protocol::UDP => {
            let header = Octets::<UDP_LENGTH>::at(ctx, offset)?;
            let length = usize::from(header.half::<4>());
            if length < UDP_LENGTH {
                return None;
            }
            Some(Segment {
                ports: (header.half::<0>(), header.half::<2>()),
                sighting: Sighting::default(),
                payload_offset: UDP_LENGTH,
                payload_length: length - UDP_LENGTH,
            })
        }
        protocol if protocol == icmp => {
            let [icmp_kind, icmp_code, ..]: [u8; 4] = read(ctx, offset)?;
            Some(Segment {
                ports: (0, 0),
                sighting: Sighting {
                    icmp_kind,
                    icmp_code,
                    ..Sighting::default()
                },
                payload_offset: ICMP_LENGTH,
                payload_length: usize::MAX,
            })
        }
        _ => Some(Segment {
            ports: (0, 0),
            sighting: Sighting::default(),
            payload_offset: 0,
            payload_length: usize::MAX,
        }),
    }
}

impl Segment {
    /// The first octets of the payload; `after_ip` are the octets behind the IP header.
    #[inline(always)]
    fn payload(&self, ctx: &impl Context, transport: usize, after_ip: usize) -> u64 {
        let length = after_ip
            .saturating_sub(self.payload_offset)
            .min(self.payload_length);
        if length == 0 {
            return 0;
        }
        payload(ctx, transport + self.payload_offset, length)
    }
}

/// Apart, since it is needed once in the life of a flow.
#[inline(never)]
fn payload(ctx: &impl Context, offset: usize, length: usize) -> u64 {
    first_octets(&Frame(ctx), offset, length)
}

#[inline(always)]
fn vlans(ctx: &impl Context) -> [u16; 2] {
    [ctx.stripped_identifier(), 0]
}

#[inline(never)]
fn ipv4<L: LinkLayer>(ctx: &impl Context, passed: &Counters) -> u64 {
    let added = || {
        let header = Octets::<IPV4_LENGTH>::at(ctx, L::LENGTH)?;
        if header.octet::<0>() != IPV4_WITHOUT_OPTIONS
            || header.half::<6>() & IPV4_FRAGMENT_BITS != 0
        {
            return None;
        }
        let protocol = header.octet::<9>();
        let total_length = header.half::<2>();
        let source = header.word::<12>().to_ne_bytes();
        let destination = header.word::<16>().to_ne_bytes();
        let transport = L::LENGTH + IPV4_LENGTH;
        let segment = segment(ctx, protocol, protocol::ICMP, transport)?;
        let (key, side) = FlowKey4::new(
            (source, segment.ports.0),
            (destination, segment.ports.1),
            ctx.ifindex(),
            vlans(ctx),
            protocol,
        );
        Some(add(&key, side, segment.sighting, passed, || {
            let after_ip = match total_length {
                0 => usize::MAX,
                length => usize::from(length).saturating_sub(IPV4_LENGTH),
            };
            segment.payload(ctx, transport, after_ip)
        }))
    };
    added().map_or(UNUSUAL, to_number)
}

#[inline(never)]
fn ipv6<L: LinkLayer>(ctx: &impl Context, passed: &Counters) -> u64 {
    let added = || {
        let header = Octets::<IPV6_LENGTH>::at(ctx, L::LENGTH)?;
        if header.octet::<0>() >> 4 != 6 {
            return None;
        }
        let protocol = header.octet::<6>();
        let payload_length = header.half::<4>();
        let source = [header.double::<8>(), header.double::<16>()];
        let destination = [header.double::<24>(), header.double::<32>()];
        let transport = L::LENGTH + IPV6_LENGTH;
        let segment = segment(ctx, protocol, protocol::ICMPV6, transport)?;
        let (key, side) = FlowKey6::of_words(
            (source, segment.ports.0),
            (destination, segment.ports.1),
            ctx.ifindex(),
            vlans(ctx),
            protocol,
        );
        Some(add(&key, side, segment.sighting, passed, || {
            let after_ip = match payload_length {
                0 => usize::MAX,
                length => usize::from(length),
            };
            segment.payload(ctx, transport, after_ip)
        }))
    };
    added().map_or(UNUSUAL, to_number)
}

/// What the parser has found, on its way to the flow. Addresses are copied as they stand in the
/// frame: of an enum of both families the program could not read what only one of them has set.
#[repr(C)]
struct Scratch {
    source6: [u64; 2],
    destination6: [u64; 2],
    source4: u32,
    destination4: u32,
    sighting: Sighting,
    ports: (u16, u16),
    vlans: [u16; 2],
    ifindex: u32,
    protocol: u8,
}

#[map]
static FLOW_SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);

/// By what the parser has noted.
#[inline(never)]
fn parsed(ctx: &impl Context) -> u64 {
    const UNPARSED: u64 = Untracked::Unparsed as u64 + 1;
    let (Some(scratch), Some(place)) = (FLOW_SCRATCH.slot(0), Place::noted()) else {
        return UNPARSED;
    };
    match place.state {
        state::IP => {}
        state::NOT_IP => return Untracked::NotIp as u64 + 1,
        _ => return UNPARSED,
    }
    let is_v4 = place.is_ipv6 == 0;
    let icmp = if is_v4 {
        protocol::ICMP
    } else {
        protocol::ICMPV6
    };
    let (protocol, offset) = (place.protocol, place.offset as usize);
    let mut ports = (0, 0);
    let mut sighting = Sighting::default();
    let mut payload_offset = offset;
    let mut payload_length = place.end as usize;
    let word = |a: u8, b: u8| u16::from_be_bytes([a, b]);
    if place.is_later_fragment != 0 {
        payload_length = 0;
    } else if protocol == protocol::TCP {
        let Ok(header) = Frame(ctx).read::<TCP_LENGTH>(offset) else {
            return UNPARSED;
        };
        let length = usize::from(header[12] >> 4) * 4;
        if length < TCP_LENGTH {
            return UNPARSED;
        }
        ports = (word(header[0], header[1]), word(header[2], header[3]));
        sighting.tcp_flags = header[13];
        payload_offset += length;
        payload_length = payload_length.saturating_sub(payload_offset);
    } else if protocol == protocol::UDP {
        let Ok(header) = Frame(ctx).read::<UDP_LENGTH>(offset) else {
            return UNPARSED;
        };
        let length = usize::from(word(header[4], header[5]));
        if length < UDP_LENGTH {
            return UNPARSED;
        }
        ports = (word(header[0], header[1]), word(header[2], header[3]));
        payload_offset += UDP_LENGTH;
        payload_length = payload_length
            .saturating_sub(payload_offset)
            .min(length - UDP_LENGTH);
    } else if protocol == icmp {
        let Ok(header) = Frame(ctx).read::<4>(offset) else {
            return UNPARSED;
        };
        (sighting.icmp_kind, sighting.icmp_code) = (header[0], header[1]);
        payload_offset += ICMP_LENGTH;
        payload_length = payload_length.saturating_sub(payload_offset);
    } else {
        payload_length = payload_length.saturating_sub(payload_offset);
    }
    // SAFETY: this CPU's value; softirqs are off. The helper writes what it is told, or fails.
    let addresses = unsafe {
        (&raw mut (*scratch).ports).write(ports);
        (&raw mut (*scratch).vlans).write(place.vlans);
        (&raw mut (*scratch).ifindex).write(ctx.ifindex());
        (&raw mut (*scratch).protocol).write(protocol);
        if is_v4 {
            let at = place.network_offset + IPV4_ADDRESSES as u32;
            ctx.load(at, (&raw mut (*scratch).source4).cast(), 8)
        } else {
            let at = place.network_offset + IPV6_ADDRESSES as u32;
            ctx.load(at, (&raw mut (*scratch).source6).cast(), 32)
        }
    };
    if addresses.is_err() {
        return UNPARSED;
    }
    if payload_length != 0 {
        sighting.payload = payload(ctx, payload_offset, payload_length);
    }
    // SAFETY: as above.
    unsafe { (&raw mut (*scratch).sighting).write(sighting) };
    if is_v4 { IN_SCRATCH_4 } else { IN_SCRATCH_6 }
}

#[inline(never)]
fn scratch4(passed: &Counters) -> u64 {
    let Some(scratch) = FLOW_SCRATCH.slot(0) else {
        return to_number(Err(Untracked::Unparsed));
    };
    // SAFETY: this CPU's value; softirqs are off.
    let scratch = unsafe { &*scratch };
    let (key, side) = FlowKey4::new(
        (scratch.source4.to_ne_bytes(), scratch.ports.0),
        (scratch.destination4.to_ne_bytes(), scratch.ports.1),
        scratch.ifindex,
        scratch.vlans,
        scratch.protocol,
    );
    let payload = scratch.sighting.payload;
    to_number(add(&key, side, scratch.sighting, passed, || payload))
}

#[inline(never)]
fn scratch6(passed: &Counters) -> u64 {
    let Some(scratch) = FLOW_SCRATCH.slot(0) else {
        return to_number(Err(Untracked::Unparsed));
    };
    // SAFETY: this CPU's value; softirqs are off.
    let scratch = unsafe { &*scratch };
    let (key, side) = FlowKey6::of_words(
        (scratch.source6, scratch.ports.0),
        (scratch.destination6, scratch.ports.1),
        scratch.ifindex,
        scratch.vlans,
        scratch.protocol,
    );
    let payload = scratch.sighting.payload;
    to_number(add(&key, side, scratch.sighting, passed, || payload))
}
