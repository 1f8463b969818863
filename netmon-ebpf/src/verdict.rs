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

/// What is known of a packet whose headers stand where they usually do: whoever looks at them need not
/// look for them.
#[derive(Clone, Copy)]
pub struct Plain {
    /// What it counts as.
    pub class: Class,
    /// What it may be besides.
    pub finding: Finding,
}

/// What is looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// It surely is not NTP.
    Nothing,
    /// IPv4 without options and UDP from or to a port of NTP.
    Ntp4,
    /// The same of IPv6 without extension headers.
    Ntp6,
}

/// `None` sends the packet through the whole parser.
#[inline(always)]
pub fn plain<L: LinkLayer>(ctx: &impl Context) -> Option<Plain> {
    match L::ethertype(ctx)? {
        ethertype::IPV4 => ipv4::<L>(ctx),
        ethertype::IPV6 => ipv6::<L>(ctx),
        ethertype::VLAN
        | ethertype::SERVICE_VLAN
        | ethertype::OLD_SERVICE_VLAN
        | ethertype::PPPOE_SESSION => None,
        _ => Some(Plain {
            class: Class::NotIp,
            finding: Finding::Nothing,
        }),
    }
}

#[inline(always)]
fn ipv4<L: LinkLayer>(ctx: &impl Context) -> Option<Plain> {
    let header: [u8; IPV4_LENGTH] = read(ctx, L::LENGTH)?;
    let is_fragment = u16::from_be_bytes([header[6], header[7]]) & IPV4_FRAGMENT_BITS != 0;
    if header[0] != IPV4_WITHOUT_OPTIONS || is_fragment {
        return None;
    }
    let transport = L::LENGTH + IPV4_LENGTH;
    let protocol = header[9];
    let finding = match protocol {
        protocol::UDP => udp(ctx, transport, Finding::Ntp4)?,
        protocol::TCP => tcp(ctx, transport)?,
        protocol::ICMP => icmp(ctx, transport, UNREACHABLE)?,
        _ => Finding::Nothing,
    };
    let class = Class::ipv4(protocol);
    Some(Plain { class, finding })
}

#[inline(always)]
fn ipv6<L: LinkLayer>(ctx: &impl Context) -> Option<Plain> {
    let header: [u8; IPV6_LENGTH] = read(ctx, L::LENGTH)?;
    if header[0] >> 4 != 6 {
        return None;
    }
    let transport = L::LENGTH + IPV6_LENGTH;
    let (finding, class) = match header[6] {
        protocol::UDP => (udp(ctx, transport, Finding::Ntp6)?, Class::Ipv6Udp),
        protocol::TCP => (tcp(ctx, transport)?, Class::Ipv6Tcp),
        protocol::ICMPV6 => (icmp(ctx, transport, UNREACHABLE_V6)?, Class::Ipv6Icmp),
        _ => return None,
    };
    Some(Plain { class, finding })
}

/// A length that cannot be is for the whole parser to name, where somebody asks.
#[inline(always)]
fn udp(ctx: &impl Context, start: usize, ntp: Finding) -> Option<Finding> {
    let header = Octets::<UDP_LENGTH>::at(ctx, start)?;
    let is_long_enough = header.half::<4>() >= UDP_LENGTH as u16;
    if InForce::has_either_quickly(header.half::<0>(), header.half::<2>()) {
        return is_long_enough.then_some(ntp);
    }
    (!flows::are_kept() || is_long_enough).then_some(Finding::Nothing)
}

/// Nobody but flows looks at what TCP says.
#[inline(always)]
fn tcp(ctx: &impl Context, start: usize) -> Option<Finding> {
    if !flows::are_kept() {
        return Some(Finding::Nothing);
    }
    let header = Octets::<TCP_LENGTH>::at(ctx, start)?;
    let is_long_enough = usize::from(header.octet::<12>() >> 4) * 4 >= TCP_LENGTH;
    is_long_enough.then_some(Finding::Nothing)
}

/// An error may be about NTP.
#[inline(always)]
fn icmp(ctx: &impl Context, start: usize, unreachable: u8) -> Option<Finding> {
    let header = Octets::<ICMP_START>::at(ctx, start)?;
    (header.octet::<0>() != unreachable).then_some(Finding::Nothing)
}
