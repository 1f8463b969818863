//! What a packet counts as.

use super::{Addresses, IpHeader, Link, ethertype, protocol};
use crate::{counters::Class, loss::Loss};

impl Class {
    /// From what link and network layer say, or why they say nothing: whatever cannot be followed
    /// counts as an unknown transport of its EtherType.
    #[inline(always)]
    pub fn of(link: &Result<Link, Loss>, ip: &Result<Option<IpHeader>, Loss>) -> Self {
        match (link, ip) {
            (_, Ok(Some(ip))) => match ip.addresses {
                Addresses::V4(..) => Self::ipv4(ip.protocol),
                Addresses::V6(..) => Self::ipv6(ip.protocol),
            },
            (Ok(link), Err(_)) => match link.ethertype {
                ethertype::IPV4 => Self::Ipv4Other,
                ethertype::IPV6 => Self::Ipv6Other,
                _ => Self::NotIp,
            },
            _ => Self::NotIp,
        }
    }

    /// IPv4 with this protocol number.
    #[inline(always)]
    pub const fn ipv4(protocol: u8) -> Self {
        match protocol {
            protocol::TCP => Self::Ipv4Tcp,
            protocol::UDP => Self::Ipv4Udp,
            protocol::ICMP => Self::Ipv4Icmp,
            _ => Self::Ipv4Other,
        }
    }

    /// IPv6 with this protocol number behind its extension headers.
    #[inline(always)]
    pub const fn ipv6(protocol: u8) -> Self {
        match protocol {
            protocol::TCP => Self::Ipv6Tcp,
            protocol::UDP => Self::Ipv6Udp,
            protocol::ICMPV6 => Self::Ipv6Icmp,
            _ => Self::Ipv6Other,
        }
    }
}
