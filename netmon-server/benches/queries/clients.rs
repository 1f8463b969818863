//! Searching a million NTP clients.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::server::Server;

const CLIENTS: i64 = 1_000_000;
const AGENTS: i64 = 50;
const ROUNDS: usize = 100;
const LIMIT: Duration = Duration::from_millis(50);

/// A search, with a number that makes each round another one.
type Search = fn(i64) -> Value;

/// Searches as people make them: for somebody, for something that is rare, for the first page of all.
const SEARCHES: [(&str, Search); 11] = [
    (
        "one address",
        |n| json!({"filter": {"client": address(n * 9973 % CLIENTS)}}),
    ),
    (
        "a network of 256",
        |n| json!({"filter": {"client": format!("{}/24", address(n * 9973 % CLIENTS))}}),
    ),
    ("a network of 4,096, seen last", |n| {
        let network = format!("{}/20", address(n * 9973 % CLIENTS));
        json!({"filter": {"client": network}, "sort": "last_seen", "order": "desc"})
    }),
    ("a server and an interface", |n| {
        let server = format!("198.51.100.{}", n % 200);
        json!({"filter": {"server": server, "interface": format!("eth{}", n % 2)}, "page": 1 + n % 10})
    }),
    (
        "a common stratum",
        |n| json!({"filter": {"stratum": 2}, "page": 1 + n % 10}),
    ),
    (
        "a rare stratum",
        |n| json!({"filter": {"stratum": 15}, "page": 1 + n % 10}),
    ),
    (
        "not synchronised",
        |n| json!({"filter": {"leap": 3}, "page": 1 + n % 10}),
    ),
    (
        "an old version",
        |n| json!({"filter": {"version": 1}, "page": 1 + n % 10}),
    ),
    (
        "more than 100 ms off",
        |n| json!({"filter": {"offset_over_ns": 100_000_000 + n}, "sort": "offset", "order": "desc"}),
    ),
    (
        "an agent's, off by 1 ms or more",
        |n| json!({"filter": {"agent": format!("agent-{}", 1 + n % AGENTS), "offset_over_ns": 1_000_000}}),
    ),
    (
        "all, page by page",
        |n| json!({"page": 1 + n, "page_size": 20}),
    ),
];

/// Sorted by what has no index: everything that the filter leaves is read. Printed without a limit.
const SORTED: [(&str, Search); 2] = [
    ("20,000 by sessions", |n| {
        let agent = format!("agent-{}", 1 + n % AGENTS);
        json!({"filter": {"agent": agent}, "sort": "session_count", "order": "desc"})
    }),
    (
        "all by time",
        |n| json!({"sort": "last_seen", "order": "desc", "page": 1 + n % 10}),
    ),
];

fn address(number: i64) -> String {
    let [_, a, b, c] = (number as u32).to_be_bytes();
    format!("10.{a}.{b}.{c}")
}

/// Fills the table, searches and prints; whether every kind of search keeps to the limit.
pub async fn measure(server: &Server) -> bool {
    let at = Instant::now();
    make(server).await;
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM ntp_clients")
        .fetch_one(&server.database)
        .await
        .expect("the rows can be counted");
    println!("\ndata: {count} ntp_clients, made in {:.0?}", at.elapsed());
    println!(
        "\n{:<34} {:>7} {:>7} {:>9} {:>9} {:>9}",
        "search", "found", "kB", "p50 ms", "p95 ms", "limit ms"
    );
    let (mut right, mut all) = (true, Vec::new());
    for (name, search) in SEARCHES {
        let (times, found, bytes) = asked(server, search, ROUNDS).await;
        all.extend_from_slice(&times);
        right &= line(name, &found, bytes, times, Some(LIMIT));
    }
    right &= line("all of these", "", 0, all, Some(LIMIT));
    for (name, search) in SORTED {
        let (times, found, bytes) = asked(server, search, ROUNDS / 10).await;
        line(name, &found, bytes, times, None);
    }
    right
}

/// The times of searches one after the other, how many clients the last one found, and its octets.
async fn asked(server: &Server, search: Search, rounds: usize) -> (Vec<Duration>, String, usize) {
    let (mut times, mut bytes, mut found) = (Vec::new(), 0, String::new());
    for round in 0..rounds {
        let body = search(round as i64);
        let at = Instant::now();
        let answer = server.post("/api/v1/ntp/search", &body).await;
        times.push(at.elapsed());
        assert_eq!(answer.status, 200, "{body}: {}", answer.text());
        let page = answer.json();
        assert!(
            !page["items"].as_array().expect("a list").is_empty(),
            "{body}"
        );
        bytes = answer.body.len();
        found = match page["total_is_exact"].as_bool() {
            Some(true) => page["total"].to_string(),
            _ => format!(">{}", page["total"]),
        };
    }
    (times, found, bytes)
}

/// Prints a line; whether it keeps to the limit.
fn line(
    name: &str,
    found: &str,
    bytes: usize,
    mut times: Vec<Duration>,
    limit: Option<Duration>,
) -> bool {
    times.sort_unstable();
    let of = |percent: usize| times[times.len() * percent / 100];
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let within = limit.is_none_or(|limit| of(95) <= limit);
    println!(
        "{name:<34} {found:>7} {:>7} {:>9.1} {:>9.1} {:>9}{}",
        bytes / 1000,
        ms(of(50)),
        ms(of(95)),
        limit.map_or(String::new(), |limit| limit.as_millis().to_string()),
        if within { "" } else { "  over the limit" }
    );
    within
}

/// Most are at stratum 2 and well; one in a thousand is not. An agent has four servers of its own.
async fn make(server: &Server) {
    server
        .sql(&format!(
            "INSERT INTO ntp_clients (agent_id, interface, client, server, client_port, server_port,
                 request_version, version, leap, stratum, poll, \"precision\", root_delay,
                 root_dispersion, reference_id, reference_timestamp, origin_timestamp,
                 receive_timestamp, transmit_timestamp, packet_length, response_time_ns, offset_ns,
                 vantage, reach, interval_ns, samples, filtered_offset_ns, filtered_delay_ns,
                 first_seen, last_seen, last_answered, session_count, answered_count)
             SELECT 1 + a, 'eth' || b % 2, '10.0.0.0'::inet + n, ('198.51.100.' || a * 4 + b % 4)::inet,
                 123, 123, 4, CASE WHEN c = 1 THEN 1 WHEN c % 50 = 2 THEN 3 ELSE 4 END,
                 CASE WHEN c = 3 THEN 3 ELSE 0 END,
                 CASE WHEN c = 5 THEN 15 WHEN c % 10 = 6 THEN 1 WHEN c % 3 = 0 THEN 3 ELSE 2 END,
                 6, -24, 1000, 1000, n, n, n, n, n, 48, 1000000 + n % 5000000,
                 CASE WHEN c = 7 THEN 200000000 + n WHEN c % 100 = 8 THEN -5000000 ELSE n % 900000 END,
                 'server', 255, 64000000000, 8, n % 900000, 1000000, timestamptz '2026-11-01 00:00Z',
                 timestamptz '2026-11-20 00:00Z' + b * interval '1 millisecond',
                 timestamptz '2026-11-20 00:00Z', b % 5000, b % 5000
             FROM (SELECT n, (hashint8(n) & 1048575) % {AGENTS} AS a, hashint8(n + 1) & 16777215 AS b,
                          (hashint8(n + 2) & 1048575) % 1000 AS c
                   FROM generate_series(0::int8, {CLIENTS} - 1) n) drawn"
        ))
        .await;
    server.sql("VACUUM ANALYZE ntp_clients").await;
}
