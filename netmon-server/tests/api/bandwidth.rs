//! `…/bandwidth`, of an interface and of an agent.

use serde_json::{Value, json};
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};

use crate::server::Server;

/// A frame as PostgreSQL writes arrays; `NULL` is as in the table.
struct Frame {
    interface: &'static str,
    started_at: String,
    interval_us: &'static str,
    ingress: [&'static str; 2],
    egress: [&'static str; 2],
    ingress_wire: Option<[&'static str; 2]>,
    flags: Option<&'static str>,
}

impl Default for Frame {
    fn default() -> Self {
        Self {
            interface: "eth0",
            started_at: "2026-11-20 10:00:00Z".to_owned(),
            interval_us: "{1000000}",
            ingress: ["{0}", "{0}"],
            egress: ["{0}", "{0}"],
            ingress_wire: None,
            flags: None,
        }
    }
}

impl Frame {
    async fn store(self, server: &Server) {
        let quoted = |array: Option<&str>| match array {
            Some(array) => format!("'{array}'"),
            None => "NULL".to_owned(),
        };
        // Octets are stored in two columns: the lower 31 bits, and what is above.
        let part = |array: &str, bits: &str| {
            format!("ARRAY(SELECT (b {bits})::int4 FROM unnest('{array}'::int8[]) b)")
        };
        let wire = self.ingress_wire;
        server
            .sql(&format!(
                "INSERT INTO bandwidth_stats (agent_id, interface, started_at, epoch, sequence, \
                 ifindex, attachment, interval_us, ingress_packets, ingress_bytes, egress_packets, \
                 egress_bytes, ingress_bytes_high, ingress_wire_packets, ingress_wire_bytes, flags, \
                 ingress_total_packets, ingress_total_bytes, egress_total_packets, \
                 egress_total_bytes) VALUES (1, '{}', '{}', 1, 1, 2, 1, '{}', '{}', {}, '{}', {}, \
                 {}, {}, {}, {}, 0, 0, 0, 0)",
                self.interface,
                self.started_at,
                self.interval_us,
                self.ingress[0],
                part(self.ingress[1], "& 2147483647"),
                self.egress[0],
                part(self.egress[1], "& 2147483647"),
                part(self.ingress[1], ">> 31"),
                quoted(wire.map(|wire| wire[0])),
                quoted(wire.map(|wire| wire[1])),
                quoted(self.flags),
            ))
            .await;
    }
}

async fn server() -> Server {
    let server = Server::start().await;
    server.days(&["2026-11-19", "2026-11-20"]).await;
    server.agent(1, "edge").await;
    server.interface(1, "eth0").await;
    server.interface(1, "eth1").await;
    server
}

/// Sums and rates of a direction in which everything travelled as it was counted.
fn direction(
    bytes: i64,
    packets: i64,
    bits_per_second: f64,
    packets_per_second: f64,
    peak_bits_per_second: f64,
) -> Value {
    json!({
        "peak_bits_per_second": peak_bits_per_second,
        "bytes": bytes,
        "packets": packets,
        "wire_bytes": bytes,
        "wire_packets": packets,
        "bits_per_second": bits_per_second,
        "packets_per_second": packets_per_second,
        "wire_bits_per_second": bits_per_second,
        "wire_packets_per_second": packets_per_second,
        "average_packet_bytes": if packets == 0 { Value::Null } else { json!(1000.0) },
    })
}

const ETH0: &str = "/api/v1/agents/edge/interfaces/eth0/bandwidth?\
                    from=2026-11-20T10:00:00Z&to=2026-11-20T10:00:10Z&step=1s";

#[tokio::test]
async fn sums_count_every_sample_and_rates_only_unflagged_ones() {
    let server = server().await;
    Frame {
        interval_us: "{500000,500000,500000,500000}",
        ingress: ["{1,2,3,4}", "{1000,2000,3000,4000}"],
        egress: ["{1,0,0,0}", "{1000,0,0,0}"],
        flags: Some("{0,0,2,0}"),
        ..Frame::default()
    }
    .store(&server)
    .await;
    let expected = json!({
        "agent": "0000000000000001",
        "agent_alias": "edge",
        "interface": "eth0",
        "from": "2026-11-20T10:00:00Z",
        "to": "2026-11-20T10:00:10Z",
        "step_ms": 1000,
        "resolution": "raw",
        "sources": [{
            "resolution": "raw",
            "from": "2026-11-20T10:00:00Z",
            "to": "2026-11-20T10:00:10Z",
        }],
        "items": [
            {
                "at": "2026-11-20T10:00:00Z",
                "ingress": direction(3000, 3, 24_000.0, 3.0, 32_000.0),
                "egress": direction(1000, 1, 8_000.0, 1.0, 16_000.0),
                "samples": 2,
                "flagged": 0,
            },
            {
                "at": "2026-11-20T10:00:01Z",
                "ingress": direction(7000, 7, 64_000.0, 8.0, 64_000.0),
                "egress": direction(0, 0, 0.0, 0.0, 0.0),
                "samples": 2,
                "flagged": 1,
            },
        ],
        "next_cursor": null,
    });
    assert_eq!(server.json(ETH0).await, expected);
}

#[tokio::test]
async fn a_gap_is_absent_and_never_zero() {
    let server = server().await;
    for at in ["10:00:00", "10:00:04"] {
        let started_at = format!("2026-11-20 {at}Z");
        Frame {
            started_at,
            ..Frame::default()
        }
        .store(&server)
        .await;
    }
    let items = server.json(ETH0).await["items"].take();
    let at: Vec<_> = items
        .as_array()
        .unwrap()
        .iter()
        .map(|point| point["at"].clone())
        .collect();
    assert_eq!(at, ["2026-11-20T10:00:00Z", "2026-11-20T10:00:04Z"]);
}

#[tokio::test]
async fn nothing_stored_is_an_empty_list() {
    let server = server().await;
    assert_eq!(server.json(ETH0).await["items"], json!([]));
}

#[tokio::test]
async fn the_average_packet_size_is_that_on_the_wire() {
    let server = server().await;
    Frame {
        ingress: ["{2}", "{3000}"],
        ingress_wire: Some(["{4}", "{3108}"]),
        ..Frame::default()
    }
    .store(&server)
    .await;
    let expected = json!({
        "bytes": 3000,
        "packets": 2,
        "wire_bytes": 3108,
        "wire_packets": 4,
        "bits_per_second": 24_000.0,
        "packets_per_second": 2.0,
        "wire_bits_per_second": 24_864.0,
        "wire_packets_per_second": 4.0,
        "peak_bits_per_second": 24_000.0,
        "average_packet_bytes": 777.0,
    });
    assert_eq!(server.json(ETH0).await["items"][0]["ingress"], expected);
}

#[tokio::test]
async fn a_point_of_flagged_samples_only_has_sums_and_no_rates() {
    let server = server().await;
    Frame {
        ingress: ["{5}", "{5000}"],
        flags: Some("{1}"),
        ..Frame::default()
    }
    .store(&server)
    .await;
    let expected = json!({
        "bytes": 5000,
        "packets": 5,
        "wire_bytes": 5000,
        "wire_packets": 5,
        "bits_per_second": null,
        "packets_per_second": null,
        "wire_bits_per_second": null,
        "wire_packets_per_second": null,
        "peak_bits_per_second": null,
        "average_packet_bytes": null,
    });
    let point = &server.json(ETH0).await["items"][0];
    assert_eq!(point["ingress"], expected);
    assert_eq!(
        (&point["samples"], &point["flagged"]),
        (&json!(1), &json!(1))
    );
}

#[tokio::test]
async fn samples_are_cut_at_both_ends_of_the_range() {
    let server = server().await;
    // Before midnight, so that the frame lies in the partition of the day before.
    Frame {
        started_at: "2026-11-19 23:59:58Z".to_owned(),
        interval_us: "{1000000,1000000,1000000,1000000}",
        ingress: ["{1,1,1,1}", "{1,20,300,4000}"],
        egress: ["{0,0,0,0}", "{0,0,0,0}"],
        ..Frame::default()
    }
    .store(&server)
    .await;
    for (from, to, points) in [
        (
            "2026-11-19T23:59:58Z",
            "2026-11-20T00:00:02Z",
            vec![1, 20, 300, 4000],
        ),
        (
            "2026-11-19T23:59:58.000001Z",
            "2026-11-20T00:00:01.000001Z",
            vec![20, 300, 4000],
        ),
        ("2026-11-20T00:00:00Z", "2026-11-20T00:00:01Z", vec![300]),
        (
            "2026-11-20T01:00:01%2B01:00",
            "2026-11-20T02:00:00%2B01:00",
            vec![4000],
        ),
        ("2026-11-20T00:00:02Z", "2026-11-20T00:00:03Z", vec![]),
    ] {
        let uri = "/api/v1/agents/edge/interfaces/eth0/bandwidth?step=1s";
        let items = server.json(&format!("{uri}&from={from}&to={to}")).await["items"].take();
        let items = items.as_array().unwrap().iter();
        let bytes: Vec<_> = items
            .map(|point| point["ingress"]["bytes"].as_i64().unwrap())
            .collect();
        assert_eq!(bytes, points, "{from} {to}");
    }
}

#[tokio::test]
async fn points_begin_at_multiples_of_the_step() {
    let server = server().await;
    for at in ["10:00:07", "10:00:12", "10:00:19.999999", "10:00:20"] {
        let started_at = format!("2026-11-20 {at}Z");
        Frame {
            started_at,
            ..Frame::default()
        }
        .store(&server)
        .await;
    }
    let uri = "/api/v1/agents/edge/interfaces/eth0/bandwidth?\
               from=2026-11-20T10:00:05Z&to=2026-11-20T10:00:30Z&step=10s";
    let items = server.json(uri).await["items"].take();
    let points: Vec<_> = items
        .as_array()
        .unwrap()
        .iter()
        .map(|point| (point["at"].clone(), point["samples"].clone()))
        .collect();
    let expected = [("10:00:00", 1), ("10:00:10", 2), ("10:00:20", 1)]
        .map(|(at, samples)| (json!(format!("2026-11-20T{at}Z")), json!(samples)));
    assert_eq!(points, expected);
}

#[tokio::test]
async fn an_agent_sums_the_rates_of_its_interfaces_each_over_its_own_time() {
    let server = server().await;
    Frame {
        ingress: ["{1}", "{1000}"],
        ..Frame::default()
    }
    .store(&server)
    .await;
    Frame {
        interface: "eth1",
        interval_us: "{500000,500000}",
        ingress: ["{1,9}", "{1000,9000}"],
        egress: ["{0,0}", "{0,0}"],
        flags: Some("{0,2}"),
        ..Frame::default()
    }
    .store(&server)
    .await;
    let uri = "/api/v1/agents/edge/bandwidth?\
               from=2026-11-20T10:00:00Z&to=2026-11-20T10:00:10Z&step=10s";
    let expected = json!({
        "agent": "0000000000000001",
        "agent_alias": "edge",
        "from": "2026-11-20T10:00:00Z",
        "to": "2026-11-20T10:00:10Z",
        "step_ms": 10_000,
        "resolution": "raw",
        "sources": [{
            "resolution": "raw",
            "from": "2026-11-20T10:00:00Z",
            "to": "2026-11-20T10:00:10Z",
        }],
        "items": [{
            "at": "2026-11-20T10:00:00Z",
            "ingress": direction(11_000, 11, 24_000.0, 3.0, 16_000.0),
            "egress": direction(0, 0, 0.0, 0.0, 0.0),
            "samples": 3,
            "flagged": 1,
        }],
        "next_cursor": null,
    });
    assert_eq!(server.json(uri).await, expected);
}

#[tokio::test]
async fn the_default_is_the_last_hour_in_points_of_5_seconds() {
    let server = Server::start().await;
    server.agent(1, "edge").await;
    server.interface(1, "eth0").await;
    let now = OffsetDateTime::now_utc();
    let day = |time: OffsetDateTime| time.date().to_string();
    let (then, today) = (day(now - Duration::HOUR), day(now));
    server.days(&[&then]).await;
    if today != then {
        server.days(&[&today]).await;
    }
    for minutes in [10, 70] {
        let started_at = (now - Duration::minutes(minutes)).format(&Rfc3339).unwrap();
        Frame {
            started_at,
            ..Frame::default()
        }
        .store(&server)
        .await;
    }
    let answer = server.json("/api/v1/agents/edge/bandwidth").await;
    assert_eq!(answer["step_ms"], 5000);
    assert_eq!(answer["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn absurd_counts_saturate_instead_of_failing() {
    let server = server().await;
    Frame {
        interval_us: "{0,0,1000}",
        ingress: [
            "{1,1,1}",
            "{4611686018427387903,4611686018427387903,4611686018427387903}",
        ],
        egress: ["{0,0,0}", "{0,0,0}"],
        ..Frame::default()
    }
    .store(&server)
    .await;
    let point = server.json(ETH0).await["items"][0].take();
    assert_eq!(point["ingress"]["bytes"], i64::MAX);
}
