//! Questions of NTP modes 6 and 7.

use serde_json::{Value, json};

use crate::server::Server;

const ALL: &str = "/api/v1/ntp/control?from=2026-11-20T00:00:00Z&to=2026-11-21T00:00:00Z";

/// Two agents with four questions each, in turns of mode 6 and 7, a minute apart.
async fn server() -> Server {
    let server = Server::start().await;
    for (id, alias) in [(1, "edge"), (2, "core")] {
        server.agent(id, alias).await;
    }
    server
        .sql(
            "CREATE TABLE ntp_control_20261120 PARTITION OF ntp_control FOR VALUES \
             FROM ('2026-11-20 00:00Z') TO ('2026-11-21 00:00Z'); \
             INSERT INTO ntp_control (agent_id, at, epoch, sequence, ordinal, interface, vlan, \
             inner_vlan, client, client_port, server, server_port, mode, version, opcode, \
             message_sequence, subject, requested_at_ns, answered_at_ns, request_packets, \
             request_octets, response_packets, response_octets, error, status, items, complete, \
             authenticated, response_time_ns, vantage) \
             SELECT agent, timestamptz '2026-11-20 08:00Z' + n * interval '1 minute', 1, 1, n, \
             'eth' || agent, 0, 0, ('192.0.2.' || n)::inet, 40000, '198.51.100.1', 123, \
             6 + n % 2, 2, 1 + n, 7, 0, \
             1795161600000000000, 1795161600002000000, 1, 12, 3, 1200, NULL, 1560, 0, true, false, \
             2000000, 'server' \
             FROM generate_series(1, 2) agent, generate_series(0, 3) n",
        )
        .await;
    server
}

async fn count(server: &Server, filter: &str) -> usize {
    let page = server.json(&format!("{ALL}&{filter}")).await;
    page["items"].as_array().unwrap().len()
}

#[tokio::test]
async fn questions_are_listed_newest_first_with_all_of_their_answers() {
    let server = server().await;
    let page = server.json(ALL).await;
    let first = &page["items"][0];
    assert_eq!(
        (&first["agent_alias"], &first["at"]),
        (&json!("core"), &json!("2026-11-20T08:03:00Z"))
    );
    for (field, value) in [
        ("interface", json!("eth2")),
        ("client", json!("192.0.2.3")),
        ("server", json!("198.51.100.1")),
        ("mode", json!(7)),
        ("opcode", json!(4)),
        ("requested_at", json!("2026-11-20T08:00:00Z")),
        ("answered_at", json!("2026-11-20T08:00:00.002Z")),
        ("ended_at", Value::Null),
        ("response_octets", json!(1200)),
        ("octet_ratio", json!(100.0)),
        ("error", Value::Null),
        ("complete", json!(true)),
        ("response_time_ns", json!(2_000_000)),
        ("vantage", json!("server")),
    ] {
        assert_eq!(first[field], value, "{field}");
    }
    let pages = server.pages(&format!("{ALL}&limit=3"), async |_| {}).await;
    let sizes: Vec<_> = pages.iter().map(Vec::len).collect();
    assert_eq!(sizes, [3, 3, 2]);
    let times: Vec<_> = pages
        .concat()
        .iter()
        .map(|item| item["at"].to_string())
        .collect();
    assert!(times.is_sorted_by(|a, b| a >= b), "{times:?}");
}

#[tokio::test]
async fn filters_narrow_each_other() {
    let server = server().await;
    for (filter, expected) in [
        ("agent=edge", 4),
        ("mode=6", 4),
        ("mode=6,7", 8),
        ("opcode=1,2", 4),
        ("client=192.0.2.0/31&mode=7", 2),
        ("server=203.0.113.1", 0),
        ("interface=eth1&vantage=server", 4),
        ("from=2026-11-20T08:02:00Z", 4),
    ] {
        let uri = filter
            .strip_prefix("from=")
            .map(|from| format!("/api/v1/ntp/control?to=2026-11-21T00:00:00Z&from={from}"));
        let found = match uri {
            Some(uri) => server.json(&uri).await["items"].as_array().unwrap().len(),
            None => count(&server, filter).await,
        };
        assert_eq!(found, expected, "{filter}");
    }
}

#[tokio::test]
async fn what_cannot_be_filtered_by_is_named() {
    let server = server().await;
    for (filter, parameter) in [
        ("mode=4", "mode"),
        ("mode=", "mode"),
        ("opcode=256", "opcode"),
        ("opcode=x", "opcode"),
        ("client=nobody", "client"),
        ("limit=0", "limit"),
    ] {
        let answer = server.get(&format!("{ALL}&{filter}")).await;
        assert_eq!(answer.status, 400, "{filter}");
        assert_eq!(answer.json()["parameter"], parameter, "{filter}");
    }
    let first = server.json(&format!("{ALL}&limit=1")).await;
    let cursor = first["next_cursor"].as_str().unwrap();
    let other = server
        .get(&format!("{ALL}&limit=1&mode=6&cursor={cursor}"))
        .await;
    assert_eq!(other.json()["code"], "invalid_cursor");
}
