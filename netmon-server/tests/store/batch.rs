//! Batches as an agent makes them.

use netmon_common::wire::{
    BandwidthFrame, Batch, ClockState, Counters, DirectionDeltas, Interface, NtpExchange, NtpMatch,
    NtpPacket,
};
use time::OffsetDateTime;

pub const SECOND_NS: i64 = 1_000_000_000;
pub const DAY_NS: i64 = 86_400 * SECOND_NS;

/// Bytes of each direction of one [`frame`].
pub const FRAME_BYTES: i64 = 300;

pub fn now_ns() -> i64 {
    OffsetDateTime::now_utc().unix_timestamp_nanos() as i64
}

/// A batch with one frame, one exchange and one interface.
pub fn batch(sequence: u64) -> Batch {
    let at = now_ns() + sequence as i64 * SECOND_NS;
    Batch {
        epoch: 1,
        sequence,
        sealed_at_unix_ns: at,
        interfaces: vec![interface("eth0")],
        bandwidth: vec![frame("eth0", at)],
        exchanges: vec![answered(1, at)],
        clock: Some(ClockState {
            synchronised: true,
            ..ClockState::default()
        }),
        ..Batch::default()
    }
}

pub fn interface(name: &str) -> Interface {
    Interface {
        ifindex: 2,
        name: name.to_owned(),
        mac: vec![2, 0, 0, 0, 0, 1],
        mtu: 1500,
        link_speed_bps: 1_000_000_000,
        monitored: true,
    }
}

/// Two samples.
pub fn frame(interface: &str, started_at_unix_ns: i64) -> BandwidthFrame {
    let deltas = DirectionDeltas {
        packets: vec![1, 2],
        bytes: vec![100, 200],
        ..Default::default()
    };
    let total = Counters {
        packets: 10,
        bytes: 1000,
        wire_packets: 11,
        wire_bytes: 1100,
    };
    BandwidthFrame {
        interface: interface.to_owned(),
        ifindex: 2,
        started_at_unix_ns,
        interval_us: vec![500_000, 500_001],
        ingress: Some(deltas.clone()),
        egress: Some(deltas),
        flags: Vec::new(),
        ingress_total: Some(total),
        egress_total: Some(total),
        attachment: 7,
    }
}

/// An exchange of client 192.0.2.`client` that was answered a millisecond later.
pub fn answered(client: u8, at: i64) -> NtpExchange {
    NtpExchange {
        r#match: NtpMatch::Basic.into(),
        answered_at_unix_ns: at + 1_000_000,
        response: Some(packet(4, 2)),
        response_time_ns: Some(1_000_000),
        offset_ns: Some(-5),
        null_reason: String::new(),
        ..unanswered(client, at)
    }
}

pub fn unanswered(client: u8, at: i64) -> NtpExchange {
    NtpExchange {
        interface: "eth0".to_owned(),
        ifindex: 2,
        r#match: NtpMatch::Unanswered.into(),
        client: vec![192, 0, 2, client],
        client_port: 50_000,
        server: vec![198, 51, 100, 1],
        server_port: 123,
        requested_at_unix_ns: at,
        request: Some(packet(3, 0)),
        null_reason: "unanswered".to_owned(),
        ..NtpExchange::default()
    }
}

pub fn packet(mode: u32, stratum: u32) -> NtpPacket {
    NtpPacket {
        leap: 1,
        version: 4,
        mode,
        stratum,
        poll: 6,
        precision: -23,
        root_delay: 0xffff_ffff,
        root_dispersion: 7,
        reference_id: 0xc0a8_0001,
        reference_timestamp: u64::MAX,
        origin_timestamp: 1 << 63,
        receive_timestamp: 0x0102_0304_0506_0708,
        transmit_timestamp: 42,
        length: 48,
        ttl: 64,
        ..NtpPacket::default()
    }
}
