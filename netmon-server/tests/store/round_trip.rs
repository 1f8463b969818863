//! Every column comes back as it was sent, also where it is null.

use netmon_common::wire::{
    ClockState, DirectionDeltas, NtpClientView, NtpControl, NtpExchange, NtpMatch, NtpPacket,
    NtpRefusal, NtpVantage,
};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::{
    batch::{SECOND_NS, answered, batch, frame, now_ns, packet},
    database::store,
};

/// The rows of a query, each as JSON; times as microseconds since 1970.
async fn rows(pool: &PgPool, query: &str) -> Vec<Value> {
    let rows: Vec<String> =
        sqlx::query_scalar(&format!("SELECT to_jsonb(r)::text FROM ({query}) r"))
            .fetch_all(pool)
            .await
            .unwrap();
    rows.iter()
        .map(|row| serde_json::from_str(row).unwrap())
        .collect()
}

const FRAMES: &str = "SELECT *, (extract(epoch FROM started_at) * 1000000)::bigint AS started_at_us
    FROM bandwidth_stats ORDER BY started_at";
const EXCHANGES: &str = "SELECT *, (extract(epoch FROM at) * 1000000)::bigint AS at_us
    FROM ntp_exchanges ORDER BY ordinal";

/// Removes the columns whose text form depends on the session, after their number was compared.
fn without<const N: usize>(mut row: Value, columns: [&str; N]) -> Value {
    columns
        .iter()
        .for_each(|column| drop(row.as_object_mut().unwrap().remove(*column)));
    row
}

#[tokio::test]
async fn every_column_of_a_frame_comes_back() {
    let (store, pool, agent) = store().await;
    let at = now_ns();
    let mut full = frame("eth0", at);
    let wire = |packets, bytes, wire_packets, wire_bytes| {
        Some(DirectionDeltas {
            packets,
            bytes,
            wire_packets,
            wire_bytes,
        })
    };
    full.ingress = wire(
        vec![i32::MAX as u64, 0],
        vec![(5 << 31) + 3, 0],
        vec![9, 8],
        vec![7, 6],
    );
    full.egress = wire(vec![1, 2], vec![3, 4], vec![5, 6], vec![7, 8]);
    full.flags = vec![0, 4];
    let mut bare = frame("eth0", at + SECOND_NS);
    // All zero means that none is flagged.
    bare.flags = vec![0, 0];
    let mut batch = batch(9);
    batch.epoch = 77;
    batch.bandwidth = vec![full, bare];
    store
        .commit(&store.validate(agent, &batch).unwrap())
        .await
        .unwrap();

    let got: Vec<_> = rows(&pool, FRAMES)
        .await
        .into_iter()
        .map(|row| without(row, ["started_at"]))
        .collect();
    let common = json!({
        "agent_id": agent.to_bigint(), "interface": "eth0", "epoch": 77, "sequence": 9,
        "ifindex": 2, "attachment": 7, "interval_us": [500_000, 500_001],
        "ingress_total_packets": 10, "ingress_total_bytes": 1000,
        "egress_total_packets": 10, "egress_total_bytes": 1000,
    });
    let with = |more: Value| {
        let mut row = common.clone();
        row.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        row
    };
    let full = with(json!({
        "started_at_us": at / 1000,
        "ingress_packets": [i32::MAX, 0], "ingress_bytes": [3, 0],
        "ingress_bytes_high": [5, 0], "egress_bytes_high": null,
        "egress_packets": [1, 2], "egress_bytes": [3, 4],
        "ingress_wire_packets": [9, 8], "ingress_wire_bytes": [7, 6],
        "egress_wire_packets": [5, 6], "egress_wire_bytes": [7, 8],
        "flags": [0, 4],
    }));
    let bare = with(json!({
        "started_at_us": (at + SECOND_NS) / 1000,
        "ingress_packets": [1, 2], "ingress_bytes": [100, 200],
        "egress_packets": [1, 2], "egress_bytes": [100, 200],
        "ingress_bytes_high": null, "egress_bytes_high": null,
        "ingress_wire_packets": null, "ingress_wire_bytes": null,
        "egress_wire_packets": null, "egress_wire_bytes": null,
        "flags": null,
    }));
    assert_eq!(got, [full, bare]);
}

#[tokio::test]
async fn every_column_of_an_exchange_comes_back() {
    let (store, pool, agent) = store().await;
    let at = now_ns();
    let full = NtpExchange {
        vlan: 4095,
        inner_vlan: 7,
        server_processing_ns: Some(i64::MIN),
        network_delay_ns: Some(i64::MAX),
        client_to_server_ns: Some(0),
        null_reason: "client_cookie".to_owned(),
        vantage: NtpVantage::Transit.into(),
        offset_error_ns: Some(11),
        client_offset_ns: Some(-12),
        client_delay_ns: Some(13),
        kiss_code: "RATE".to_owned(),
        answered_from: vec![198, 51, 100, 2],
        answered_from_port: 124,
        nts: true,
        request_extensions: vec![0x0104, 0x0204],
        response_extensions: vec![65_535],
        flags: 1023,
        root_distance_ns: Some(14),
        client_clock_ns: Some(-15),
        server_to_sensor_ns: Some(16),
        refusal: Some(NtpRefusal {
            icmp_type: 3,
            icmp_code: 10,
            from: vec![192, 0, 2, 254],
        }),
        client_view: Some(NtpClientView {
            requested_at_unix_ns: at - 1,
            offset_ns: -17,
            delay_ns: 18,
        }),
        response: Some(NtpPacket {
            mac_length: Some(4),
            key_id: Some(u32::MAX),
            crypto_nak: true,
            ..packet(4, 2)
        }),
        ..answered(1, at)
    };
    let mut v6 = [0_u8; 16];
    (v6[0], v6[1], v6[15]) = (0x20, 0x01, 1);
    // A response alone: nothing of a request.
    let bare = NtpExchange {
        interface: "eth0".to_owned(),
        r#match: NtpMatch::UnsolicitedResponse.into(),
        client: v6.to_vec(),
        client_port: 65_535,
        server: v6.to_vec(),
        answered_at_unix_ns: at,
        ..NtpExchange::default()
    };
    let mut batch = batch(9);
    batch.clock = None;
    batch.exchanges = vec![full, bare];
    store
        .commit(&store.validate(agent, &batch).unwrap())
        .await
        .unwrap();

    let got: Vec<_> = rows(&pool, EXCHANGES)
        .await
        .into_iter()
        .map(|row| without(row, ["at"]))
        .collect();
    let response = packet(4, 2);
    let mut full = json!({
        "agent_id": agent.to_bigint(), "at_us": at / 1000, "epoch": 1, "sequence": 9, "ordinal": 0,
        "interface": "eth0", "vlan": 4095, "inner_vlan": 7, "match": "basic",
        "client": "192.0.2.1", "client_port": 50_000,
        "server": "198.51.100.1", "server_port": 123,
        "requested_at_ns": at, "answered_at_ns": at + 1_000_000,
        "request_version": 4, "version": 4, "mode": 4, "leap": 1, "stratum": 2, "poll": 6,
        "precision": -23, "root_delay": 0xffff_ffff_u32, "root_dispersion": 7,
        "reference_id": 0xc0a8_0001_u32, "reference_timestamp": -1,
        "origin_timestamp": i64::MIN, "receive_timestamp": response.receive_timestamp,
        "transmit_timestamp": 42, "request_transmit_timestamp": 42,
        "request_length": 48, "response_length": 48, "request_ttl": 64, "response_ttl": 64,
        "response_time_ns": 1_000_000, "server_processing_ns": i64::MIN,
        "network_delay_ns": i64::MAX, "offset_ns": -5, "client_to_server_ns": 0,
        "null_reason": "client_cookie", "clock_synchronised": null,
    });
    let judged = json!({
        "vantage": "transit", "offset_error_ns": 11, "client_offset_ns": -12, "client_delay_ns": 13,
        "kiss_code": "RATE", "answered_from": "198.51.100.2", "answered_from_port": 124,
        "nts": true, "request_extensions": [0x0104, 0x0204], "response_extensions": [65_535],
        "flags": 1023, "root_distance_ns": 14, "client_clock_ns": -15, "server_to_sensor_ns": 16,
        "refusal_type": 3, "refusal_code": 10, "refused_by": "192.0.2.254",
        "view_requested_at_ns": at - 1, "view_offset_ns": -17, "view_delay_ns": 18,
        "request_mac_length": null, "response_mac_length": 4, "request_key_id": null,
        "response_key_id": u32::MAX, "crypto_nak": true, "clock_maximum_error_ns": null,
    });
    full.as_object_mut()
        .unwrap()
        .extend(judged.as_object().unwrap().clone());
    let mut bare = full.clone();
    for value in bare.as_object_mut().unwrap().values_mut() {
        *value = Value::Null;
    }
    bare.as_object_mut().unwrap().extend(
        json!({
            "agent_id": agent.to_bigint(), "at_us": at / 1000, "epoch": 1, "sequence": 9,
            "ordinal": 1, "interface": "eth0", "vlan": 0, "inner_vlan": 0,
            "match": "unsolicited_response", "client": "2001::1", "client_port": 65_535,
            "server": "2001::1", "server_port": 0, "answered_at_ns": at, "nts": false, "flags": 0,
        })
        .as_object()
        .unwrap()
        .clone(),
    );
    assert_eq!(got, [full, bare]);
}

#[tokio::test]
async fn what_the_sensors_clock_may_be_off_by_is_stored_with_each_exchange() {
    let (store, pool, agent) = store().await;
    let mut batch = batch(9);
    batch.clock = Some(ClockState {
        synchronised: true,
        maximum_error_us: 250,
        estimated_error_us: 20,
    });
    let rows_of_batch = store.validate(agent, &batch).unwrap();
    store.commit(&rows_of_batch).await.unwrap();
    let row = rows(&pool, EXCHANGES).await.remove(0);
    assert_eq!(row["clock_synchronised"], true);
    assert_eq!(row["clock_maximum_error_ns"], 250_000);
}

#[tokio::test]
async fn every_column_of_a_control_message_comes_back() {
    let (store, pool, agent) = store().await;
    let at = now_ns();
    let full = NtpControl {
        interface: "eth0".to_owned(),
        ifindex: 2,
        vlan: 7,
        inner_vlan: 8,
        client: vec![192, 0, 2, 1],
        client_port: 40_000,
        server: vec![198, 51, 100, 1],
        server_port: 123,
        mode: 6,
        version: 2,
        opcode: 10,
        sequence: 65_535,
        subject: 9,
        requested_at_unix_ns: at,
        answered_at_unix_ns: at + 1,
        ended_at_unix_ns: at + 2,
        request_packets: 1,
        request_octets: 12,
        response_packets: 13,
        response_octets: 3448,
        error: Some(5),
        status: 0x0615,
        items: 6,
        complete: true,
        authenticated: true,
        response_time_ns: Some(77),
        vantage: NtpVantage::Server.into(),
    };
    let mut batch = batch(9);
    batch.kind = 3;
    (batch.bandwidth, batch.exchanges) = (Vec::new(), Vec::new());
    batch.ntp_controls = vec![full];
    store
        .commit(&store.validate(agent, &batch).unwrap())
        .await
        .unwrap();
    let query = "SELECT *, (extract(epoch FROM at) * 1000000)::bigint AS at_us FROM ntp_control";
    let got = without(rows(&pool, query).await.remove(0), ["at"]);
    let expected = json!({
        "agent_id": agent.to_bigint(), "at_us": at / 1000, "epoch": 1, "sequence": 9, "ordinal": 0,
        "interface": "eth0", "vlan": 7, "inner_vlan": 8, "client": "192.0.2.1", "client_port": 40_000,
        "server": "198.51.100.1", "server_port": 123, "mode": 6, "version": 2, "opcode": 10,
        "message_sequence": 65_535, "subject": 9, "requested_at_ns": at, "answered_at_ns": at + 1,
        "ended_at_ns": at + 2, "request_packets": 1, "request_octets": 12, "response_packets": 13,
        "response_octets": 3448, "error": 5, "status": 0x0615, "items": 6, "complete": true,
        "authenticated": true, "response_time_ns": 77, "vantage": "server",
    });
    assert_eq!(got, expected);
}

#[tokio::test]
async fn a_match_that_only_a_newer_agent_knows_is_stored_as_unknown() {
    let (store, pool, agent) = store().await;
    let mut batch = batch(9);
    batch.exchanges[0].r#match = 99;
    store
        .commit(&store.validate(agent, &batch).unwrap())
        .await
        .unwrap();
    let matches = rows(&pool, "SELECT match FROM ntp_exchanges").await;
    assert_eq!(matches, [json!({"match": "unknown"})]);
    assert!(rows(&pool, "SELECT * FROM ntp_clients").await.is_empty());
}
