//! The fast verdict: most packets are seen to be ordinary by two or three loads at fixed offsets.

use aya_ebpf::programs::TcContext;
use netmon_common::{
    ntp,
    packet::{ethertype, protocol},
};

use crate::{link::LinkLayer, skb::read};

const IPV4_WITHOUT_OPTIONS: u8 = 0x45;
const IPV4_FRAGMENT_BITS: u16 = 0x3fff;
const IPV4_LENGTH: usize = 20;
const IPV6_LENGTH: usize = 40;
const ICMPV6: u8 = 58;

/// Whether the packet surely is not NTP. `false` sends it through the whole parser.
#[inline(always)]
pub fn is_ordinary<L: LinkLayer>(ctx: &TcContext) -> bool {
    match L::ethertype(ctx) {
        Some(ethertype::IPV4) => ipv4::<L>(ctx).unwrap_or(false),
        Some(ethertype::IPV6) => ipv6::<L>(ctx).unwrap_or(false),
        Some(ethertype::VLAN | ethertype::SERVICE_VLAN | ethertype::OLD_SERVICE_VLAN) | None => {
            false
        }
        Some(_) => true,
    }
}

#[inline(always)]
fn ipv4<L: LinkLayer>(ctx: &TcContext) -> Option<bool> {
    let header: [u8; IPV4_LENGTH] = read(ctx, L::LENGTH)?;
    if header[0] != IPV4_WITHOUT_OPTIONS {
        return Some(false);
    }
    if header[9] != protocol::UDP {
        return Some(true);
    }
    if u16::from_be_bytes([header[6], header[7]]) & IPV4_FRAGMENT_BITS != 0 {
        return Some(false);
    }
    other_ports(ctx, L::LENGTH + IPV4_LENGTH)
}

#[inline(always)]
fn ipv6<L: LinkLayer>(ctx: &TcContext) -> Option<bool> {
    let header: [u8; IPV6_LENGTH] = read(ctx, L::LENGTH)?;
    if header[0] >> 4 != 6 {
        return Some(false);
    }
    match header[6] {
        protocol::TCP | ICMPV6 => Some(true),
        protocol::UDP => other_ports(ctx, L::LENGTH + IPV6_LENGTH),
        _ => Some(false),
    }
}

#[inline(always)]
fn other_ports(ctx: &TcContext, udp: usize) -> Option<bool> {
    let source = u16::from_be_bytes(read(ctx, udp)?);
    let destination = u16::from_be_bytes(read(ctx, udp + 2)?);
    Some(source != ntp::PORT && destination != ntp::PORT)
}
