//! IPv4 (RFC 791) and IPv6 with its extension headers (RFC 8200, RFC 4302).

use super::{Link, Reader, ethertype, protocol};
use crate::loss::Loss;

const MORE_FRAGMENTS: u16 = 0x2000;
const IPV4_FRAGMENT_OFFSET: u16 = 0x1fff;
const IPV6_FRAGMENT_OFFSET: u16 = 0xfff8;
const IPV4_LENGTH: usize = 20;
const IPV6_LENGTH: usize = 40;
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

/// What the network layer carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transport {
    /// IP protocol number of the transport header.
    pub protocol: u8,
    /// Where the transport header starts.
    pub offset: usize,
    /// Whether more fragments of the datagram follow.
    pub more_fragments: bool,
    /// Who talks to whom.
    pub addresses: Addresses,
    /// IPv4 TTL or IPv6 hop limit.
    pub ttl: u8,
}

impl Transport {
    /// Follows the network layer to the transport header. `None`: not IP, or a later fragment of
    /// something that is not UDP.
    #[inline(always)]
    pub fn parse<R: Reader>(reader: &R, link: &Link) -> Result<Option<Self>, Loss> {
        match link.ethertype {
            ethertype::IPV4 => ipv4(reader, link.network_offset),
            ethertype::IPV6 => ipv6(reader, link.network_offset),
            _ => Ok(None),
        }
    }
}

// Headers are read whole: in the kernel each read is a call that costs more than what it copies.

#[inline(always)]
fn ipv4<R: Reader>(reader: &R, start: usize) -> Result<Option<Transport>, Loss> {
    let header: [u8; IPV4_LENGTH] = reader.read(start)?;
    let header_length = usize::from(header[0] & 0x0f) * 4;
    if header[0] >> 4 != 4 || header_length < IPV4_LENGTH {
        return Err(Loss::Malformed);
    }
    let fragment = u16::from_be_bytes([header[6], header[7]]);
    let protocol = header[9];
    if fragment & IPV4_FRAGMENT_OFFSET != 0 {
        return if protocol == protocol::UDP {
            Err(Loss::LaterFragment)
        } else {
            Ok(None)
        };
    }
    Ok(Some(Transport {
        protocol,
        offset: start + header_length,
        more_fragments: fragment & MORE_FRAGMENTS != 0,
        addresses: Addresses::V4(four(&header, 12), four(&header, 16)),
        ttl: header[8],
    }))
}

#[inline(always)]
fn ipv6<R: Reader>(reader: &R, start: usize) -> Result<Option<Transport>, Loss> {
    let header: [u8; IPV6_LENGTH] = reader.read(start)?;
    if header[0] >> 4 != 6 {
        return Err(Loss::Malformed);
    }
    let mut transport = Transport {
        protocol: header[6],
        offset: start + IPV6_LENGTH,
        more_fragments: false,
        addresses: Addresses::V6(sixteen(&header, 8), sixteen(&header, 24)),
        ttl: header[7],
    };
    for _ in 0..MAX_EXTENSION_HEADERS {
        if !is_extension(transport.protocol) {
            return Ok(Some(transport));
        }
        // All extension headers are at least this long.
        let extension: [u8; 4] = reader.read(transport.offset)?;
        let [next_header, length, ..] = extension;
        let octets = match transport.protocol {
            FRAGMENT => {
                let fragment = u16::from_be_bytes([extension[2], extension[3]]);
                if fragment & IPV6_FRAGMENT_OFFSET != 0 {
                    // A later fragment whose first header is an extension may end in UDP too.
                    let may_be_udp = next_header == protocol::UDP || is_extension(next_header);
                    return if may_be_udp {
                        Err(Loss::LaterFragment)
                    } else {
                        Ok(None)
                    };
                }
                transport.more_fragments = fragment & 1 != 0;
                8
            }
            // RFC 4302 section 2.2: in 4-octet units, minus 2.
            AUTHENTICATION => (usize::from(length) + 2) * 4,
            _ => (usize::from(length) + 1) * 8,
        };
        transport.protocol = next_header;
        transport.offset += octets;
    }
    if is_extension(transport.protocol) {
        Err(Loss::ExtensionChain)
    } else {
        Ok(Some(transport))
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
