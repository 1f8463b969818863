//! `/api/v1/ntp/exchanges`.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::server::Server;

const URI: &str = "/api/v1/ntp/exchanges?from=2026-11-19T00:00:00Z&to=2026-11-21T00:00:00Z";

/// A row that differs from others in what is given; `ordinal` tells rows of one moment apart.
async fn exchange(server: &Server, agent: i64, at: &str, ordinal: usize) {
    exchange_of(
        server,
        agent,
        at,
        ordinal,
        ["eth0", "basic", "192.0.2.1", "192.0.2.123"],
    )
    .await;
}

async fn exchange_of(server: &Server, agent: i64, at: &str, ordinal: usize, values: [&str; 4]) {
    let [interface, kind, client, ntp_server] = values;
    server
        .sql(&format!(
            "INSERT INTO ntp_exchanges (agent_id, at, epoch, sequence, ordinal, interface, vlan, \
             inner_vlan, match, client, client_port, server, server_port) VALUES ({agent}, '{at}', \
             1, 1, {ordinal}, '{interface}', 0, 0, '{kind}', '{client}', {ordinal}, \
             '{ntp_server}', 123)"
        ))
        .await;
}

async fn server() -> Server {
    let server = Server::start().await;
    server
        .days(&["2026-11-18", "2026-11-19", "2026-11-20"])
        .await;
    server.agent(1, "edge").await;
    server.agent(2, "core").await;
    server
}

/// Rows by the client's port, which the fixture sets to the ordinal.
fn ordinals(items: &[Value]) -> Vec<i64> {
    items
        .iter()
        .map(|item| item["client_port"].as_i64().unwrap())
        .collect()
}

#[tokio::test]
async fn an_exchange_is_shown_with_all_that_is_known_of_it() {
    let server = server().await;
    server
        .sql(
            "INSERT INTO ntp_exchanges (agent_id, at, epoch, sequence, ordinal, interface, vlan, \
             inner_vlan, match, client, client_port, server, server_port, requested_at_ns, \
             answered_at_ns, request_version, version, mode, leap, stratum, poll, \"precision\", \
             root_delay, root_dispersion, reference_id, reference_timestamp, origin_timestamp, \
             receive_timestamp, transmit_timestamp, request_transmit_timestamp, request_length, \
             response_length, request_ttl, response_ttl, response_time_ns, server_processing_ns, \
             network_delay_ns, offset_ns, client_to_server_ns, null_reason, clock_synchronised, \
             vantage, offset_error_ns, client_offset_ns, client_delay_ns, kiss_code, answered_from, \
             answered_from_port, nts, request_extensions, response_extensions, flags, \
             root_distance_ns, client_clock_ns, server_to_sensor_ns, refusal_type, refusal_code, \
             refused_by, view_requested_at_ns, view_offset_ns, view_delay_ns, request_mac_length, \
             response_mac_length, request_key_id, response_key_id, crypto_nak) \
             VALUES (1, '2026-11-20 10:00:00.123456Z', 1, 1, 0, 'eth0', \
             7, 0, 'basic', '192.0.2.1', 40000, '192.0.2.123', 123, 1795168800123456789, \
             1795168800124000000, 3, 4, 4, 0, 2, 6, -25, 98304, 65536, 2139029761, -1, 1, 2, 3, 4, \
             48, 68, 64, 63, 543211, 1000, 542211, -250000, 271105, NULL, true, 'client', 271105, -9, 10, \
             'RATE', '192.0.2.124', 124, true, '{260,516}', NULL, 513, 11, -12, 13, 3, 10, '192.0.2.254', \
             1795168800123456789, -14, 15, 0, 20, NULL, 7, false)",
        )
        .await;
    let expected = json!({
        "items": [{
            "agent": "0000000000000001",
            "agent_alias": "edge",
            "at": "2026-11-20T10:00:00.123456Z",
            "interface": "eth0",
            "vlan": 7,
            "inner_vlan": 0,
            "match": "basic",
            "client": "192.0.2.1",
            "client_port": 40000,
            "server": "192.0.2.123",
            "server_port": 123,
            "requested_at": "2026-11-20T10:00:00.123456789Z",
            "answered_at": "2026-11-20T10:00:00.124Z",
            "request_version": 3,
            "version": 4,
            "mode": 4,
            "leap": 0,
            "stratum": 2,
            "poll": 6,
            "precision": -25,
            "root_delay_seconds": 1.5,
            "root_dispersion_seconds": 1.0,
            "reference_id": "7f7f0101",
            "reference_timestamp": "ffffffffffffffff",
            "origin_timestamp": "0000000000000001",
            "receive_timestamp": "0000000000000002",
            "transmit_timestamp": "0000000000000003",
            "request_transmit_timestamp": "0000000000000004",
            "request_length": 48,
            "response_length": 68,
            "request_ttl": 64,
            "response_ttl": 63,
            "response_time_ns": 543_211,
            "server_processing_ns": 1000,
            "network_delay_ns": 542_211,
            "offset_ns": -250_000,
            "client_to_server_ns": 271_105,
            "null_reason": null,
            "clock_synchronised": true,
        }],
        "next_cursor": null,
        "folded": 0,
    });
    let mut got = server.json(URI).await;
    let item = got["items"][0].as_object_mut().unwrap();
    let judged: serde_json::Map<_, _> = item
        .keys()
        .filter(|key| expected["items"][0].get(key).is_none())
        .cloned()
        .collect::<Vec<_>>()
        .into_iter()
        .map(|key| (key.clone(), item.remove(&key).unwrap()))
        .collect();
    assert_eq!(got, expected);
    let expected = json!({
        "vantage": "client",
        "offset_error_ns": 271_105,
        "client_offset_ns": -9,
        "client_delay_ns": 10,
        "kiss_code": "RATE",
        "answered_from": "192.0.2.124",
        "answered_from_port": 124,
        "nts": true,
        "request_extensions": [260, 516],
        "response_extensions": null,
        "flags": 513,
        "root_distance_ns": 11,
        "client_clock_ns": -12,
        "server_to_sensor_ns": 13,
        "refusal_type": 3,
        "refusal_code": 10,
        "refused_by": "192.0.2.254",
        "view_requested_at": "2026-11-20T10:00:00.123456789Z",
        "view_offset_ns": -14,
        "view_delay_ns": 15,
        "request_mac_length": 0,
        "response_mac_length": 20,
        "request_key_id": null,
        "response_key_id": 7,
        "crypto_nak": false,
    });
    assert_eq!(Value::Object(judged), expected);
}

#[tokio::test]
async fn a_list_says_what_agents_counted_together_in_its_range() {
    let server = server().await;
    exchange(&server, 1, "2026-11-20 10:00:00Z", 5).await;
    exchange(&server, 1, "2026-11-20 10:00:01Z", 6).await;
    let fold = "INSERT INTO ntp_folds (agent_id, at, epoch, sequence, ordinal, last_at, interface, vlan,
             inner_vlan, client, server, exchanges, answered, response_time_sum_ns,
             server_processing_sum_ns, absolute_offset_sum_ns, metric, value, count)
         SELECT 1 + n % 2, timestamptz '2026-11-20 10:00Z' + n * interval '1 minute', 1, 1, n,
             '2026-11-20 10:30Z', 'eth0', 0, 0, ('192.0.2.' || n % 3)::inet, '192.0.2.123', 2, 0, 0, 0,
             0, '{1}', '{2}', '{2}' FROM generate_series(0, 11) n";
    server.sql(fold).await;
    for (filter, folded) in [
        ("", 12),
        ("&agent=edge", 6),
        ("&client=192.0.2.2", 4),
        ("&server=192.0.2.0/24&interface=eth0", 12),
        // Whether a fold holds such is not told.
        ("&match=basic", 12),
        ("&interface=eth1", 0),
    ] {
        let list = server.json(&format!("{URI}{filter}")).await;
        assert_eq!(list["folded"], folded, "{filter}");
    }
    let earlier = "/api/v1/ntp/exchanges?from=2026-11-19T00:00:00Z&to=2026-11-20T10:02:00Z";
    assert_eq!(server.json(earlier).await["folded"], 2);
    let first = server.json(&format!("{URI}&limit=1")).await;
    let cursor = first["next_cursor"].as_str().unwrap();
    let next = server.json(&format!("{URI}&limit=1&cursor={cursor}")).await;
    assert_eq!(next["folded"], Value::Null);
}

#[tokio::test]
async fn what_a_missing_response_would_have_said_is_null() {
    let server = server().await;
    exchange(&server, 1, "2026-11-20 10:00:00Z", 5).await;
    let item = server.json(URI).await["items"][0].take();
    let nulls = item
        .as_object()
        .unwrap()
        .values()
        .filter(|value| value.is_null())
        .count();
    assert_eq!(nulls, 28 + 25);
}

#[tokio::test]
async fn filters_narrow_the_list_together() {
    let server = server().await;
    let v4 = |interface, kind| [interface, kind, "192.0.2.1", "192.0.2.123"];
    let at = "2026-11-20 10:00:00Z";
    exchange_of(&server, 1, at, 1, v4("eth0", "basic")).await;
    exchange_of(&server, 1, at, 2, v4("eth1", "unanswered")).await;
    exchange_of(
        &server,
        2,
        at,
        3,
        ["eth0", "basic", "2001:db8::1", "2001:db8::123"],
    )
    .await;
    exchange_of(&server, 2, "2026-11-19 10:00:00Z", 4, v4("eth0", "late")).await;
    for (filter, expected) in [
        ("", vec![3, 2, 1, 4]),
        ("&agent=edge", vec![2, 1]),
        ("&agent=0000000000000002", vec![3, 4]),
        ("&interface=eth0", vec![3, 1, 4]),
        ("&match=unanswered", vec![2]),
        ("&match=superseded", vec![]),
        ("&client=192.0.2.1", vec![2, 1, 4]),
        ("&server=2001:db8::123", vec![3]),
        ("&client=192.0.2.1&match=basic", vec![1]),
        ("&match=basic,late", vec![3, 1, 4]),
        ("&client=192.0.0.0/16", vec![2, 1, 4]),
        ("&client=2001:db8::/32,192.0.2.1", vec![3, 2, 1, 4]),
        ("&stratum=2", vec![]),
        ("&offset_over_ns=0", vec![]),
    ] {
        let page = server.json(&format!("{URI}{filter}")).await;
        assert_eq!(
            ordinals(page["items"].as_array().unwrap()),
            expected,
            "{filter}"
        );
    }
}

#[tokio::test]
async fn the_range_includes_its_start_and_not_its_end() {
    let server = server().await;
    for (ordinal, at) in ["09:59:59.999999", "10:00:00", "10:59:59.999999", "11:00:00"]
        .iter()
        .enumerate()
    {
        exchange(&server, 1, &format!("2026-11-20 {at}Z"), ordinal).await;
    }
    for query in [
        "from=2026-11-20T10:00:00Z&to=2026-11-20T11:00:00Z",
        "to=2026-11-20T11:00:00Z",
    ] {
        let page = server.json(&format!("/api/v1/ntp/exchanges?{query}")).await;
        assert_eq!(
            ordinals(page["items"].as_array().unwrap()),
            [2, 1],
            "{query}"
        );
    }
}

#[tokio::test]
async fn pages_hold_each_exchange_once_while_others_are_added() {
    let server = server().await;
    // Two agents, three moments in two days, several rows of each moment.
    let moments = [
        "2026-11-20 10:00:00Z",
        "2026-11-20 09:00:00Z",
        "2026-11-19 22:00:00Z",
    ];
    for ordinal in 0..12 {
        exchange(
            &server,
            1 + ordinal as i64 % 2,
            moments[ordinal % 3],
            ordinal,
        )
        .await;
    }
    for limit in 1..=5 {
        let add = async |page: usize| {
            let ordinal = 1000 * limit + 2 * page;
            exchange(&server, 1, "2026-11-20 12:00:00Z", ordinal).await;
            exchange(&server, 2, "2026-11-19 23:00:00Z", ordinal + 1).await;
        };
        let pages = server.pages(&format!("{URI}&limit={limit}"), add).await;
        assert!(pages.iter().all(|page| page.len() <= limit));
        let seen = ordinals(&pages.concat());
        let distinct: BTreeSet<_> = seen.iter().copied().collect();
        assert_eq!(distinct.len(), seen.len(), "no row twice, limit {limit}");
        assert!(
            (0..12).all(|ordinal| distinct.contains(&ordinal)),
            "no row missing: {seen:?}"
        );
        let times: Vec<_> = pages
            .concat()
            .iter()
            .map(|item| item["at"].as_str().unwrap().to_owned())
            .collect();
        assert!(
            times.is_sorted_by(|newer, older| newer >= older),
            "newest first"
        );
        server
            .sql("DELETE FROM ntp_exchanges WHERE ordinal >= 1000")
            .await;
    }
}

#[tokio::test]
async fn the_default_range_stays_the_same_on_every_page() {
    let server = Server::start().await;
    server.agent(1, "edge").await;
    server
        .sql(
            "CREATE TABLE ntp_exchanges_now PARTITION OF ntp_exchanges FOR VALUES FROM \
              (now() - interval '2 days') TO (now() + interval '1 day')",
        )
        .await;
    let ago = |seconds: i64| {
        let at = time::OffsetDateTime::now_utc() - time::Duration::seconds(seconds);
        at.format(&time::format_description::well_known::Rfc3339)
            .unwrap()
    };
    for (ordinal, seconds) in [10, 20, 3599, 3700].into_iter().enumerate() {
        exchange(&server, 1, &ago(seconds), ordinal).await;
    }
    // By the second page the third row is more than an hour old.
    let wait = async |_| tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    let pages = server.pages("/api/v1/ntp/exchanges?limit=2", wait).await;
    assert_eq!(ordinals(&pages.concat()), [0, 1, 2]);
}
