//! The whole of a packet's headers.

use super::{Addresses, FiveTuple, Fragment, IpHeader, Link, Reader, Transport};
use crate::loss::Loss;

/// What a frame is, as far as headers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// VLAN identifiers, outer first; 0 = none.
    pub vlans: [u16; 2],
    /// Who talks to whom.
    pub network: Network,
    /// What they say it by.
    pub transport: Transport,
    /// IPv4 TTL or IPv6 hop limit; 0 without IP.
    pub ttl: u8,
    /// IP protocol number; 0 without IP. In a later fragment of IPv6 it may be that of an extension
    /// header.
    pub protocol: u8,
    /// Whether this is a part of a datagram, first or later.
    pub fragment: bool,
    /// Where the transport header starts; without IP, what follows the link layer; in a later
    /// fragment, its data.
    pub transport_offset: usize,
    /// Where the packet ends by IP's length field: what follows is padding. `usize::MAX` if the
    /// field does not say, and without IP. The frame may end before.
    pub end: usize,
}

/// The network layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// IPv4.
    V4 {
        /// Where the packet came from.
        source: [u8; 4],
        /// Where it goes.
        destination: [u8; 4],
    },
    /// IPv6.
    V6 {
        /// Where the packet came from.
        source: [u8; 16],
        /// Where it goes.
        destination: [u8; 16],
    },
    /// Neither.
    Other {
        /// What the link layer says that it is.
        ethertype: u16,
    },
}

impl From<Addresses> for Network {
    #[inline(always)]
    fn from(addresses: Addresses) -> Self {
        match addresses {
            Addresses::V4(source, destination) => Self::V4 {
                source,
                destination,
            },
            Addresses::V6(source, destination) => Self::V6 {
                source,
                destination,
            },
        }
    }
}

/// Reads the headers behind the link layer's.
///
/// # Errors
///
/// The [`Loss`] that keeps the transport header from being found or read: [`Loss::Truncated`],
/// [`Loss::Malformed`] or [`Loss::ExtensionChain`].
#[inline(always)]
pub fn parse<R: Reader>(reader: &R, link: Link) -> Result<Packet, Loss> {
    match IpHeader::parse(reader, &link)? {
        Some(ip) => Packet::of_ip(reader, &link, &ip),
        None => Ok(Packet {
            vlans: link.vlans,
            network: Network::Other {
                ethertype: link.ethertype,
            },
            transport: Transport::None,
            ttl: 0,
            protocol: 0,
            fragment: false,
            transport_offset: link.network_offset,
            end: usize::MAX,
        }),
    }
}

impl Packet {
    /// As [`parse`], behind a network layer that is known already.
    ///
    /// # Errors
    ///
    /// [`Loss::Truncated`] or [`Loss::Malformed`].
    #[inline(always)]
    pub fn of_ip<R: Reader>(reader: &R, link: &Link, ip: &IpHeader) -> Result<Self, Loss> {
        Ok(Self {
            vlans: link.vlans,
            network: ip.addresses.into(),
            transport: Transport::parse(reader, ip)?,
            ttl: ip.ttl,
            protocol: ip.protocol,
            fragment: ip.fragment != Fragment::Whole,
            transport_offset: ip.offset,
            end: ip.end,
        })
    }

    /// Source and destination port; `None`: the packet has none.
    #[inline(always)]
    pub const fn ports(&self) -> Option<(u16, u16)> {
        match self.transport {
            Transport::Tcp {
                source_port,
                destination_port,
                ..
            }
            | Transport::Udp {
                source_port,
                destination_port,
                ..
            } => Some((source_port, destination_port)),
            _ => None,
        }
    }

    /// Who talks to whom by what; `None` without IP.
    pub const fn five_tuple(&self) -> Option<FiveTuple> {
        match self.network {
            Network::Other { .. } => None,
            network => Some(FiveTuple {
                network,
                protocol: self.protocol,
                ports: self.ports(),
            }),
        }
    }
}
