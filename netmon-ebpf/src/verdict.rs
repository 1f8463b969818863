//! The fast verdict: most packets are seen to be ordinary by two or three loads at fixed offsets.

use netmon_common::{
    counters::Class,
    ntp,
    packet::{
        IPV4_FRAGMENT_BITS, IPV4_LENGTH, IPV4_WITHOUT_OPTIONS, IPV6_LENGTH, UNREACHABLE,
        UNREACHABLE_V6, ethertype, protocol,
    },
};

use crate::{
    context::{Context, read},
    link::LinkLayer,
};

/// What the packet counts as, if it surely is not NTP. `None` sends it through the whole parser.
#[inline(always)]
pub fn ordinary<L: LinkLayer>(ctx: &impl Context) -> Option<Class> {
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
    if header[0] != IPV4_WITHOUT_OPTIONS {
        return None;
    }
    let protocol = header[9];
    match protocol {
        protocol::UDP => {}
        // It may be about NTP.
        protocol::ICMP if is_unreachable(ctx, L::LENGTH + IPV4_LENGTH, UNREACHABLE)? => {
            return None;
        }
        _ => return Some(Class::ipv4(protocol)),
    }
    let is_fragment = u16::from_be_bytes([header[6], header[7]]) & IPV4_FRAGMENT_BITS != 0;
    if is_fragment || is_ntp(ctx, L::LENGTH + IPV4_LENGTH)? {
        return None;
    }
    Some(Class::Ipv4Udp)
}

#[inline(always)]
fn ipv6<L: LinkLayer>(ctx: &impl Context) -> Option<Class> {
    let header: [u8; IPV6_LENGTH] = read(ctx, L::LENGTH)?;
    if header[0] >> 4 != 6 {
        return None;
    }
    match header[6] {
        protocol::TCP => Some(Class::Ipv6Tcp),
        protocol::ICMPV6 if !is_unreachable(ctx, L::LENGTH + IPV6_LENGTH, UNREACHABLE_V6)? => {
            Some(Class::Ipv6Icmp)
        }
        protocol::UDP if !is_ntp(ctx, L::LENGTH + IPV6_LENGTH)? => Some(Class::Ipv6Udp),
        _ => None,
    }
}

#[inline(always)]
fn is_unreachable(ctx: &impl Context, icmp: usize, unreachable: u8) -> Option<bool> {
    let [kind] = read(ctx, icmp)?;
    Some(kind == unreachable)
}

#[inline(always)]
fn is_ntp(ctx: &impl Context, udp: usize) -> Option<bool> {
    let source = u16::from_be_bytes(read(ctx, udp)?);
    let destination = u16::from_be_bytes(read(ctx, udp + 2)?);
    Some(source == ntp::PORT || destination == ntp::PORT)
}
