//! The fast verdict: most packets are seen to be ordinary by two or three loads at fixed offsets.

use netmon_common::{
    counters::Class,
    packet::{
        IPV4_FRAGMENT_BITS, IPV4_LENGTH, IPV4_WITHOUT_OPTIONS, IPV6_LENGTH, TCP_LENGTH, UDP_LENGTH,
        UNREACHABLE, UNREACHABLE_V6, ethertype, protocol,
    },
};

use crate::{
    context::{Context, read},
    flows,
    link::LinkLayer,
    octets::Octets,
    ports::InForce,
};

/// Octets of an ICMP message that flows look at.
const ICMP_START: usize = 4;

/// What the packet counts as, if it surely is not NTP, and if its headers stand where they usually do:
/// whoever looks at them need not look for them. `None` sends it through the whole parser.
#[inline(always)]
pub fn plain<L: LinkLayer>(ctx: &impl Context) -> Option<Class> {
    match L::ethertype(ctx)? {
        ethertype::IPV4 => ipv4::<L>(ctx),
        ethertype::IPV6 => ipv6::<L>(ctx),
        ethertype::VLAN
        | ethertype::SERVICE_VLAN
        | ethertype::OLD_SERVICE_VLAN
        | ethertype::PPPOE_SESSION => None,
        _ => Some(Class::NotIp),
    }
}

#[inline(always)]
fn ipv4<L: LinkLayer>(ctx: &impl Context) -> Option<Class> {
    let header: [u8; IPV4_LENGTH] = read(ctx, L::LENGTH)?;
    let is_fragment = u16::from_be_bytes([header[6], header[7]]) & IPV4_FRAGMENT_BITS != 0;
    if header[0] != IPV4_WITHOUT_OPTIONS || is_fragment {
        return None;
    }
    let transport = L::LENGTH + IPV4_LENGTH;
    let protocol = header[9];
    let is_plain = match protocol {
        protocol::UDP => udp(ctx, transport)?,
        protocol::TCP => tcp(ctx, transport)?,
        protocol::ICMP => icmp(ctx, transport, UNREACHABLE)?,
        _ => true,
    };
    is_plain.then_some(Class::ipv4(protocol))
}

#[inline(always)]
fn ipv6<L: LinkLayer>(ctx: &impl Context) -> Option<Class> {
    let header: [u8; IPV6_LENGTH] = read(ctx, L::LENGTH)?;
    if header[0] >> 4 != 6 {
        return None;
    }
    let transport = L::LENGTH + IPV6_LENGTH;
    let (is_plain, class) = match header[6] {
        protocol::UDP => (udp(ctx, transport)?, Class::Ipv6Udp),
        protocol::TCP => (tcp(ctx, transport)?, Class::Ipv6Tcp),
        protocol::ICMPV6 => (icmp(ctx, transport, UNREACHABLE_V6)?, Class::Ipv6Icmp),
        _ => return None,
    };
    is_plain.then_some(class)
}

#[inline(always)]
fn udp(ctx: &impl Context, start: usize) -> Option<bool> {
    let header = Octets::<UDP_LENGTH>::at(ctx, start)?;
    let is_ntp = InForce::has_either_quickly(header.half::<0>(), header.half::<2>());
    Some(!is_ntp && (!flows::are_kept() || header.half::<4>() >= UDP_LENGTH as u16))
}

/// Nobody but flows looks at what TCP says.
#[inline(always)]
fn tcp(ctx: &impl Context, start: usize) -> Option<bool> {
    if !flows::are_kept() {
        return Some(true);
    }
    let header = Octets::<TCP_LENGTH>::at(ctx, start)?;
    Some(usize::from(header.octet::<12>() >> 4) * 4 >= TCP_LENGTH)
}

/// An error may be about NTP.
#[inline(always)]
fn icmp(ctx: &impl Context, start: usize, unreachable: u8) -> Option<bool> {
    let header = Octets::<ICMP_START>::at(ctx, start)?;
    Some(header.octet::<0>() != unreachable)
}
