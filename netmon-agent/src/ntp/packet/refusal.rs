//! ICMP errors about packets of NTP (RFC 792, RFC 4443 section 3.1).

use std::net::{IpAddr, SocketAddr};

use netmon_common::{
    ntp::{Header, Mode, NtpPorts, NtpTimestamp},
    packet::{
        FiveTuple, ICMP_LENGTH, Link, Network, PortSet as _, Slice, UDP_LENGTH, ethertype, protocol,
    },
};

/// Somebody on the path says that a packet goes no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// ICMP's or ICMPv6's type.
    pub kind: u8,
    /// What it means within the type: 3 of ICMP and 4 of ICMPv6 = nobody listens on the port.
    pub code: u8,
    /// Who sent the packet that is quoted.
    pub sender: SocketAddr,
    /// Whom it was for.
    pub receiver: SocketAddr,
    /// Whether the quoted packet was for a server's port.
    pub is_of_request: bool,
    /// The quoted packet's transmit timestamp, if so much is quoted of a request.
    pub transmit: Option<NtpTimestamp>,
}

impl Refusal {
    /// Reads an ICMP message from its type on; `ports` are those of servers.
    pub fn parse(message: &[u8], is_ipv4: bool, ports: &NtpPorts) -> Option<Self> {
        let [kind, code, ..] = *message else {
            return None;
        };
        let ethertype = if is_ipv4 {
            ethertype::IPV4
        } else {
            ethertype::IPV6
        };
        let quoted = message.get(ICMP_LENGTH..)?;
        let tuple = FiveTuple::parse(&Slice(quoted), &Link::bare(ethertype)).ok()??;
        let (source_port, destination_port) = tuple.ports?;
        if tuple.protocol != protocol::UDP || !ports.has_either(source_port, destination_port) {
            return None;
        }
        let (source, destination): (IpAddr, IpAddr) = match tuple.network {
            Network::V4 {
                source,
                destination,
            } => (source.into(), destination.into()),
            Network::V6 {
                source,
                destination,
            } => (source.into(), destination.into()),
            Network::Other { .. } => return None,
        };
        Some(Self {
            kind,
            code,
            sender: SocketAddr::new(source, source_port),
            receiver: SocketAddr::new(destination, destination_port),
            is_of_request: ports.contains(destination_port),
            transmit: transmit(quoted, is_ipv4),
        })
    }

    /// Client and server: who sent the quoted packet asked, unless it was for a client.
    pub(in crate::ntp) fn ends(&self) -> (SocketAddr, SocketAddr) {
        if self.is_of_request {
            (self.sender, self.receiver)
        } else {
            (self.receiver, self.sender)
        }
    }
}

/// Most routers quote more than the eight octets they must.
fn transmit(quoted: &[u8], is_ipv4: bool) -> Option<NtpTimestamp> {
    let header_length = if is_ipv4 {
        usize::from(quoted.first()? & 0x0f) * 4
    } else {
        netmon_common::packet::IPV6_LENGTH
    };
    let header = Header::parse(quoted.get(header_length + UDP_LENGTH..)?).ok()?;
    (header.mode == Mode::Client).then_some(header.transmit_timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Port unreachable about an IPv4 datagram from 192.0.2.1:40000 to 192.0.2.2:`port`.
    fn unreachable(protocol: u8, port: u16, payload: &[u8]) -> Vec<u8> {
        let mut message = vec![3, 3, 0, 0, 0, 0, 0, 0];
        message.extend([0x45, 0, 0, 76, 0, 0, 0, 0, 64, protocol, 0, 0]);
        message.extend([192, 0, 2, 1, 192, 0, 2, 2]);
        message.extend(40_000_u16.to_be_bytes());
        message.extend(port.to_be_bytes());
        message.extend([0, 56, 0, 0]);
        message.extend(payload);
        message
    }

    fn parse(message: &[u8], is_ipv4: bool) -> Option<Refusal> {
        Refusal::parse(message, is_ipv4, &NtpPorts::default())
    }

    #[test]
    fn the_quoted_request_is_named() {
        let mut request = [0; 48];
        request[0] = 0x23;
        request[47] = 7;
        let refusal = parse(&unreachable(17, 123, &request), true).unwrap();
        assert_eq!((refusal.kind, refusal.code), (3, 3));
        assert_eq!(refusal.sender, ([192, 0, 2, 1], 40_000).into());
        assert_eq!(refusal.ends(), (refusal.sender, refusal.receiver));
        assert_eq!(refusal.transmit, Some(NtpTimestamp(7)));
        // Eight octets behind the IP header are all that must be quoted.
        let short = parse(&unreachable(17, 123, &[]), true).unwrap();
        assert_eq!(short.transmit, None);
    }

    #[test]
    fn what_is_about_something_else_is_none() {
        assert_eq!(parse(&unreachable(6, 123, &[]), true), None);
        assert_eq!(parse(&unreachable(17, 53, &[]), true), None);
        assert_eq!(parse(&unreachable(17, 123, &[]), false), None);
        let whole = unreachable(17, 123, &[]);
        for length in 0..whole.len() - 4 {
            assert_eq!(parse(&whole[..length], true), None, "{length}");
        }
    }

    #[test]
    fn a_servers_port_is_what_was_configured() {
        let message = unreachable(17, 1123, &[]);
        let ports = NtpPorts::new([123, 1123]).unwrap();
        let refusal = Refusal::parse(&message, true, &ports).unwrap();
        assert!(refusal.is_of_request);
        assert_eq!(refusal.ends(), (refusal.sender, refusal.receiver));
        assert_eq!(parse(&message, true), None);
    }
}
