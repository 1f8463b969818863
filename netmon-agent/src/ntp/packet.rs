//! A captured NTP packet, ready for pairing.

use std::net::SocketAddr;

use netmon_common::{
    counters::Direction,
    event::NtpEvent,
    ntp::{Header, Malformed, Mode, Trailer},
    wire::NtpPacket,
};

use crate::clock::TaiOffset;

/// Where on the host a conversation was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Scope {
    /// The interface's index.
    pub ifindex: u32,
    /// VLAN identifiers, outer first; 0 = none.
    pub vlans: [u16; 2],
}

/// An NTP packet of modes 0 to 5 with the sensor's time stamps.
#[derive(Clone, Debug)]
pub struct Packet {
    /// Where it was seen.
    pub scope: Scope,
    /// Which way it crossed the interface.
    pub direction: Direction,
    /// When the hook saw it, `CLOCK_MONOTONIC`, ns.
    pub captured_at_ns: u64,
    /// The same instant on the wall clock, ns since 1970.
    pub captured_at_unix_ns: i64,
    /// Source address and port.
    pub source: SocketAddr,
    /// Destination address and port.
    pub destination: SocketAddr,
    /// The fields.
    pub header: Header,
    /// UDP payload, octets.
    pub length: u16,
    /// IPv4 TTL or IPv6 hop limit.
    pub ttl: u8,
    /// Whether it carries what Network Time Security adds.
    pub nts: bool,
    /// Number of its frame in a capture; 0 live.
    pub frame: u64,
}

/// Why an event takes no part in pairing; each is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unpaired {
    /// Shorter than its header.
    TooShort,
    /// Version 0 or above 4.
    UnknownVersion,
    /// Mode 6 (RFC 9327).
    Control,
    /// Mode 7 (ntpd's own).
    Private,
    /// Mode 1 or 2.
    Symmetric,
    /// Mode 5.
    Broadcast,
    /// Mode 0.
    Reserved,
    /// Another packet, seen at one more interface.
    DuplicateCapture,
}

impl Unpaired {
    /// Every cause.
    pub const ALL: [Self; 8] = [
        Self::TooShort,
        Self::UnknownVersion,
        Self::Control,
        Self::Private,
        Self::Symmetric,
        Self::Broadcast,
        Self::Reserved,
        Self::DuplicateCapture,
    ];

    /// The name used in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TooShort => "too_short",
            Self::UnknownVersion => "unknown_version",
            Self::Control => "control",
            Self::Private => "private",
            Self::Symmetric => "symmetric",
            Self::Broadcast => "broadcast",
            Self::Reserved => "reserved",
            Self::DuplicateCapture => "duplicate_capture",
        }
    }
}

impl Packet {
    /// Decodes an event. `tai` ties the kernel's stamps to the wall clock.
    pub fn decode(event: &NtpEvent, tai: TaiOffset) -> Result<Self, Unpaired> {
        let header = Header::parse(event.payload()).map_err(|malformed| match malformed {
            Malformed::TooShort => Unpaired::TooShort,
            Malformed::UnknownVersion(_) => Unpaired::UnknownVersion,
            Malformed::OtherLayout(6) => Unpaired::Control,
            Malformed::OtherLayout(_) => Unpaired::Private,
        })?;
        match header.mode {
            Mode::Client | Mode::Server => {}
            Mode::SymmetricActive | Mode::SymmetricPassive => return Err(Unpaired::Symmetric),
            Mode::Broadcast => return Err(Unpaired::Broadcast),
            Mode::Reserved => return Err(Unpaired::Reserved),
            Mode::Control => return Err(Unpaired::Control),
            Mode::Private => return Err(Unpaired::Private),
        }
        Ok(Self {
            scope: Scope {
                ifindex: event.ifindex,
                vlans: [event.vlan, event.inner_vlan],
            },
            direction: event.direction(),
            captured_at_ns: event.captured_at_ns,
            captured_at_unix_ns: tai.unix_ns(event.captured_at_tai_ns),
            source: SocketAddr::new(event.source(), event.source_port),
            destination: SocketAddr::new(event.destination(), event.destination_port),
            header,
            length: event.payload_length,
            ttl: event.ttl,
            nts: Trailer::parse(event.payload(), event.payload_length.into()).has_nts(),
            frame: 0,
        })
    }

    /// The header as a message.
    pub fn message(&self) -> NtpPacket {
        let header = &self.header;
        NtpPacket {
            leap: header.leap.into(),
            version: header.version.into(),
            mode: header.mode as u32,
            stratum: header.stratum.into(),
            poll: header.poll.into(),
            precision: header.precision.into(),
            root_delay: header.root_delay,
            root_dispersion: header.root_dispersion,
            reference_id: header.reference_id,
            reference_timestamp: header.reference_timestamp.0,
            origin_timestamp: header.origin_timestamp.0,
            receive_timestamp: header.receive_timestamp.0,
            transmit_timestamp: header.transmit_timestamp.0,
            length: self.length.into(),
            ttl: self.ttl.into(),
        }
    }
}
