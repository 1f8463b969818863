//! TCP (RFC 9293), UDP (RFC 768), ICMP (RFC 792) and ICMPv6 (RFC 4443).

use super::{
    Addresses, Fragment, IpHeader, Reader, protocol,
    udp::{UDP_LENGTH, field},
};
use crate::loss::Loss;

/// Octets of a TCP header without options.
pub const TCP_LENGTH: usize = 20;
/// Octets before the body of an ICMP or ICMPv6 message: kind, code, checksum, and four that depend on
/// the kind.
pub const ICMP_LENGTH: usize = 8;
/// The ones that every message has.
const ICMP_COMMON: usize = 4;

/// The transport layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    Tcp {
        /// Where it came from.
        source_port: u16,
        /// Where it goes.
        destination_port: u16,
        /// See [`tcp_flag`].
        flags: u8,
        /// Where the payload starts, by the header's data offset: perhaps behind the frame's end.
        payload_offset: usize,
    },
    /// UDP.
    Udp {
        /// Where it came from.
        source_port: u16,
        /// Where it goes.
        destination_port: u16,
        /// Where the payload starts.
        payload_offset: usize,
        /// Octets of payload as the UDP header states it: perhaps more than the frame holds.
        payload_length: u16,
    },
    /// ICMP over IPv4, or ICMPv6 over IPv6.
    Icmp {
        /// The message's type.
        kind: u8,
        /// What it means within the type.
        code: u8,
        /// Where the message's body starts: perhaps behind the frame's end.
        payload_offset: usize,
    },
    /// Another protocol, whose number is the packet's.
    Other,
    /// A later fragment: the header was in the first one.
    LaterFragment,
    /// There is no IP.
    None,
}

/// TCP's flags, as bits of the header's fourteenth octet.
pub mod tcp_flag {
    /// The sender is done.
    pub const FIN: u8 = 0x01;
    /// A connection begins.
    pub const SYN: u8 = 0x02;
    /// The connection is refused or given up.
    pub const RST: u8 = 0x04;
    /// Deliver without waiting.
    pub const PSH: u8 = 0x08;
    /// The acknowledgement number counts.
    pub const ACK: u8 = 0x10;
}

impl Transport {
    #[inline(always)]
    pub(super) fn parse<R: Reader>(reader: &R, ip: &IpHeader) -> Result<Self, Loss> {
        if ip.fragment == Fragment::Later {
            return Ok(Self::LaterFragment);
        }
        match (ip.protocol, &ip.addresses) {
            (protocol::TCP, _) => tcp(reader, ip.offset),
            (protocol::UDP, _) => udp(reader, ip.offset),
            (protocol::ICMP, Addresses::V4(..)) | (protocol::ICMPV6, Addresses::V6(..)) => {
                icmp(reader, ip.offset)
            }
            _ => Ok(Self::Other),
        }
    }
}

#[inline(always)]
fn tcp<R: Reader>(reader: &R, start: usize) -> Result<Transport, Loss> {
    let header: [u8; TCP_LENGTH] = reader.read(start)?;
    let header_length = usize::from(header[12] >> 4) * 4;
    if header_length < TCP_LENGTH {
        return Err(Loss::Malformed);
    }
    Ok(Transport::Tcp {
        source_port: field(&header, 0),
        destination_port: field(&header, 2),
        flags: header[13],
        payload_offset: start + header_length,
    })
}

#[inline(always)]
fn udp<R: Reader>(reader: &R, start: usize) -> Result<Transport, Loss> {
    let header: [u8; UDP_LENGTH] = reader.read(start)?;
    let length = field(&header, 4);
    if usize::from(length) < UDP_LENGTH {
        return Err(Loss::Malformed);
    }
    Ok(Transport::Udp {
        source_port: field(&header, 0),
        destination_port: field(&header, 2),
        payload_offset: start + UDP_LENGTH,
        payload_length: length - UDP_LENGTH as u16,
    })
}

#[inline(always)]
fn icmp<R: Reader>(reader: &R, start: usize) -> Result<Transport, Loss> {
    let [kind, code, ..]: [u8; ICMP_COMMON] = reader.read(start)?;
    Ok(Transport::Icmp {
        kind,
        code,
        payload_offset: start + ICMP_LENGTH,
    })
}
