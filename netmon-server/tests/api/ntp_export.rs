//! Exports: whole, in each format, and a part of their rows at a time.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::ntp_search::server;

const EXPORT: &str = "/api/v1/ntp/export";

#[tokio::test]
async fn every_format_holds_the_same_rows() {
    let server = server().await;
    let filter = json!({"agent": "core"});
    let body = |format: &str| json!({"format": format, "filter": filter});
    let json = server.post(EXPORT, &body("json")).await;
    assert_eq!(json.header("content-type"), "application/json");
    assert_eq!(
        json.header("content-disposition"),
        "attachment; filename=\"ntp-clients.json\""
    );
    let rows = json.json();
    assert_eq!(rows.as_array().unwrap().len(), 5);

    let lines = server.post(EXPORT, &body("ndjson")).await;
    assert_eq!(lines.header("content-type"), "application/x-ndjson");
    let lines: Vec<Value> = lines
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(json!(lines), rows);

    let table = server.post(EXPORT, &body("csv")).await;
    let mut table = table.text().lines();
    let head: Vec<_> = table.next().unwrap().split(',').collect();
    let first: Vec<_> = table.next().unwrap().split(',').collect();
    assert_eq!(table.count(), 4);
    let row = rows[0].as_object().unwrap();
    assert_eq!(head.len(), row.len());
    for (field, cell) in head.iter().zip(first) {
        let expected = match &row[*field] {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        assert_eq!(cell, expected, "{field}");
    }
}

#[tokio::test]
async fn clients_and_exchanges_beyond_one_page_come_once_each() {
    let server = server().await;
    server.days(&["2026-11-19", "2026-11-20"]).await;
    server
        .sql(
            "INSERT INTO ntp_clients (agent_id, interface, client, server, client_port, server_port,
                 first_seen, last_seen, session_count, answered_count)
             SELECT 1, 'eth9', '10.0.0.0'::inet + n, '192.0.2.123', 1, 123, now(), now(), 1, 0
             FROM generate_series(1, 2500) n;
             INSERT INTO ntp_exchanges (agent_id, at, epoch, sequence, ordinal, interface, vlan,
                 inner_vlan, match, client, client_port, server, server_port)
             SELECT 1 + n % 2, timestamptz '2026-11-19 12:00Z' + n / 3 * interval '1 minute', 1, 1, n,
                 'eth0', 0, 0, 'basic', '192.0.2.1', n, '192.0.2.123', 123
             FROM generate_series(1, 4000) n WHERE n / 3 < 2000",
        )
        .await;
    let body = json!({"format": "ndjson", "filter": {"interface": "eth9"}});
    let clients = server.post(EXPORT, &body).await;
    let mut different: Vec<_> = clients.text().lines().collect();
    assert_eq!(different.len(), 2500);
    different.sort_unstable();
    different.dedup();
    assert_eq!(different.len(), 2500);

    let body = json!({"what": "exchanges", "format": "ndjson"});
    let exchanges = server.post(EXPORT, &body).await;
    let mut ports: Vec<i64> = exchanges
        .text()
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["client_port"]
                .as_i64()
                .unwrap()
        })
        .collect();
    ports.sort_unstable();
    assert_eq!(ports, (1..=4000).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_limit_ends_the_file_properly() {
    let server = server().await;
    for (limit, rows) in [(0, 0), (3, 3), (1000, 10)] {
        let body = json!({"limit": limit});
        let answer = server.post("/api/ntp/history/export", &body).await;
        assert_eq!(answer.json().as_array().unwrap().len(), rows, "{limit}");
    }
}

#[tokio::test]
async fn exchanges_have_every_field_of_their_head() {
    let server = server().await;
    server.days(&["2026-11-20"]).await;
    server
        .sql(
            "INSERT INTO ntp_exchanges (agent_id, at, epoch, sequence, ordinal, interface, vlan,
                 inner_vlan, match, client, client_port, server, server_port)
             VALUES (1, '2026-11-20 10:00Z', 1, 1, 1, 'eth0', 0, 0, 'basic', '192.0.2.1', 1,
                 '192.0.2.123', 123)",
        )
        .await;
    let of = async |format: &str| {
        let body = json!({"what": "exchanges", "format": format, "filter": {"match": "basic"}});
        server.post(EXPORT, &body).await
    };
    let table = of("csv").await;
    let mut head: Vec<_> = table.text().lines().next().unwrap().split(',').collect();
    head.sort_unstable();
    let row = of("json").await.json()[0].clone();
    let fields: Vec<_> = row.as_object().unwrap().keys().cloned().collect();
    assert_eq!(head, fields);
}

#[tokio::test]
async fn what_is_wrong_is_said_before_the_file_begins() {
    let server = server().await;
    for body in [
        json!({"format": "xml"}),
        json!({"filter": {"client": "x"}}),
        json!({"what": "exchanges", "filter": {"from": "yesterday"}}),
    ] {
        let answer = server.post(EXPORT, &body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}");
    }
}
