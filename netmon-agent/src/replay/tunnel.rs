//! NTP inside of tunnels. Live, a tunnel's packets are seen at the tunnel's own interface; a capture
//! from elsewhere on the path has only the outer ones.

use netmon_common::packet::{ETHERNET_LENGTH, Packet, Transport, ethertype, protocol};

const VXLAN_PORT: u16 = 4789;
const VXLAN_LENGTH: usize = 8;
/// The flag that says that the network identifier counts (RFC 7348).
const VXLAN_IDENTIFIER: u8 = 0x08;
/// Bits of GRE's first octet: each announces four octets more (RFC 2784, RFC 2890).
const GRE_OPTIONAL: u8 = 0xb0;
/// Source routing, whose length is not stated.
const GRE_ROUTING: u8 = 0x40;
const GRE_VERSION: u8 = 0x07;

/// The Ethernet frame that a tunnel's packet carries, or one made for the IP packet that it
/// carries. `None`: the packet is no tunnel's.
pub(super) fn inner(frame: &[u8], packet: &Packet) -> Option<Vec<u8>> {
    if packet.fragment {
        return None;
    }
    match packet.transport {
        Transport::Other => {
            let carried = frame.get(packet.transport_offset..)?;
            match packet.protocol {
                protocol::IPV4 => Some(framed(ethertype::IPV4, carried)),
                protocol::IPV6 => Some(framed(ethertype::IPV6, carried)),
                protocol::GRE => gre(carried),
                _ => None,
            }
        }
        Transport::Udp {
            destination_port: VXLAN_PORT,
            payload_offset,
            ..
        } => {
            let (header, carried) = frame
                .get(payload_offset..)?
                .split_at_checked(VXLAN_LENGTH)?;
            (header.first()? & VXLAN_IDENTIFIER != 0).then(|| carried.to_vec())
        }
        _ => None,
    }
}

fn gre(packet: &[u8]) -> Option<Vec<u8>> {
    let [flags, version, carried @ ..] = *packet.first_chunk::<4>()?;
    if flags & GRE_ROUTING != 0 || version & GRE_VERSION != 0 {
        return None;
    }
    let optional = (flags & GRE_OPTIONAL).count_ones() as usize * 4;
    let inner = packet.get(4 + optional..)?;
    match u16::from_be_bytes(carried) {
        ethertype::BRIDGED_ETHERNET => Some(inner.to_vec()),
        ethertype => Some(framed(ethertype, inner)),
    }
}

fn framed(ethertype: u16, packet: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; ETHERNET_LENGTH - 2];
    frame.extend(ethertype.to_be_bytes());
    frame.extend(packet);
    frame
}
