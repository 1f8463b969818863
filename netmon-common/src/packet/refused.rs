//! ICMP errors that say that a datagram goes no further (RFC 792, RFC 4443 section 3.1).

use super::{
    Addresses, Datagram, Fragment, ICMP_LENGTH, IPV4_LENGTH, IPV6_LENGTH, IpHeader, Link, PortSet,
    Reader, protocol, udp::field,
};
use crate::loss::Loss;

/// Destination unreachable, of ICMP.
pub const UNREACHABLE: u8 = 3;
/// Destination unreachable, of ICMPv6.
pub const UNREACHABLE_V6: u8 = 1;
const IPV4_FRAGMENT_OFFSET: u16 = 0x1fff;

impl Datagram {
    /// The ICMP message, if it says that a UDP datagram from or to one of `ports` is undeliverable: addresses
    /// and time to live are its own, the payload is the message from its type on, and the ports are
    /// 0. Of a quoted packet with IPv6 extension headers nobody asks.
    ///
    /// # Errors
    ///
    /// [`Loss::Truncated`] when it ends before the quoted ports, [`Loss::Malformed`] when what is
    /// quoted is no packet of IP.
    #[inline(always)]
    pub fn refused_on_port<R: Reader>(
        reader: &R,
        link: &Link,
        ip: &IpHeader,
        ports: &impl PortSet,
    ) -> Result<Option<Self>, Loss> {
        let unreachable = match (ip.protocol, &ip.addresses) {
            (protocol::ICMP, Addresses::V4(..)) => UNREACHABLE,
            (protocol::ICMPV6, Addresses::V6(..)) => UNREACHABLE_V6,
            _ => return Ok(None),
        };
        if ip.fragment == Fragment::Later || reader.read_u8(ip.offset)? != unreachable {
            return Ok(None);
        }
        let quoted = ip.offset + ICMP_LENGTH;
        let quoted_ports = match ip.addresses {
            Addresses::V4(..) => ipv4(reader, quoted)?,
            Addresses::V6(..) => ipv6(reader, quoted)?,
        };
        let Some(at) = quoted_ports else {
            return Ok(None);
        };
        let read: [u8; 4] = reader.read(at)?;
        if !ports.has_either(field(&read, 0), field(&read, 2)) {
            return Ok(None);
        }
        let length = ip.end.saturating_sub(ip.offset);
        if length < at + read.len() - ip.offset {
            return Err(Loss::Malformed);
        }
        Ok(Some(Self {
            source_port: 0,
            destination_port: 0,
            payload_length: if length > u16::MAX as usize {
                u16::MAX
            } else {
                length as u16
            },
            payload_offset: ip.offset,
            vlans: link.vlans,
            addresses: ip.addresses,
            ttl: ip.ttl,
        }))
    }
}

/// Where the ports of the quoted packet are; `None`: it has none.
#[inline(always)]
fn ipv4<R: Reader>(reader: &R, start: usize) -> Result<Option<usize>, Loss> {
    let header: [u8; IPV4_LENGTH] = reader.read(start)?;
    let header_length = usize::from(header[0] & 0x0f) * 4;
    if header[0] >> 4 != 4 || header_length < IPV4_LENGTH {
        return Err(Loss::Malformed);
    }
    let is_later = field(&header, 6) & IPV4_FRAGMENT_OFFSET != 0;
    let has_ports = header[9] == protocol::UDP && !is_later;
    Ok(has_ports.then_some(start + header_length))
}

#[inline(always)]
fn ipv6<R: Reader>(reader: &R, start: usize) -> Result<Option<usize>, Loss> {
    let header: [u8; IPV6_LENGTH] = reader.read(start)?;
    if header[0] >> 4 != 6 {
        return Err(Loss::Malformed);
    }
    Ok((header[6] == protocol::UDP).then_some(start + IPV6_LENGTH))
}
