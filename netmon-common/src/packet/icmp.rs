//! The packet that an ICMP error is about (RFC 792, RFC 4443 section 3).

use super::{FiveTuple, Link, Network, Packet, Reader, Transport, ethertype};
use crate::loss::Loss;

/// Destination unreachable, source quench (RFC 6633 withdrew it), redirect, time exceeded, parameter
/// problem.
const ICMP_ERRORS: [u8; 5] = [3, 4, 5, 11, 12];
/// Below these are errors, above them are messages.
const ICMPV6_FIRST_MESSAGE: u8 = 128;

/// The 5-tuple of the packet whose start an ICMP or ICMPv6 error quotes, as its sender wrote it: who
/// sent a request that was refused is `source`. `None`: the packet is no such error.
///
/// # Errors
///
/// [`Loss::Truncated`] when the frame or the quotation ends before the ports,
/// [`Loss::Malformed`] or [`Loss::ExtensionChain`] by what is quoted.
pub fn quoted<R: Reader>(reader: &R, packet: &Packet) -> Result<Option<FiveTuple>, Loss> {
    let Transport::Icmp {
        kind,
        payload_offset,
        ..
    } = packet.transport
    else {
        return Ok(None);
    };
    let ethertype = match packet.network {
        Network::V4 { .. } if ICMP_ERRORS.contains(&kind) => ethertype::IPV4,
        Network::V6 { .. } if kind < ICMPV6_FIRST_MESSAGE => ethertype::IPV6,
        _ => return Ok(None),
    };
    FiveTuple::parse(reader, &Link::within(ethertype, payload_offset))
}
