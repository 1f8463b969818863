//! A captured packet, ready for pairing.

#[cfg(test)]
pub(super) mod example;
mod query;
mod refusal;
mod time;

use std::{
    hash::{DefaultHasher, Hasher as _},
    net::SocketAddr,
};

use netmon_common::{
    counters::Direction,
    event::{EventKind, NtpEvent},
    ntp::{Malformed, Message, Mode, NtpPorts},
};

pub use self::{
    query::{Question, Subject},
    refusal::Refusal,
    time::{Identifier, Time},
};
use super::Tap;
use crate::clock::TaiOffset;

/// Where on the host a conversation was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Scope {
    /// The network namespace: the sensor's own number of it, 0 for the one it runs in.
    pub namespace: u32,
    /// The interface's index.
    pub ifindex: u32,
    /// VLAN identifiers, outer first; 0 = none.
    pub vlans: [u16; 2],
}

/// A packet with the sensor's time stamps.
#[derive(Clone, Copy, Debug)]
pub struct Packet<C = Content> {
    /// Where it was seen.
    pub scope: Scope,
    /// Which way it crossed the interface.
    pub direction: Direction,
    /// When the hook saw it, `CLOCK_MONOTONIC`, ns: the order of packets, whatever they waited for
    /// before.
    pub hooked_at_ns: u64,
    /// When the driver handed it over, as far as the kernel says that, otherwise when the hook saw it;
    /// `CLOCK_MONOTONIC`, ns: what is measured.
    pub captured_at_ns: u64,
    /// The same instant on the wall clock, ns since 1970.
    pub captured_at_unix_ns: i64,
    /// Source address and port.
    pub source: SocketAddr,
    /// Destination address and port.
    pub destination: SocketAddr,
    /// UDP payload, octets.
    pub length: u16,
    /// IPv4 TTL or IPv6 hop limit.
    pub ttl: u8,
    /// Of the payload as far as it was captured: equal ones are the same packet.
    pub digest: u64,
    /// Number of its frame in a capture; 0 live.
    pub frame: u64,
    /// What it says.
    pub content: C,
}

/// What a packet says.
#[derive(Clone, Copy, Debug)]
pub enum Content {
    /// Modes 0 to 5, and version 5.
    Time(Time),
    /// Modes 6 and 7.
    Question(Question),
    /// An ICMP error about a packet of NTP.
    Refusal(Refusal),
}

/// What a packet of [`Content::Time`] is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Mode 3.
    Request,
    /// Mode 4.
    Response,
    /// Modes 1 and 2: both.
    Peer,
    /// Mode 5.
    Broadcast,
}

/// Why an event takes no part in pairing; each is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unpaired {
    /// Shorter than its header.
    TooShort,
    /// Version 0 or above 5.
    UnknownVersion,
    /// Mode 0 between two ports of servers: nobody can tell who asks.
    Reserved,
    /// An ICMP error whose quotation makes no sense.
    MalformedQuotation,
    /// Another packet, seen at one more interface.
    DuplicateCapture,
}

impl Unpaired {
    /// Every cause.
    pub const ALL: [Self; 5] = [
        Self::TooShort,
        Self::UnknownVersion,
        Self::Reserved,
        Self::MalformedQuotation,
        Self::DuplicateCapture,
    ];

    /// The name used in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TooShort => "too_short",
            Self::UnknownVersion => "unknown_version",
            Self::Reserved => "reserved",
            Self::MalformedQuotation => "malformed_quotation",
            Self::DuplicateCapture => "duplicate_capture",
        }
    }
}

impl Scope {
    /// The capture point, whatever the VLAN.
    pub fn tap(&self) -> Tap {
        Tap {
            namespace: self.namespace,
            ifindex: self.ifindex,
        }
    }
}

impl Packet {
    /// Decodes an event. `tai` ties the kernel's stamps to the wall clock; `ports` are those of
    /// servers.
    pub fn decode(event: &NtpEvent, tai: TaiOffset, ports: &NtpPorts) -> Result<Self, Unpaired> {
        let payload = event.payload();
        let source = SocketAddr::new(event.source(), event.source_port);
        let destination = SocketAddr::new(event.destination(), event.destination_port);
        let content = match event.kind() {
            EventKind::Refusal => Content::Refusal(
                Refusal::parse(payload, source.is_ipv4(), ports)
                    .ok_or(Unpaired::MalformedQuotation)?,
            ),
            EventKind::Datagram => {
                let message = Message::parse(payload).map_err(|malformed| match malformed {
                    Malformed::TooShort => Unpaired::TooShort,
                    // Another layout is not malformed.
                    Malformed::UnknownVersion(_) | Malformed::OtherLayout(_) => {
                        Unpaired::UnknownVersion
                    }
                })?;
                let length = event.payload_length.into();
                let of_servers = [source, destination].map(|end| ports.contains(end.port()));
                match message {
                    Message::Time(header) => {
                        let role = role(header.mode, of_servers).ok_or(Unpaired::Reserved)?;
                        Content::Time(Time::new(header, role, payload, length))
                    }
                    Message::Version5(version5) => {
                        let role = role(version5.mode, of_servers).ok_or(Unpaired::Reserved)?;
                        Content::Time(Time::version_5(&version5, role, payload, length))
                    }
                    Message::Control(control) => {
                        Content::Question(Question::control(&control, length))
                    }
                    Message::Private(private) => Content::Question(Question::private(&private)),
                }
            }
        };
        let queued_ns = match event.direction() {
            Direction::Ingress => {
                tai.queued_ns(event.captured_at_tai_ns, event.received_at_unix_ns)
            }
            Direction::Egress => 0,
        };
        Ok(Self {
            scope: Scope {
                namespace: 0,
                ifindex: event.ifindex,
                vlans: [event.vlan, event.inner_vlan],
            },
            direction: event.direction(),
            hooked_at_ns: event.captured_at_ns,
            captured_at_ns: event.captured_at_ns.saturating_sub(queued_ns),
            captured_at_unix_ns: tai
                .unix_ns(event.captured_at_tai_ns)
                .wrapping_sub(queued_ns as i64),
            source,
            destination,
            length: event.payload_length,
            ttl: event.ttl,
            digest: digest(payload),
            frame: 0,
            content,
        })
    }

    /// Who waits for whom: client and server.
    pub(super) fn ends(&self) -> (SocketAddr, SocketAddr) {
        let asks = (self.source, self.destination);
        let answers = (self.destination, self.source);
        match &self.content {
            Content::Time(time) if time.role == Role::Request => asks,
            Content::Time(_) => answers,
            Content::Question(question) if question.is_answer => answers,
            Content::Question(_) => asks,
            Content::Refusal(refusal) => refusal.ends(),
        }
    }

    /// Whether it goes to the server: of copies the last was taken nearest to it.
    pub(super) fn is_request(&self) -> bool {
        match &self.content {
            Content::Time(time) => time.role == Role::Request,
            Content::Question(question) => !question.is_answer,
            Content::Refusal(_) => false,
        }
    }
}

impl<C> Packet<C> {
    /// The same packet with other words for what it says.
    pub(super) fn with<D>(&self, content: D) -> Packet<D> {
        Packet {
            scope: self.scope,
            direction: self.direction,
            hooked_at_ns: self.hooked_at_ns,
            captured_at_ns: self.captured_at_ns,
            captured_at_unix_ns: self.captured_at_unix_ns,
            source: self.source,
            destination: self.destination,
            length: self.length,
            ttl: self.ttl,
            digest: self.digest,
            frame: self.frame,
            content,
        }
    }
}

/// A version 1 sender has no mode (RFC 1059 put 0 there): then it is decided by whether source and
/// destination have a server's port.
fn role(mode: Mode, of_servers: [bool; 2]) -> Option<Role> {
    match mode {
        Mode::Client => Some(Role::Request),
        Mode::Server => Some(Role::Response),
        Mode::SymmetricActive | Mode::SymmetricPassive => Some(Role::Peer),
        Mode::Broadcast => Some(Role::Broadcast),
        Mode::Reserved => match of_servers {
            [true, true] => None,
            [true, false] => Some(Role::Response),
            [false, _] => Some(Role::Request),
        },
        Mode::Control | Mode::Private => None,
    }
}

pub(super) fn digest(payload: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(payload);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::*;

    #[test]
    fn a_sender_without_a_mode_is_known_by_its_port() {
        let [to_server, from_server, between] = [[false, true], [true, false], [true, true]];
        assert_eq!(role(Mode::Reserved, to_server), Some(Role::Request));
        assert_eq!(role(Mode::Reserved, from_server), Some(Role::Response));
        assert_eq!(role(Mode::Reserved, between), None);
        assert_eq!(role(Mode::Client, between), Some(Role::Request));
        assert_eq!(role(Mode::Server, to_server), Some(Role::Response));
    }

    #[test]
    fn only_of_received_packets_does_the_kernels_stamp_count() {
        let [stamped, seen] = [1_795_272_360_000_000_000, 1_795_272_360_000_080_000];
        let captured = |direction: Direction| {
            let mut record = [0; size_of::<NtpEvent>()];
            record[offset_of!(NtpEvent, ip_version)] = 4;
            let mut event = NtpEvent::parse(&record).unwrap();
            event.captured_at_ns = 5_000_000;
            event.captured_at_tai_ns = seen;
            event.received_at_unix_ns = stamped;
            event.direction = direction as u8;
            event.destination_port = 123;
            event.payload_length = 48;
            event.captured_length = 48;
            event.payload[0] = 0x23;
            let packet = Packet::decode(&event, TaiOffset::NONE, &NtpPorts::default()).unwrap();
            (packet.captured_at_ns, packet.captured_at_unix_ns)
        };
        assert_eq!(captured(Direction::Ingress), (4_920_000, stamped as i64));
        assert_eq!(captured(Direction::Egress), (5_000_000, seen as i64));
    }
}
