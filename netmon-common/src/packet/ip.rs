//! IPv4 (RFC 791) and IPv6 with its extension headers (RFC 8200, RFC 4302).

use super::{Link, Reader, ethertype, protocol};
use crate::loss::Loss;

/// Octets of an IPv4 header without options.
pub const IPV4_LENGTH: usize = 20;
/// Octets of an IPv6 header without extensions.
pub const IPV6_LENGTH: usize = 40;
/// Where source and destination address stand in an IPv4 header.
pub const IPV4_ADDRESSES: usize = 12;
/// Where they stand in an IPv6 header.
pub const IPV6_ADDRESSES: usize = 8;
/// The first octet of IPv4 without options: version 4, five words.
pub const IPV4_WITHOUT_OPTIONS: u8 = 0x45;
/// What IPv4 sets in a fragment, first or later: the bits of [`Fragment`] in octets 6 and 7.
pub const IPV4_FRAGMENT_BITS: u16 = MORE_FRAGMENTS | IPV4_FRAGMENT_OFFSET;

const MORE_FRAGMENTS: u16 = 0x2000;
const IPV4_FRAGMENT_OFFSET: u16 = 0x1fff;
const IPV6_FRAGMENT_OFFSET: u16 = 0xfff8;
/// Longer chains are counted, not followed: nothing real sends them.
const MAX_EXTENSION_HEADERS: usize = 6;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;

/// Source and destination address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// IPv4.
    V4([u8; 4], [u8; 4]),
    /// IPv6.
    V6([u8; 16], [u8; 16]),
}

/// How much of a datagram a packet holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fragment {
    /// All of it.
    Whole,
    /// Its start: the transport header is there.
    First,
    /// Another part of it, without the transport header.
    Later,
}

/// What the network layer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpHeader {
    /// IP protocol number of what is carried. In a later fragment of IPv6 it may be that of another
    /// extension header.
    pub protocol: u8,
    /// Where the transport header starts; in a later fragment its data.
    pub offset: usize,
    /// Whether this is all of the datagram.
    pub fragment: Fragment,
    /// Who talks to whom.
    pub addresses: Addresses,
    /// IPv4 TTL or IPv6 hop limit.
    pub ttl: u8,
    /// Where the packet ends by its length field; `usize::MAX` if that is 0, as in a segmentation
    /// buffer of more than 64 KiB.
    pub end: usize,
}

impl IpHeader {
    /// Follows the network layer to the transport header. `None`: not IP.
    ///
    /// # Errors
    ///
    /// [`Loss::Truncated`], [`Loss::Malformed`] or [`Loss::ExtensionChain`].
    #[inline(always)]
    pub fn parse<R: Reader>(reader: &R, link: &Link) -> Result<Option<Self>, Loss> {
        match link.ethertype {
            ethertype::IPV4 => ipv4(reader, link.network_offset).map(Some),
            ethertype::IPV6 => ipv6(reader, link.network_offset).map(Some),
            _ => Ok(None),
        }
    }

    /// Whether it is a later fragment of a UDP datagram, whose ports were in the first; one whose first
    /// header is one more extension of IPv6 may end in UDP too.
    #[inline(always)]
    pub fn hides_udp(&self) -> bool {
        let may_be_udp = self.protocol == protocol::UDP
            || matches!(self.addresses, Addresses::V6(..)) && is_extension(self.protocol);
        self.fragment == Fragment::Later && may_be_udp
    }
}

// Headers are read whole: in the kernel each read is a call that costs more than what it copies.

#[inline(always)]
fn ipv4<R: Reader>(reader: &R, start: usize) -> Result<IpHeader, Loss> {
    let header: [u8; IPV4_LENGTH] = reader.read(start)?;
    let header_length = usize::from(header[0] & 0x0f) * 4;
    if header[0] >> 4 != 4 || header_length < IPV4_LENGTH {
        return Err(Loss::Malformed);
    }
    let fragment = u16::from_be_bytes([header[6], header[7]]);
    Ok(IpHeader {
        protocol: header[9],
        offset: start + header_length,
        fragment: if fragment & IPV4_FRAGMENT_OFFSET != 0 {
            Fragment::Later
        } else if fragment & MORE_FRAGMENTS != 0 {
            Fragment::First
        } else {
            Fragment::Whole
        },
        addresses: Addresses::V4(
            four(&header, IPV4_ADDRESSES),
            four(&header, IPV4_ADDRESSES + 4),
        ),
        ttl: header[8],
        end: end(start, u16::from_be_bytes([header[2], header[3]])),
    })
}

#[inline(always)]
fn ipv6<R: Reader>(reader: &R, start: usize) -> Result<IpHeader, Loss> {
    let header: [u8; IPV6_LENGTH] = reader.read(start)?;
    if header[0] >> 4 != 6 {
        return Err(Loss::Malformed);
    }
    let mut ip = IpHeader {
        protocol: header[6],
        offset: start + IPV6_LENGTH,
        fragment: Fragment::Whole,
        addresses: Addresses::V6(
            sixteen(&header, IPV6_ADDRESSES),
            sixteen(&header, IPV6_ADDRESSES + 16),
        ),
        ttl: header[7],
        end: end(
            start + IPV6_LENGTH,
            u16::from_be_bytes([header[4], header[5]]),
        ),
    };
    for _ in 0..MAX_EXTENSION_HEADERS {
        if !is_extension(ip.protocol) {
            return Ok(ip);
        }
        // All extension headers are at least this long.
        let extension: [u8; 4] = reader.read(ip.offset)?;
        let [next_header, length, ..] = extension;
        let octets = match ip.protocol {
            FRAGMENT => {
                let fragment = u16::from_be_bytes([extension[2], extension[3]]);
                if fragment & IPV6_FRAGMENT_OFFSET != 0 {
                    ip.fragment = Fragment::Later;
                    ip.protocol = next_header;
                    ip.offset += 8;
                    return Ok(ip);
                }
                if fragment & 1 != 0 {
                    ip.fragment = Fragment::First;
                }
                8
            }
            // RFC 4302 section 2.2: in 4-octet units, minus 2.
            AUTHENTICATION => (usize::from(length) + 2) * 4,
            _ => (usize::from(length) + 1) * 8,
        };
        ip.protocol = next_header;
        ip.offset += octets;
    }
    if is_extension(ip.protocol) {
        Err(Loss::ExtensionChain)
    } else {
        Ok(ip)
    }
}

#[inline(always)]
fn end(start: usize, length: u16) -> usize {
    match length {
        0 => usize::MAX,
        length => start + usize::from(length),
    }
}

// Written out instead of sliced: constant indices leave no bounds check for the verifier to follow.

#[inline(always)]
fn four(header: &[u8; IPV4_LENGTH], at: usize) -> [u8; 4] {
    [header[at], header[at + 1], header[at + 2], header[at + 3]]
}

#[inline(always)]
fn sixteen(header: &[u8; IPV6_LENGTH], at: usize) -> [u8; 16] {
    core::array::from_fn(|index| header[at + index])
}

#[inline(always)]
fn is_extension(next_header: u8) -> bool {
    matches!(
        next_header,
        HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION_OPTIONS
    )
}
