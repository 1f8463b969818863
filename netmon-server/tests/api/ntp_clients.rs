//! `/api/v1/ntp/clients`.

use serde_json::{Value, json};

use crate::server::Server;

async fn client(server: &Server, agent: i64, interface: &str, client: &str, ntp_server: &str) {
    server
        .sql(&format!(
            "INSERT INTO ntp_clients (agent_id, interface, client, server, client_port, \
             server_port, first_seen, last_seen, session_count, answered_count) VALUES ({agent}, \
             '{interface}', '{client}', '{ntp_server}', 40000, 123, '2026-11-20 08:00:00Z', \
             '2026-11-20 09:00:00Z', 1, 0)"
        ))
        .await;
}

async fn server() -> Server {
    let server = Server::start().await;
    server.agent(1, "edge").await;
    server.agent(2, "core").await;
    server
}

fn clients(page: &Value) -> Vec<&str> {
    let items = page["items"].as_array().unwrap().iter();
    items.map(|item| item["client"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_client_is_shown_with_all_that_is_known_of_it() {
    let server = server().await;
    server
        .sql(
            "INSERT INTO ntp_clients (agent_id, interface, client, server, client_port, \
             server_port, request_version, version, leap, stratum, poll, \"precision\", root_delay, \
             root_dispersion, reference_id, reference_timestamp, origin_timestamp, \
             receive_timestamp, transmit_timestamp, packet_length, response_time_ns, offset_ns, \
             first_seen, last_seen, last_answered, session_count, answered_count, \
             server_processing_ns, network_delay_ns, offset_error_ns, root_distance_ns, nts, vantage, \
             reach, interval_ns, samples, filtered_offset_ns, filtered_delay_ns, median_offset_ns, \
             p95_deviation_ns, jitter_ns, last_kiss, last_kissed, kiss_count) VALUES (1, 'eth0', '192.0.2.1', '2001:db8::123', 40000, 123, \
             4, 4, 0, 2, 6, -25, 98304, 65536, 2139029761, -1, 1, 2, 3, 48, 1500000, -250000, \
             '2026-11-20 08:00:00Z', '2026-11-20 09:00:00.5Z', '2026-11-20 09:00:00.25Z', 42, 40, 20000, 1480000, 740000, 7, false, 'client', 255, 64000000000, \
             8, -3, 4, -5, 6, 7, 'RATE', '2026-11-20 08:30:00Z', 1)",
        )
        .await;
    let expected = json!({
        "items": [{
            "agent": "0000000000000001",
            "agent_alias": "edge",
            "interface": "eth0",
            "client": "192.0.2.1",
            "server": "2001:db8::123",
            "client_port": 40000,
            "server_port": 123,
            "request_version": 4,
            "version": 4,
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
            "packet_length": 48,
            "response_time_ns": 1_500_000,
            "server_processing_ns": 20_000,
            "network_delay_ns": 1_480_000,
            "client_to_server_ns": null,
            "offset_ns": -250_000,
            "offset_error_ns": 740_000,
            "root_distance_ns": 7,
            "nts": false,
            "vantage": "client",
            "reach": 255,
            "interval_ns": 64_000_000_000_i64,
            "samples": 8,
            "filtered_offset_ns": -3,
            "filtered_delay_ns": 4,
            "median_offset_ns": -5,
            "p95_deviation_ns": 6,
            "jitter_ns": 7,
            "last_kiss": "RATE",
            "last_kissed": "2026-11-20T08:30:00Z",
            "first_seen": "2026-11-20T08:00:00Z",
            "last_seen": "2026-11-20T09:00:00.5Z",
            "last_answered": "2026-11-20T09:00:00.25Z",
            "session_count": 42,
            "answered_count": 40,
            "kiss_count": 1,
        }],
        "next_cursor": null,
    });
    assert_eq!(server.json("/api/v1/ntp/clients").await, expected);
}

#[tokio::test]
async fn what_a_client_never_said_is_null() {
    let server = server().await;
    client(&server, 1, "eth0", "192.0.2.1", "192.0.2.123").await;
    let page = server.json("/api/v1/ntp/clients").await;
    let item = page["items"][0].as_object().unwrap();
    let nulls = item.iter().filter(|(_, value)| value.is_null()).count();
    assert_eq!((item.len(), nulls), (46, 34));
}

#[tokio::test]
async fn filters_narrow_the_list_together() {
    let server = server().await;
    client(&server, 1, "eth0", "192.0.2.1", "192.0.2.123").await;
    client(&server, 1, "eth1", "192.0.2.2", "192.0.2.123").await;
    client(&server, 2, "eth0", "2001:db8::3", "2001:db8::123").await;
    for (query, expected) in [
        ("agent=edge", vec!["192.0.2.1", "192.0.2.2"]),
        ("agent=0000000000000002", vec!["2001:db8::3"]),
        ("interface=eth0", vec!["192.0.2.1", "2001:db8::3"]),
        ("client=192.0.2.2", vec!["192.0.2.2"]),
        (
            "client=192.0.2.2/31,192.0.2.1",
            vec!["192.0.2.1", "192.0.2.2"],
        ),
        ("client=2001:db8::/32", vec!["2001:db8::3"]),
        ("stratum=2", vec![]),
        ("client=2001:DB8:0::3", vec!["2001:db8::3"]),
        ("server=192.0.2.123", vec!["192.0.2.1", "192.0.2.2"]),
        ("server=192.0.2.123&interface=eth0", vec!["192.0.2.1"]),
        ("agent=edge&client=2001:db8::3", vec![]),
        (
            "from=2026-11-20T09:00:00Z",
            vec!["192.0.2.1", "192.0.2.2", "2001:db8::3"],
        ),
        ("from=2026-11-20T09:00:01Z", vec![]),
        ("to=2026-11-20T09:00:00Z", vec![]),
        ("interface=eth0'%20OR%20true%20--", vec![]),
    ] {
        let page = server.json(&format!("/api/v1/ntp/clients?{query}")).await;
        assert_eq!(clients(&page), expected, "{query}");
    }
}

#[tokio::test]
async fn pages_hold_each_client_once_while_others_are_added_and_updated() {
    let server = server().await;
    for number in 10..17 {
        client(
            &server,
            1 + number % 2,
            "eth0",
            &format!("192.0.2.{number}"),
            "192.0.2.123",
        )
        .await;
    }
    let add = async |page: usize| {
        client(
            &server,
            1,
            "a",
            &format!("198.51.100.{page}"),
            "192.0.2.123",
        )
        .await;
        server
            .sql("UPDATE ntp_clients SET last_seen = now(), session_count = 9")
            .await;
    };
    let pages = server.pages("/api/v1/ntp/clients?limit=2", add).await;
    let seen: Vec<_> = pages
        .concat()
        .iter()
        .map(|item| item["client"].clone())
        .collect();
    let even = [10, 12, 14, 16];
    let odd = [11, 13, 15];
    let expected: Vec<_> = even
        .iter()
        .chain(&odd)
        .map(|number| json!(format!("192.0.2.{number}")))
        .collect();
    assert_eq!(seen, expected);
}
