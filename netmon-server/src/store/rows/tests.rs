use std::time::Duration;

use netmon_common::wire::{
    BandwidthFrame, Batch, Counters, DirectionDeltas, Interface, NtpExchange, NtpMatch, NtpPacket,
};
use time::OffsetDateTime;

use super::{RAW, Rows, Window};
use crate::agent_id::AgentId;

const NOW_NS: i64 = 1_800_000_000_000_000_000;

fn window() -> Window {
    let now = OffsetDateTime::from_unix_timestamp_nanos(i128::from(NOW_NS)).unwrap();
    Window::around(now, Duration::from_secs(7 * 86_400))
}

fn valid() -> Batch {
    let deltas = DirectionDeltas {
        packets: vec![1, 2],
        bytes: vec![60, 120],
        ..Default::default()
    };
    let packet = NtpPacket {
        version: 4,
        mode: 3,
        length: 48,
        ttl: 64,
        ..Default::default()
    };
    Batch {
        epoch: 1,
        sequence: 1,
        sealed_at_unix_ns: NOW_NS,
        interfaces: vec![Interface {
            name: "eth0".into(),
            ifindex: 2,
            mac: vec![2, 0, 0, 0, 0, 1],
            mtu: 1500,
            ..Default::default()
        }],
        bandwidth: vec![BandwidthFrame {
            interface: "eth0".into(),
            ifindex: 2,
            started_at_unix_ns: NOW_NS,
            interval_us: vec![500_000, 500_000],
            ingress: Some(deltas.clone()),
            egress: Some(deltas),
            ingress_total: Some(Counters::default()),
            egress_total: Some(Counters::default()),
            ..Default::default()
        }],
        exchanges: vec![NtpExchange {
            interface: "eth0".into(),
            r#match: NtpMatch::Unanswered.into(),
            client: vec![192, 0, 2, 1],
            client_port: 50_000,
            server: vec![192, 0, 2, 2],
            server_port: 123,
            requested_at_unix_ns: NOW_NS,
            request: Some(packet),
            null_reason: "unanswered".into(),
            ..Default::default()
        }],
        ..Batch::default()
    }
}

fn refusal(spoil: impl FnOnce(&mut Batch)) -> String {
    let mut batch = valid();
    spoil(&mut batch);
    Rows::new(AgentId::from_bigint(1), &batch, window())
        .unwrap_err()
        .to_string()
}

#[test]
fn a_valid_batch_becomes_rows() {
    let rows = Rows::new(AgentId::from_bigint(1), &valid(), window()).unwrap();
    assert_eq!(
        RAW.map(|series| rows.rows_of(0, series)),
        [1, 1, 0, 0, 0],
        "{rows:?}"
    );
    assert_eq!(
        (rows.interfaces.len(), rows.sightings.len(), rows.days.len()),
        (2, 1, 2)
    );
}

#[test]
fn one_bad_field_refuses_the_batch_and_is_named() {
    type Spoil = fn(&mut Batch);
    let cases: &[(&str, Spoil)] = &[
        ("sequence: ", |b| b.sequence = 0),
        ("epoch: ", |b| b.epoch = u64::MAX),
        ("sealed_at_unix_ns: ", |b| b.sealed_at_unix_ns = 0),
        ("interfaces[0].name: ", |b| b.interfaces[0].name.clear()),
        ("interfaces[0].mac: ", |b| b.interfaces[0].mac = vec![1]),
        ("interfaces[0].link_speed_bps: ", |b| {
            b.interfaces[0].link_speed_bps = u64::MAX
        }),
        ("bandwidth[0].interface: ", |b| {
            b.bandwidth[0].interface = "a/b".into()
        }),
        ("bandwidth[0].interface: ", |b| {
            b.bandwidth[0].interface = "a\0b".into()
        }),
        ("bandwidth[0].started_at_unix_ns: ", |b| {
            b.bandwidth[0].started_at_unix_ns = NOW_NS + 2 * 86_400_000_000_000;
        }),
        ("bandwidth[0].started_at_unix_ns: ", |b| {
            b.bandwidth[0].started_at_unix_ns = NOW_NS - 9 * 86_400_000_000_000;
        }),
        ("bandwidth[0].interval_us: ", |b| {
            b.bandwidth[0].interval_us.clear()
        }),
        ("bandwidth[0].interval_us: ", |b| {
            b.bandwidth[0].interval_us = vec![1; 61]
        }),
        ("bandwidth[0].interval_us[1]: ", |b| {
            b.bandwidth[0].interval_us[1] = u32::MAX
        }),
        ("bandwidth[0].ingress: ", |b| b.bandwidth[0].ingress = None),
        ("bandwidth[0].egress.packets: ", |b| {
            b.bandwidth[0].egress.as_mut().unwrap().packets.push(1);
        }),
        ("bandwidth[0].ingress.packets[1]: ", |b| {
            b.bandwidth[0].ingress.as_mut().unwrap().packets[1] = 1 << 31;
        }),
        ("bandwidth[0].ingress.bytes[0]: ", |b| {
            b.bandwidth[0].ingress.as_mut().unwrap().bytes[0] = 1 << 63;
        }),
        ("bandwidth[0].ingress.wire_bytes: ", |b| {
            b.bandwidth[0].ingress.as_mut().unwrap().wire_packets = vec![1, 2];
        }),
        ("bandwidth[0].flags: ", |b| b.bandwidth[0].flags = vec![1]),
        ("bandwidth[0].flags[0]: ", |b| {
            b.bandwidth[0].flags = vec![1 << 15, 0]
        }),
        ("bandwidth[0].egress_total.bytes: ", |b| {
            b.bandwidth[0].egress_total.as_mut().unwrap().bytes = u64::MAX;
        }),
        ("bandwidth[1]: ", |b| {
            b.bandwidth.push(b.bandwidth[0].clone())
        }),
        ("exchanges[0].match: ", |b| b.exchanges[0].r#match = 0),
        ("exchanges[0].match: ", |b| b.exchanges[0].r#match = -1),
        ("exchanges[0].flags: ", |b| b.exchanges[0].flags = 1 << 31),
        ("exchanges[0].root_distance_ns: ", |b| {
            b.exchanges[0].root_distance_ns = Some(u64::MAX);
        }),
        ("exchanges[0].client: ", |b| {
            b.exchanges[0].client = vec![1, 2, 3]
        }),
        ("exchanges[0].server: ", |b| {
            b.exchanges[0].server = vec![0; 16]
        }),
        ("exchanges[0].client_port: ", |b| {
            b.exchanges[0].client_port = 65_536
        }),
        ("exchanges[0].vlan: ", |b| b.exchanges[0].vlan = 4096),
        ("exchanges[0].requested_at_unix_ns: ", |b| {
            b.exchanges[0].requested_at_unix_ns = 0
        }),
        ("exchanges[0].requested_at_unix_ns: ", |b| {
            b.exchanges[0].requested_at_unix_ns = 1
        }),
        ("exchanges[0].request.stratum: ", |b| {
            b.exchanges[0].request.as_mut().unwrap().stratum = 256;
        }),
        ("exchanges[0].request.poll: ", |b| {
            b.exchanges[0].request.as_mut().unwrap().poll = 128;
        }),
        ("exchanges[0].null_reason: ", |b| {
            b.exchanges[0].null_reason = "\0".into()
        }),
    ];
    for (place, spoil) in cases {
        let message = refusal(spoil);
        assert!(
            message.starts_with(place),
            "{message:?} should name {place:?}"
        );
    }
}
