//! IPv4 (RFC 791) and IPv6 with its extension headers (RFC 8200, RFC 4302).

use super::{Link, Reader, ethertype, protocol};
use crate::loss::Loss;

const MORE_FRAGMENTS: u16 = 0x2000;
const IPV4_FRAGMENT_OFFSET: u16 = 0x1fff;
const IPV6_FRAGMENT_OFFSET: u16 = 0xfff8;
const IPV6_LENGTH: usize = 40;
/// Longer chains are counted, not followed: nothing real sends them.
const MAX_EXTENSION_HEADERS: usize = 6;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;

/// Which address family, and where the addresses stand: they are read only when wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address {
    /// Two times 4 octets from this offset, source first.
    V4(usize),
    /// Two times 16 octets from this offset, source first.
    V6(usize),
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
    /// The addresses' place.
    pub address: Address,
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

#[inline(always)]
fn ipv4<R: Reader>(reader: &R, start: usize) -> Result<Option<Transport>, Loss> {
    let [version_length, ..] = reader.read::<1>(start)?;
    let header_length = usize::from(version_length & 0x0f) * 4;
    if version_length >> 4 != 4 || header_length < 20 {
        return Err(Loss::Malformed);
    }
    let fragment = reader.read_u16(start + 6)?;
    let [ttl, protocol] = reader.read(start + 8)?;
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
        address: Address::V4(start + 12),
        ttl,
    }))
}

#[inline(always)]
fn ipv6<R: Reader>(reader: &R, start: usize) -> Result<Option<Transport>, Loss> {
    if reader.read_u8(start)? >> 4 != 6 {
        return Err(Loss::Malformed);
    }
    let [next_header, hop_limit] = reader.read(start + 6)?;
    let mut transport = Transport {
        protocol: next_header,
        offset: start + IPV6_LENGTH,
        more_fragments: false,
        address: Address::V6(start + 8),
        ttl: hop_limit,
    };
    for _ in 0..MAX_EXTENSION_HEADERS {
        if !is_extension(transport.protocol) {
            return Ok(Some(transport));
        }
        let [next_header, length] = reader.read(transport.offset)?;
        let octets = match transport.protocol {
            FRAGMENT => {
                let fragment = reader.read_u16(transport.offset + 2)?;
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

#[inline(always)]
fn is_extension(next_header: u8) -> bool {
    matches!(
        next_header,
        HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION_OPTIONS
    )
}
