//! `/api/v1/agents/{agent}/live`.

use axum::http::StatusCode;
use netmon_common::wire::{Counters, Live, LiveInterface};
use netmon_server::{agent_id::AgentId, live::Sent};
use serde_json::json;

use crate::server::Server;

const URI: &str = "/api/v1/agents/edge/live";

fn counters(packets: u64, bytes: u64, wire_packets: u64, wire_bytes: u64) -> Option<Counters> {
    Some(Counters {
        packets,
        bytes,
        wire_packets,
        wire_bytes,
    })
}

#[tokio::test]
async fn without_a_frame_there_is_no_live_data() {
    let server = Server::start().await;
    server.agent(1, "edge").await;
    let answer = server.get(URI).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert_eq!(answer.json()["code"], "no_live_data");
}

#[tokio::test]
async fn a_frame_is_shown_with_rates_over_its_interval() {
    let server = Server::start().await;
    server.agent(1, "edge").await;
    let live = Live {
        at_unix_ns: 1_795_000_000_123_456_789,
        interfaces: vec![LiveInterface {
            name: "eth0".to_owned(),
            ifindex: 2,
            ingress: counters(10, 15_000, 20, 15_660),
            egress: counters(0, 0, 0, 0),
            ingress_total: counters(1000, 1_500_000, 2000, 1_566_000),
            egress_total: counters(5, 300, 5, 300),
            attach_mode: "tcx".to_owned(),
            ntp: None,
        }],
        ntp_packets: 8,
        ntp_exchanges: 4,
        ntp_unanswered: 1,
        losses: [("ring_full".to_owned(), 3), ("clock_step".to_owned(), 0)].into(),
        outbox_batches: 2,
        outbox_bytes: 4096,
        interval_us: 500_000,
        system: None,
        watch: None,
    };
    server
        .live
        .record(AgentId::from_bigint(1), Sent::default(), live);
    let expected = json!({
        "at": "2026-11-18T11:06:40.123456789Z",
        "interval_ms": 500,
        "interfaces": [{
            "name": "eth0",
            "ifindex": 2,
            "attach_mode": "tcx",
            "ingress": {
                "bits_per_second": 240_000.0,
                "packets_per_second": 20.0,
                "average_packet_bytes": 783.0,
                "packets_total": 1000,
                "bytes_total": 1_500_000,
            },
            "egress": {
                "bits_per_second": 0.0,
                "packets_per_second": 0.0,
                "average_packet_bytes": null,
                "packets_total": 5,
                "bytes_total": 300,
            },
        }],
        "ntp": {"packets_total": 8, "exchanges_total": 4, "unanswered_total": 1},
        "losses": {"clock_step": 0, "ring_full": 3},
        "outbox": {"batches": 2, "bytes": 4096},
    });
    assert_eq!(server.json(URI).await, expected);
}

#[tokio::test]
async fn a_frame_of_no_length_has_no_rates() {
    let server = Server::start().await;
    server.agent(1, "edge").await;
    let interface = LiveInterface {
        name: "eth0".to_owned(),
        ingress: counters(1, u64::MAX, 0, 0),
        ..LiveInterface::default()
    };
    let live = Live {
        interfaces: vec![interface],
        ..Live::default()
    };
    server
        .live
        .record(AgentId::from_bigint(1), Sent::default(), live);
    let ingress = &server.json(URI).await["interfaces"][0]["ingress"];
    assert_eq!(ingress["bits_per_second"], json!(null));
    assert_eq!(ingress["packets_per_second"], json!(null));
}
