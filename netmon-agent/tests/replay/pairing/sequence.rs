//! Octets read as packets of NTP, each with its time: few hosts, few cookies and telling pauses, so
//! that packets have to do with each other.

use netmon_common::{
    counters::Direction,
    event::{EventKind, MAX_PAYLOAD, NtpEvent},
    ntp::NtpTimestamp,
};

/// Octets that make one packet.
const STEP: usize = 8;

/// The wall clock when the monotonic one is 0: some hours before era 1, which the longer sequences reach.
const EPOCH_NS: u64 = 2_085_970_000_000_000_000;

const US: i64 = 1_000;
const MS: i64 = 1_000 * US;
const S: i64 = 1_000 * MS;

/// Pauses around every limit of the pairing, and steps back.
const PAUSES_NS: [i64; 16] = [
    0,
    US,
    30 * US,
    900 * US,
    3 * MS,
    3 * MS,
    8 * MS,
    8 * MS,
    50 * MS,
    150 * MS,
    250 * MS,
    S,
    6 * S,
    30 * S,
    -30 * US,
    -40 * MS,
];

/// Questions and answers more often than the rest.
const MODES: [u8; 16] = [3, 3, 3, 3, 3, 4, 4, 4, 4, 4, 0, 1, 2, 5, 6, 7];

/// What the first octet says of the observer.
pub struct Settings {
    /// Most requests remembered.
    pub max_pending: usize,
    /// Most pairs of client and server.
    pub max_associations: usize,
    /// Whether packets go through the dedupe first.
    pub deduplicates: bool,
    /// Whether the sensor's clock counts as right.
    pub synchronised: bool,
    /// Whether requests from before the first packet count as missed.
    pub has_just_started: bool,
    /// Whether the second interface is given up and looked at again, with a time-out of its own.
    pub comes_and_goes: bool,
}

/// Reads a sequence.
pub struct Sequence<'a> {
    rest: &'a [u8],
    now_ns: i64,
    /// By how much the wall clock was stepped.
    stepped_ns: i64,
    /// Hosts, transmit and receive timestamp of the last request.
    asked: (u8, [NtpTimestamp; 2]),
    /// Addresses, ports and payload of the last datagram, for what quotes it.
    last: Option<NtpEvent>,
}

impl Settings {
    /// Takes them from the front.
    pub fn read(octets: &[u8]) -> (Self, &[u8]) {
        let (&choice, rest) = octets.split_first().unwrap_or((&0, &[]));
        let settings = Self {
            max_pending: [4, 12, 40, 4096][usize::from(choice & 3)],
            max_associations: [1, 64][usize::from(choice >> 2 & 1)],
            deduplicates: choice & 8 != 0,
            synchronised: choice & 16 != 0,
            has_just_started: choice & 0xe0 == 0,
            comes_and_goes: choice & 0xc0 == 0x40,
        };
        (settings, rest)
    }
}

impl<'a> Sequence<'a> {
    /// Of these octets.
    pub fn new(rest: &'a [u8]) -> Self {
        Self {
            rest,
            now_ns: 1_000 * S,
            stepped_ns: 0,
            asked: (0, [NtpTimestamp(0); 2]),
            last: None,
        }
    }

    fn wall_ns(&self) -> u64 {
        EPOCH_NS.wrapping_add_signed(self.now_ns + self.stepped_ns)
    }

    /// One of few timestamps: nothing, cookies, a constant of whole seconds, what was asked last, and times
    /// near the sensor's.
    fn timestamp(&self, choice: u8) -> NtpTimestamp {
        let now = |by_ns: i64| {
            NtpTimestamp::from_unix_ns(self.wall_ns().wrapping_add_signed(by_ns) as i64)
        };
        match choice & 15 {
            0 => NtpTimestamp(0),
            cookie @ 1..=4 => NtpTimestamp(u64::from(cookie).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            5 => NtpTimestamp(0x83aa_7e80_0000_0000),
            6 | 7 => self.asked.1[0],
            8 | 9 => self.asked.1[1],
            10 => now(0),
            11 => now(-20 * US),
            12 => now(-MS),
            13 => now(S),
            14 => now(86_400 * S),
            _ => NtpTimestamp(u64::MAX),
        }
    }

    fn payload(&mut self, octets: &[u8; STEP]) -> Vec<u8> {
        let [_, hosts, first, shape, stamps, more, at, extent] = *octets;
        let version = [4, 4, 4, 4, 3, 1, 5, 7][usize::from(shape & 7)];
        // Every fourth has a leap indicator.
        let leap = if first & 0x30 == 0 { first & 0xc0 } else { 0 };
        let first = leap | version << 3 | MODES[usize::from(first & 15)];
        let mut payload = vec![0; 48];
        payload[0] = first;
        if first & 7 >= 6 {
            payload[1] = stamps & 0xe3;
            payload[2..8].copy_from_slice(&[0, more & 1, 0, 0, 0, 0]);
            payload[8..12].copy_from_slice(&[0, at & 3, 0, extent & 3]);
            return payload;
        }
        payload[1] = [2, 2, 0, 16][usize::from(shape >> 6)];
        payload[2] = [6, 4, 0x7f, 0x80][usize::from(at & 3)];
        payload[3] = [0x20, 0xe9][usize::from(at >> 2 & 1)];
        payload[4..8].copy_from_slice(&[extent & 0xc0, at, 0, 1]);
        payload[12..16].copy_from_slice(
            [b"RATE", &[127, 127, 1, 1], b"\0\0\0\0", b"X\x01\0\0"][usize::from(extent & 3)],
        );
        let chosen = [
            (16, extent >> 2),
            (24, stamps >> 4),
            (32, more),
            (40, stamps),
        ];
        for (at, choice) in chosen {
            let timestamp = self.timestamp(choice);
            payload[at..at + 8].copy_from_slice(&timestamp.0.to_be_bytes());
        }
        if first & 7 == 3 {
            self.asked = (hosts, [self.timestamp(stamps), self.timestamp(more)]);
        }
        // A unique identifier, a cookie, a MAC; or the payload ends early.
        match shape >> 3 & 7 {
            0 => payload.extend(field(0x0104, 36, more >> 4 & 1)),
            1 => {
                payload.extend(field(0x0104, 36, more >> 4 & 1));
                payload.extend(field(0x0204, 28, more));
            }
            2 => payload.extend([7; 20]),
            3 => payload.truncate(usize::from(at) % 48),
            _ => {}
        }
        payload
    }

    fn datagram(&mut self, octets: &[u8; STEP]) -> NtpEvent {
        let [_, mut hosts, _, _, stamps, ..] = *octets;
        let payload = self.payload(octets);
        let mode = payload.first().map_or(3, |first| first & 7);
        // Most answers go where the last question came from.
        if mode == 4 && stamps & 12 != 0 {
            hosts = self.asked.0;
        }
        let client = (
            [192, 0, 2, 1 + (hosts & 1)],
            [40_000, 40_001, 123, 50][usize::from(hosts >> 1 & 3)],
        );
        let server = ([198, 51, 100, 1 + u8::from(hosts & 0x38 == 0)], 123);
        let from_server = match mode {
            4 => true,
            3 => false,
            _ => hosts & 0x40 != 0,
        };
        let (source, destination) = if from_server {
            (server, client)
        } else {
            (client, server)
        };
        let captured = payload.len().min(MAX_PAYLOAD);
        let mut event = NtpEvent {
            captured_at_ns: 0,
            captured_at_tai_ns: 0,
            received_at_unix_ns: 0,
            ifindex: 1 + u32::from(hosts & 0x80 != 0),
            frame_length: 90,
            source: widened(source.0),
            destination: widened(destination.0),
            source_port: source.1,
            destination_port: destination.1,
            payload_length: payload.len() as u16,
            captured_length: captured as u16,
            vlan: u16::from(hosts & 0xb8 == 0x80),
            inner_vlan: 0,
            ip_version: 4,
            ttl: 64 - (hosts >> 6),
            direction: if from_server {
                Direction::Ingress
            } else {
                Direction::Egress
            } as u8,
            kind: EventKind::Datagram as u8,
            payload: [0; MAX_PAYLOAD],
        };
        event.payload[..captured].copy_from_slice(&payload[..captured]);
        event
    }

    /// ICMP's *port unreachable* about an earlier datagram.
    fn refusal(last: &NtpEvent, whole: bool) -> NtpEvent {
        let mut message = vec![
            3, 3, 0, 0, 0, 0, 0, 0, 0x45, 0, 0, 76, 0, 0, 0, 0, 64, 17, 0, 0,
        ];
        message.extend(&last.source[..4]);
        message.extend(&last.destination[..4]);
        message.extend(last.source_port.to_be_bytes());
        message.extend(last.destination_port.to_be_bytes());
        message.extend([0, 56, 0, 0]);
        if whole {
            message.extend(last.payload());
        }
        message.truncate(MAX_PAYLOAD);
        let mut event = NtpEvent {
            source: last.destination,
            destination: last.source,
            source_port: 0,
            destination_port: 0,
            payload_length: message.len() as u16,
            captured_length: message.len() as u16,
            kind: EventKind::Refusal as u8,
            payload: [0; MAX_PAYLOAD],
            ..last.clone()
        };
        event.payload[..message.len()].copy_from_slice(&message);
        event
    }
}

impl Iterator for Sequence<'_> {
    type Item = NtpEvent;

    fn next(&mut self) -> Option<NtpEvent> {
        let (octets, rest) = self.rest.split_first_chunk::<STEP>()?;
        self.rest = rest;
        let pause_ns = PAUSES_NS[usize::from(octets[0] & 15)];
        self.now_ns = (self.now_ns + pause_ns).max(1);
        // The last datagram once more, an error about it, a step of the wall clock, an hour; or a new one.
        let mut event = match (octets[0] >> 4, self.last.take()) {
            (0, Some(mut last)) => {
                last.ifindex = 1 + u32::from(octets[1] & 1);
                last
            }
            (1, Some(last)) => {
                let refusal = Self::refusal(&last, octets[1] & 1 != 0);
                self.last = Some(last);
                return Some(self.stamped(refusal));
            }
            (3, _) if octets[1] & 7 == 0 => {
                self.now_ns += 3600 * S;
                self.datagram(octets)
            }
            (2, _) => {
                self.stepped_ns += if octets[1] & 1 == 0 { S } else { -S };
                self.datagram(octets)
            }
            _ => self.datagram(octets),
        };
        event = self.stamped(event);
        self.last = Some(event.clone());
        Some(event)
    }
}

impl Sequence<'_> {
    fn stamped(&self, event: NtpEvent) -> NtpEvent {
        NtpEvent {
            captured_at_ns: self.now_ns as u64,
            captured_at_tai_ns: self.wall_ns(),
            ..event
        }
    }
}

fn field(kind: u16, length: u16, fill: u8) -> Vec<u8> {
    let mut field = [kind.to_be_bytes(), length.to_be_bytes()].concat();
    field.resize(length.into(), fill);
    field
}

fn widened([a, b, c, d]: [u8; 4]) -> [u8; 16] {
    let mut octets = [0; 16];
    octets[..4].copy_from_slice(&[a, b, c, d]);
    octets
}
