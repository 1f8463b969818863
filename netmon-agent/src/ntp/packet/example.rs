//! Packets for tests.

use std::net::SocketAddr;

use netmon_common::{
    counters::Direction,
    ntp::{Header, Mode, NtpTimestamp, PORT},
};

use super::{Content, Packet, Role, Scope, Time, digest, role};

pub const S: u64 = 1_000_000_000;
pub const MS: u64 = 1_000_000;
/// The wall clock when the monotonic one is 0.
pub const EPOCH_UNIX_NS: i64 = 1_790_000_000_000_000_000;

pub fn client(port: u16) -> SocketAddr {
    ([192, 0, 2, 1], port).into()
}

pub fn server() -> SocketAddr {
    ([192, 0, 2, 2], PORT).into()
}

/// A packet of this mode: a request from [`client`] port 40000 to [`server`], anything else the
/// other way. Stratum 2, synchronised, no timestamps.
pub fn packet(mode: Mode, at_ns: u64) -> Packet<Time> {
    let role = role(mode, [false, true]).unwrap();
    let (source, destination) = if role == Role::Request {
        (client(40_000), server())
    } else {
        (server(), client(40_000))
    };
    let header = Header {
        leap: 0,
        version: 4,
        mode,
        stratum: 2,
        poll: 6,
        precision: -20,
        root_delay: 0,
        root_dispersion: 0,
        reference_id: 0x0102_0304,
        reference_timestamp: NtpTimestamp(0),
        origin_timestamp: NtpTimestamp(0),
        receive_timestamp: NtpTimestamp(0),
        transmit_timestamp: NtpTimestamp(0),
    };
    Packet {
        scope: Scope {
            namespace: 0,
            ifindex: 1,
            vlans: [0; 2],
        },
        direction: Direction::Egress,
        hooked_at_ns: at_ns,
        captured_at_ns: at_ns,
        captured_at_unix_ns: EPOCH_UNIX_NS + at_ns as i64,
        source,
        destination,
        length: 48,
        ttl: 64,
        digest: 0,
        frame: 0,
        content: Time::new(header, role, &[], 48),
    }
    .sealed()
}

/// A request from this port with this transmit timestamp.
pub fn request(at_ns: u64, port: u16, transmit: u64) -> Packet<Time> {
    let mut packet = packet(Mode::Client, at_ns);
    packet.source = client(port);
    packet.content.header.transmit_timestamp = NtpTimestamp(transmit);
    packet.sealed()
}

/// Its response: received and sent 1 ms before it is seen, by a clock like the sensor's.
pub fn response(at_ns: u64, port: u16, origin: u64) -> Packet<Time> {
    let mut packet = packet(Mode::Server, at_ns);
    packet.destination = client(port);
    packet.content.header.origin_timestamp = NtpTimestamp(origin);
    let worked = NtpTimestamp::from_unix_ns(packet.captured_at_unix_ns - MS as i64);
    packet.content.header.receive_timestamp = worked;
    packet.content.header.transmit_timestamp = worked;
    packet.sealed()
}

impl Packet<Time> {
    /// With the digest of what it says now.
    pub fn sealed(mut self) -> Self {
        self.digest = digest(format!("{:?}", self.content).as_bytes());
        self
    }

    /// As it comes from the decoder.
    pub fn decoded(self) -> Packet {
        self.with(Content::Time(self.content))
    }
}
