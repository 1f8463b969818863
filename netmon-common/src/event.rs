//! The records of the kernel's `EVENTS` ring buffer.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::counters::Direction;

/// Most octets of UDP payload an event carries: the NTP header, a MAC and the first extension
/// fields.
pub const MAX_PAYLOAD: usize = 128;

/// One UDP datagram from or to the NTP port, or an ICMP error about one.
#[derive(Clone, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct NtpEvent {
    /// `CLOCK_MONOTONIC` when the hook saw the packet, ns.
    pub captured_at_ns: u64,
    /// `CLOCK_TAI` at that moment, ns: the wall clock before or after a step, whichever it was.
    pub captured_at_tai_ns: u64,
    /// `CLOCK_REALTIME` when the kernel took a received packet from its driver, ns: before it waited in
    /// queues (RPS, veth, loopback) for the hook. The kernel stamps packets as long as any socket on
    /// the host asks for it, as those of NTP daemons do. Otherwise 0; means nothing on egress.
    pub received_at_unix_ns: u64,
    /// The interface's index.
    pub ifindex: u32,
    /// Length of the frame from the link-layer header on, octets.
    pub frame_length: u32,
    /// Source address; an IPv4 address fills the first four octets.
    pub source: [u8; 16],
    /// Destination address, likewise.
    pub destination: [u8; 16],
    /// UDP source port; 0 of an ICMP error.
    pub source_port: u16,
    /// UDP destination port, likewise.
    pub destination_port: u16,
    /// UDP payload as the UDP header states it, octets; of an ICMP error the whole message.
    pub payload_length: u16,
    /// How many octets of `payload` are valid.
    pub captured_length: u16,
    /// Outer VLAN identifier, 0 = none.
    pub vlan: u16,
    /// Inner VLAN identifier, 0 = none.
    pub inner_vlan: u16,
    /// 4 or 6.
    pub ip_version: u8,
    /// IPv4 TTL or IPv6 hop limit.
    pub ttl: u8,
    /// [`Direction`] as a number.
    pub direction: u8,
    /// [`EventKind`] as a number.
    pub kind: u8,
    /// The first octets of the UDP payload, or of the ICMP message.
    pub payload: [u8; MAX_PAYLOAD],
}

const _: () = assert!(size_of::<NtpEvent>() == 208);

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum EventKind {
    /// A datagram from or to the NTP port.
    Datagram = 0,
    /// An ICMP or ICMPv6 error that says that such a datagram goes no further.
    Refusal = 1,
}

impl NtpEvent {
    /// Number of this layout. Raise it with every change of the fields: in a pinned ring agents of
    /// different releases meet.
    pub const LAYOUT: u32 = 2;

    /// Reads an event from the bytes of a ring buffer record, or `None` if they are not one.
    pub fn parse(record: &[u8]) -> Option<Self> {
        let event = Self::read_from_bytes(record).ok()?;
        let plausible = matches!(event.ip_version, 4 | 6)
            && event.direction <= 1
            && event.kind <= EventKind::Refusal as u8
            && usize::from(event.captured_length) <= MAX_PAYLOAD
            && event.captured_length <= event.payload_length;
        plausible.then_some(event)
    }

    /// The captured part of the UDP payload.
    pub fn payload(&self) -> &[u8] {
        let captured = usize::from(self.captured_length).min(MAX_PAYLOAD);
        self.payload.split_at(captured).0
    }

    /// What it is about.
    pub const fn kind(&self) -> EventKind {
        if self.kind == EventKind::Refusal as u8 {
            EventKind::Refusal
        } else {
            EventKind::Datagram
        }
    }

    /// Where the packet came from.
    pub fn source(&self) -> IpAddr {
        address(self.ip_version, self.source)
    }

    /// Where the packet went to.
    pub fn destination(&self) -> IpAddr {
        address(self.ip_version, self.destination)
    }

    /// Which way the packet crossed the interface.
    pub fn direction(&self) -> Direction {
        if self.direction == Direction::Ingress as u8 {
            Direction::Ingress
        } else {
            Direction::Egress
        }
    }
}

fn address(ip_version: u8, octets: [u8; 16]) -> IpAddr {
    let [a, b, c, d, ..] = octets;
    match ip_version {
        4 => Ipv4Addr::new(a, b, c, d).into(),
        _ => Ipv6Addr::from(octets).into(),
    }
}

#[cfg(test)]
mod tests {
    use core::mem::offset_of;

    use super::*;

    #[test]
    fn a_changed_layout_has_another_number() {
        let offsets = [
            offset_of!(NtpEvent, captured_at_ns),
            offset_of!(NtpEvent, captured_at_tai_ns),
            offset_of!(NtpEvent, received_at_unix_ns),
            offset_of!(NtpEvent, ifindex),
            offset_of!(NtpEvent, frame_length),
            offset_of!(NtpEvent, source),
            offset_of!(NtpEvent, destination),
            offset_of!(NtpEvent, source_port),
            offset_of!(NtpEvent, destination_port),
            offset_of!(NtpEvent, payload_length),
            offset_of!(NtpEvent, captured_length),
            offset_of!(NtpEvent, vlan),
            offset_of!(NtpEvent, inner_vlan),
            offset_of!(NtpEvent, ip_version),
            offset_of!(NtpEvent, ttl),
            offset_of!(NtpEvent, direction),
            offset_of!(NtpEvent, kind),
            offset_of!(NtpEvent, payload),
        ];
        let second = [
            0, 8, 16, 24, 28, 32, 48, 64, 66, 68, 70, 72, 74, 76, 77, 78, 79, 80,
        ];
        assert_eq!((NtpEvent::LAYOUT, offsets), (2, second));
    }

    #[test]
    fn a_record_of_another_size_is_not_an_event() {
        assert!(NtpEvent::parse(&[0; 207]).is_none());
        assert!(NtpEvent::parse(&[0; 209]).is_none());
    }

    #[test]
    fn a_record_that_claims_more_payload_than_it_holds_is_not_an_event() {
        let mut event = NtpEvent::read_from_bytes(&[0; 208]).unwrap();
        event.ip_version = 4;
        event.payload_length = 200;
        event.captured_length = 128;
        assert!(NtpEvent::parse(event.as_bytes()).is_some());
        event.captured_length = 129;
        assert!(NtpEvent::parse(event.as_bytes()).is_none());
        event.captured_length = 128;
        event.kind = 2;
        assert!(NtpEvent::parse(event.as_bytes()).is_none(), "of no kind");
    }
}
