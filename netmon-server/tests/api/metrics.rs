//! `/metrics`.

use netmon_common::wire::{Counters, Live, LiveInterface};
use netmon_server::{agent_id::AgentId, live::Sent};

use crate::server::Server;

#[tokio::test]
async fn metrics_are_served_as_prometheus_text() {
    let server = Server::start().await;
    let total = Counters {
        packets: 7,
        bytes: 900,
        ..Counters::default()
    };
    let interface = LiveInterface {
        name: "eth0".to_owned(),
        ingress_total: Some(total),
        ..LiveInterface::default()
    };
    let live = Live {
        interfaces: vec![interface],
        ..Live::default()
    };
    server
        .live
        .record(AgentId::from_bigint(1), Sent::default(), live);
    let answer = server.get("/metrics").await;
    assert_eq!(
        answer.header("content-type"),
        "text/plain; version=0.0.4; charset=utf-8"
    );
    let line =
        "netmon_interface_ingress_bytes_total{agent=\"0000000000000001\",interface=\"eth0\"} 900";
    assert!(
        answer.text().lines().any(|l| l == line),
        "{}",
        answer.text()
    );
}
