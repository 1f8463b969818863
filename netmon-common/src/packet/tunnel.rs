//! What a tunnel carries: GRE (RFC 2784, RFC 2890), VXLAN (RFC 7348), IP in IP (RFC 2003, RFC 2473).
//!
//! Everything is counted as the outer traffic; the inner 5-tuple is for those who ask.

use super::{FiveTuple, Link, Packet, Reader, Transport, ethertype, protocol, udp::field};
use crate::loss::Loss;

const VXLAN_PORT: u16 = 4789;
const VXLAN_LENGTH: usize = 8;
/// The flag that says that the network identifier counts: without it the packet is not VXLAN.
const VXLAN_IDENTIFIER: u8 = 0x08;

const GRE_CHECKSUM: u16 = 0x8000;
const GRE_ROUTING: u16 = 0x4000;
const GRE_KEY: u16 = 0x2000;
const GRE_SEQUENCE: u16 = 0x1000;
const GRE_VERSION: u16 = 0x0007;

/// The 5-tuple of what a tunnel's packet carries. `None`: the packet is no tunnel's, is a fragment,
/// or carries something else than IP.
///
/// # Errors
///
/// The [`Loss`] that keeps the inner headers from being read.
pub fn inner<R: Reader>(reader: &R, packet: &Packet) -> Result<Option<FiveTuple>, Loss> {
    if packet.fragment {
        return Ok(None);
    }
    let link = match packet.transport {
        Transport::Other => match packet.protocol {
            protocol::IPV4 => Some(Link::within(ethertype::IPV4, packet.transport_offset)),
            protocol::IPV6 => Some(Link::within(ethertype::IPV6, packet.transport_offset)),
            protocol::GRE => gre(reader, packet.transport_offset)?,
            _ => None,
        },
        Transport::Udp {
            destination_port: VXLAN_PORT,
            payload_offset,
            ..
        } => vxlan(reader, payload_offset)?,
        _ => None,
    };
    match link {
        Some(link) => FiveTuple::parse(reader, &link),
        None => Ok(None),
    }
}

fn gre<R: Reader>(reader: &R, start: usize) -> Result<Option<Link>, Loss> {
    let header: [u8; 4] = reader.read(start)?;
    let (flags, carried) = (field(&header, 0), field(&header, 2));
    // Version 1 is PPTP's. Source routing (RFC 1701) was withdrawn, and its length is not stated.
    if flags & (GRE_VERSION | GRE_ROUTING) != 0 {
        return Ok(None);
    }
    let optional = [GRE_CHECKSUM, GRE_KEY, GRE_SEQUENCE];
    let words = optional.iter().filter(|flag| flags & **flag != 0).count();
    let offset = start + 4 + 4 * words;
    match carried {
        ethertype::BRIDGED_ETHERNET => Link::parse_at(reader, offset).map(Some),
        carried => Ok(Some(Link::within(carried, offset))),
    }
}

fn vxlan<R: Reader>(reader: &R, start: usize) -> Result<Option<Link>, Loss> {
    let header: [u8; VXLAN_LENGTH] = reader.read(start)?;
    if header[0] & VXLAN_IDENTIFIER == 0 {
        return Ok(None);
    }
    Link::parse_at(reader, start + VXLAN_LENGTH).map(Some)
}
