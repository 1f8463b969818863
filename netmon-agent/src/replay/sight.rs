//! What the slice reader says of a frame: the same source as the kernel's, without a kernel.

use netmon_common::{
    counters::{Class, Direction},
    event::{EventKind, MAX_PAYLOAD, NtpEvent},
    loss::Loss,
    ntp::NtpPorts,
    packet::{Addresses, Datagram, IpHeader, Link, Packet, Slice, parse, udp_on_port},
};

use super::tunnel;

/// A frame as it is read.
pub(super) struct Sight<'a> {
    frame: &'a [u8],
    link: Result<Link, Loss>,
    ports: NtpPorts,
}

impl<'a> Sight<'a> {
    /// `ports` are those of NTP servers.
    pub(super) fn of(frame: &'a [u8], ports: NtpPorts) -> Self {
        Self {
            frame,
            link: Link::parse(&Slice(frame), None),
            ports,
        }
    }

    /// What the frame counts as.
    pub(super) fn class(&self) -> Class {
        let ip = self
            .link
            .and_then(|link| IpHeader::parse(&Slice(self.frame), &link));
        Class::of(&self.link, &ip)
    }

    /// All headers.
    pub(super) fn packet(&self) -> Result<Packet, Loss> {
        parse(&Slice(self.frame), self.link?)
    }

    /// The datagram from or to a port of NTP.
    pub(super) fn datagram(&self) -> Result<Option<Datagram>, Loss> {
        udp_on_port(&Slice(self.frame), self.link?, &self.ports)
    }

    /// What the kernel's programs make an event of: a datagram from or to a port of NTP, or an
    /// ICMP error about one; nothing where there is no such port.
    pub(super) fn found(&self) -> Result<Option<(EventKind, Datagram)>, Loss> {
        if self.ports.is_empty() {
            return Ok(None);
        }
        if let Some(datagram) = self.datagram()? {
            return Ok(Some((EventKind::Datagram, datagram)));
        }
        let (reader, link) = (Slice(self.frame), self.link?);
        let Some(ip) = IpHeader::parse(&reader, &link)? else {
            return Ok(None);
        };
        let refused = Datagram::refused_on_port(&reader, &link, &ip, &self.ports)?;
        Ok(refused.map(|refused| (EventKind::Refusal, refused)))
    }

    /// The datagram's payload, as far as it was captured.
    pub(super) fn payload(&self, datagram: &Datagram) -> &'a [u8] {
        let rest = self.frame.get(datagram.payload_offset..).unwrap_or(&[]);
        rest.get(..datagram.payload_length.into()).unwrap_or(rest)
    }

    /// The frame that this one carries, if it is a tunnel's.
    pub(super) fn inner(&self) -> Option<Vec<u8>> {
        tunnel::inner(self.frame, &self.packet().ok()?)
    }

    /// The event that the kernel's program makes of the datagram, but for its time stamps.
    pub(super) fn event(
        &self,
        (kind, datagram): &(EventKind, Datagram),
        ifindex: u32,
        way: Direction,
    ) -> NtpEvent {
        let (ip_version, source, destination) = match datagram.addresses {
            Addresses::V4(source, destination) => (4, widened(source), widened(destination)),
            Addresses::V6(source, destination) => (6, source, destination),
        };
        let captured = self.payload(datagram);
        let captured = captured.get(..MAX_PAYLOAD).unwrap_or(captured);
        let mut payload = [0; MAX_PAYLOAD];
        payload[..captured.len()].copy_from_slice(captured);
        NtpEvent {
            captured_at_ns: 0,
            captured_at_tai_ns: 0,
            received_at_unix_ns: 0,
            ifindex,
            frame_length: self.frame.len() as u32,
            source,
            destination,
            source_port: datagram.source_port,
            destination_port: datagram.destination_port,
            payload_length: datagram.payload_length,
            captured_length: captured.len() as u16,
            vlan: datagram.vlans[0],
            inner_vlan: datagram.vlans[1],
            ip_version,
            ttl: datagram.ttl,
            direction: way as u8,
            kind: *kind as u8,
            payload,
        }
    }
}

fn widened([a, b, c, d]: [u8; 4]) -> [u8; 16] {
    let mut octets = [0; 16];
    octets[..4].copy_from_slice(&[a, b, c, d]);
    octets
}
