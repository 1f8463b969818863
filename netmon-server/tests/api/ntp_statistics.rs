//! `/api/v1/ntp/statistics`: roll-ups and exchanges give one answer.

use netmon_server::store::Store;
use serde_json::{Value, json};
use std::time::Duration;
use time::macros::datetime;

use crate::server::Server;

const RANGE: &str = "from=2026-11-19T00:00:00Z&to=2026-11-20T12:00:00Z";

/// Exchanges of two servers over a day and a half, every ten minutes.
async fn server() -> Server {
    let server = Server::start().await;
    server.agent(1, "edge").await;
    server.agent(2, "core").await;
    server
        .days(&["2026-11-18", "2026-11-19", "2026-11-20"])
        .await;
    server
        .sql(
            "INSERT INTO ntp_exchanges (agent_id, at, epoch, sequence, ordinal, interface, vlan,
                 inner_vlan, match, client, client_port, server, server_port, mode, version, leap,
                 stratum, reference_id, response_time_ns, offset_ns)
             SELECT 1 + n % 2, timestamptz '2026-11-19 00:00Z' + n * interval '10 minutes', 1, 1, n,
                 'eth0', 0, 0, CASE WHEN n % 6 = 0 THEN 'unanswered' ELSE 'basic' END, '192.0.2.1', 1,
                 ('192.0.2.' || 100 + n % 2)::inet, 123, 4, 4, 0,
                 CASE WHEN n % 6 > 0 THEN CASE WHEN n % 50 = 1 THEN 0 ELSE 2 END END,
                 CASE WHEN n % 50 = 1 THEN x'52415445'::int8 ELSE 7 END,
                 CASE WHEN n % 6 > 0 THEN 1000000 + n END, CASE WHEN n % 6 > 0 THEN -n * 1000 END
             FROM generate_series(0, 215) n",
        )
        .await;
    server
}

async fn items(server: &Server, query: &str) -> Vec<Value> {
    let answer = server
        .json(&format!("/api/v1/ntp/statistics?{RANGE}&{query}"))
        .await;
    answer["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn points_are_the_same_before_and_after_the_roll_up() {
    let server = server().await;
    let queries = [
        "step=1h",
        "step=1d",
        "agent=edge&step=1d",
        "server=192.0.2.101&step=1h",
    ];
    let mut before = Vec::new();
    for query in queries {
        before.push(items(&server, query).await);
    }
    assert_eq!(before[0].len(), 36);
    assert_eq!(before[1].len(), 2);
    let store = Store::new(server.database.clone(), Duration::from_secs(7 * 86_400));
    // Once in the middle of the second day, once behind it.
    for now in [
        datetime!(2026-11-20 06:30 UTC),
        datetime!(2026-11-20 13:30 UTC),
    ] {
        store.roll_up_once(now).await.unwrap();
        for (query, before) in queries.iter().zip(&before) {
            assert_eq!(&items(&server, query).await, before, "{query} {now}");
        }
    }
}

#[tokio::test]
async fn a_point_says_what_exchanges_were_and_how_long_they_took() {
    let server = server().await;
    let days = items(&server, "step=1d").await;
    let day = &days[0];
    assert_eq!(day["from"], "2026-11-19T00:00:00Z");
    assert_eq!(day["to"], "2026-11-20T00:00:00Z");
    assert_eq!(day["exchanges"], 144);
    assert_eq!(day["matches"], json!({"basic": 120, "unanswered": 24}));
    assert_eq!(day["strata"], json!({"0": 3, "2": 117}));
    assert_eq!(day["kisses"], json!({"RATE": 3}));
    assert_eq!(day["leaps"]["0"], 144);
    assert_eq!(day["response_time"]["count"], 117);
    assert_eq!(day["offset_max_ns"], -2000);
    let p50 = day["response_time"]["p50_ns"].as_i64().unwrap();
    assert!((1_000_000..1_130_000).contains(&p50), "{p50}");
}

#[tokio::test]
async fn what_agents_counted_together_is_in_points_before_and_after_the_roll_up() {
    let server = server().await;
    let fold =
        "INSERT INTO ntp_folds (agent_id, at, epoch, sequence, ordinal, last_at, interface, vlan,
             inner_vlan, client, server, exchanges, answered, response_time_sum_ns,
             server_processing_sum_ns, absolute_offset_sum_ns, metric, value, count)
         VALUES (1, '2026-11-19 10:15Z', 1, 2, 0, '2026-11-19 10:19Z', 'eth0', 0, 0, '192.0.2.1',
             '192.0.2.100', 1000, 0, 0, 0, 0, '{1}', '{2}', '{1000}')";
    server.sql(fold).await;
    let ten = |items: &[Value]| items[10].clone();
    let before = ten(&items(&server, "step=1h").await);
    assert_eq!(before["from"], "2026-11-19T10:00:00Z");
    assert_eq!(before["exchanges"], 1006);
    assert_eq!(before["matches"], json!({"basic": 5, "unanswered": 1001}));
    let other = ten(&items(&server, "step=1h&server=192.0.2.101").await);
    assert_eq!(other["exchanges"], 3, "of another server");
    let store = Store::new(server.database.clone(), Duration::from_secs(7 * 86_400));
    let now = datetime!(2026-11-20 13:30 UTC);
    store.roll_up_once(now).await.unwrap();
    assert_eq!(ten(&items(&server, "step=1h").await), before);
}

#[tokio::test]
async fn a_range_of_too_many_points_is_refused() {
    let server = server().await;
    for (query, code) in [
        ("from=2020-01-01T00:00:00Z", "too_many_points"),
        ("step=1m", "invalid_parameter"),
        ("server=x", "invalid_parameter"),
    ] {
        let answer = server.get(&format!("/api/v1/ntp/statistics?{query}")).await;
        assert_eq!(answer.json()["code"], code, "{query}");
    }
}
