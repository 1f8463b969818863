//! UDP (RFC 768) on a port of interest.

use super::{Addresses, Fragment, IpHeader, Link, Reader, protocol};
use crate::loss::Loss;

/// Octets of a UDP header.
pub const UDP_LENGTH: usize = 8;

/// Ports of interest.
pub trait PortSet {
    /// Whether one of a datagram's two ports is in the set.
    fn has_either(&self, source: u16, destination: u16) -> bool;
}

/// A UDP datagram, or its first fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// UDP source port.
    pub source_port: u16,
    /// UDP destination port.
    pub destination_port: u16,
    /// Payload as the UDP header states it, octets: more than the frame holds when a capture or a
    /// fragment cut it.
    pub payload_length: u16,
    /// Where the payload starts.
    pub payload_offset: usize,
    /// VLAN identifiers, outer first; 0 = none.
    pub vlans: [u16; 2],
    /// Who talks to whom.
    pub addresses: Addresses,
    /// IPv4 TTL or IPv6 hop limit.
    pub ttl: u8,
}

/// Finds a UDP datagram from or to one of `ports`. `None`: an ordinary packet.
///
/// # Errors
///
/// The [`Loss`] that names why the question has no answer, or why the datagram is unusable.
#[inline(always)]
pub fn udp_on_port<R: Reader>(
    reader: &R,
    link: Link,
    ports: &impl PortSet,
) -> Result<Option<Datagram>, Loss> {
    match IpHeader::parse(reader, &link)? {
        Some(ip) => Datagram::on_port(reader, &link, &ip, ports),
        None => Ok(None),
    }
}

impl Datagram {
    /// As [`udp_on_port`], behind a network layer that is known already.
    ///
    /// # Errors
    ///
    /// As [`udp_on_port`].
    #[inline(always)]
    pub fn on_port<R: Reader>(
        reader: &R,
        link: &Link,
        ip: &IpHeader,
        ports: &impl PortSet,
    ) -> Result<Option<Self>, Loss> {
        if ip.hides_udp() {
            return Err(Loss::LaterFragment);
        }
        if ip.fragment == Fragment::Later {
            return Ok(None);
        }
        if ip.protocol != protocol::UDP {
            return Ok(None);
        }
        let header: [u8; UDP_LENGTH] = match reader.read(ip.offset) {
            Ok(header) => header,
            Err(loss) => {
                // Cut, but perhaps behind ports that say that it is nothing of ours.
                let cut: [u8; 4] = reader.read(ip.offset)?;
                let is_ours = ports.has_either(field(&cut, 0), field(&cut, 2));
                return if is_ours { Err(loss) } else { Ok(None) };
            }
        };
        let (source_port, destination_port) = (field(&header, 0), field(&header, 2));
        if !ports.has_either(source_port, destination_port) {
            return Ok(None);
        }
        let udp_length = field(&header, 4);
        if usize::from(udp_length) < UDP_LENGTH {
            return Err(Loss::Malformed);
        }
        Ok(Some(Self {
            source_port,
            destination_port,
            payload_length: udp_length - UDP_LENGTH as u16,
            payload_offset: ip.offset + UDP_LENGTH,
            vlans: link.vlans,
            addresses: ip.addresses,
            ttl: ip.ttl,
        }))
    }
}

#[inline(always)]
pub(super) fn field<const N: usize>(header: &[u8; N], at: usize) -> u16 {
    u16::from_be_bytes([header[at], header[at + 1]])
}
