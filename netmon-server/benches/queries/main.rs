//! What a query costs: `cargo xtask bench queries`.
//!
//! A temporary PostgreSQL gets raw samples of a day, minutes of 30 days and hours of 400 days, in the
//! tables and partitions of the server, and the API is asked for a day, 30 days and 400 days up to the
//! last sample: routing, SQL and JSON, everything but the socket. Then a million NTP clients are searched.
//! Sessions are those of the API, with its settings (`src/api.rs`).

#[path = "../../tests/api/cluster.rs"]
#[expect(dead_code, reason = "shared with tests that stop the database")]
mod cluster;
#[path = "../../tests/api/server.rs"]
#[expect(dead_code, reason = "shared with the tests of the API")]
mod server;

mod clients;

use std::{
    process::ExitCode,
    time::{Duration as Length, Instant},
};

use serde_json::Value;
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};

use crate::server::Server;

const AGENTS: i64 = 50;
const INTERFACES: i64 = 2;
const ROUNDS: usize = 200;
const LIMIT: Length = Length::from_millis(100);

/// Columns of `bandwidth_minutes` and `bandwidth_hours` that are made.
const COLUMNS: &str = "agent_id, interface, bucket, samples, flagged, measured_us, ingress_bytes, \
     ingress_packets, ingress_wire_bytes, ingress_wire_packets, egress_bytes, egress_packets, \
     egress_wire_bytes, egress_wire_packets, ingress_peak_bits_per_second, \
     egress_peak_bits_per_second";

#[tokio::main]
async fn main() -> ExitCode {
    machine();
    let server = Server::start().await;
    // In the middle of an hour: its samples are not rolled up yet.
    let hour = OffsetDateTime::now_utc().unix_timestamp() / 3600 * 3600;
    let now = OffsetDateTime::from_unix_timestamp(hour + 1800).expect("the clock is right");
    make(&server, now).await;
    println!(
        "\n{:<28} {:>9} {:>7} {:>7} {:>7} {:>9} {:>9} {:>9}",
        "query", "answered", "points", "step", "kB", "p50 ms", "p95 ms", "limit ms"
    );
    let mut right = true;
    for (name, length, expected) in [
        ("1 day", Duration::days(1), "1m"),
        ("30 days", Duration::days(30), "1h"),
        ("400 days", Duration::days(400), "1h"),
    ] {
        for (of, path) in [("interface", "/interfaces/eth0"), ("agent", "")] {
            let name = format!("{name}, one {of}");
            right &= measure(&server, &name, path, now - length, now, expected).await;
        }
    }
    right &= clients::measure(&server).await;
    if right {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn machine() {
    println!("{}", netmon_lab::machine());
    println!(
        "method: {ROUNDS} requests one after the other to the API over its own sessions of a PostgreSQL \
         with default memory (shared_buffers 128 MB), agents in turn, each with an end of its own; time from the \
         request to the whole JSON"
    );
}

/// Fills the tables: `AGENTS` with `INTERFACES` each, two samples a second.
async fn make(server: &Server, now: OffsetDateTime) {
    let at = Instant::now();
    for agent in 1..=AGENTS {
        server.agent(agent, &format!("agent-{agent}")).await;
        for interface in 0..INTERFACES {
            server.interface(agent, &format!("eth{interface}")).await;
        }
    }
    let start = |time: OffsetDateTime| time.replace_time(time::Time::MIDNIGHT);
    for (table, days) in [("bandwidth_stats", 1), ("bandwidth_minutes", 30)] {
        let mut day = start(now - Duration::days(days));
        while day <= now {
            partition(
                server,
                table,
                "[year][month][day]",
                day,
                day + Duration::DAY,
            )
            .await;
            day += Duration::DAY;
        }
    }
    let mut month = start(now - Duration::days(400))
        .replace_day(1)
        .expect("a first");
    while month <= now {
        let next = (month + Duration::days(31))
            .replace_day(1)
            .expect("a first");
        partition(server, "bandwidth_hours", "[year][month]", month, next).await;
        month = next;
    }
    // In the order in which the server writes: raw rows as they come, minutes hour by hour, hours day by
    // day, each agent by agent.
    let keys = format!(
        "generate_series(1, {AGENTS}) agent, generate_series(0, {}) interface",
        INTERFACES - 1
    );
    let text = |time: OffsetDateTime| time.format(&Rfc3339).expect("a year of four digits");
    let rolled = text(now - Duration::minutes(30));
    let [day, minutes, hours] = [1, 30, 400].map(|days| text(now - Duration::days(days)));
    let array = |low: &str| format!("array_fill({low}::int4, ARRAY[30])");
    server
        .sql(&format!(
            "INSERT INTO bandwidth_stats (agent_id, interface, started_at, epoch, sequence, ifindex, \
             attachment, interval_us, ingress_packets, ingress_bytes, egress_packets, egress_bytes, \
             ingress_wire_packets, ingress_wire_bytes, ingress_total_packets, ingress_total_bytes, \
             egress_total_packets, egress_total_bytes) \
             SELECT agent, 'eth' || interface, at, 1, extract(epoch FROM at)::bigint, 2, 1, {}, {}, \
             {}, {}, {}, {}, array_fill(60000::int8, ARRAY[30]), 1, 1, 1, 1 FROM {keys}, \
             generate_series(timestamptz '{day}', '{}', '15 s') at ORDER BY at, agent, interface",
            array("500000"),
            array("40 + agent"),
            array("50000 + agent * 11"),
            array("30 + agent"),
            array("20000 + agent * 7"),
            array("50 + agent"),
            text(now - Duration::seconds(15)),
        ))
        .await;
    for (table, from, step, seconds, written) in [
        ("bandwidth_minutes", &minutes, "1 minute", 60, "hour"),
        ("bandwidth_hours", &hours, "1 hour", 3600, "day"),
    ] {
        server
            .sql(&format!(
                "INSERT INTO {table} ({COLUMNS}) SELECT agent, 'eth' || interface, at, {s} * 2, 0, \
                 {s}::int8 * 1000000, {s}::int8 * (100000 + agent), {s} * 90, {s} * 120000, {s} * 110, \
                 {s} * 40000, {s} * 70, {s} * 40000, {s} * 70, 900000.5, 400000.25 FROM {keys}, \
                 generate_series(date_trunc('hour', timestamptz '{from}'), \
                 timestamptz '{rolled}' - interval '{step}', '{step}') at \
                 ORDER BY date_trunc('{written}', at, 'UTC'), agent, interface, at",
                s = seconds
            ))
            .await;
    }
    server
        .sql(&format!(
            "INSERT INTO rollup_progress (series, rolled_through) \
             VALUES ('bandwidth_stats', '{rolled}'); \
             INSERT INTO retained VALUES ('bandwidth_stats', '{day}'), \
             ('bandwidth_minutes', '{minutes}'), ('bandwidth_hours', '{hours}')"
        ))
        .await;
    server.sql("VACUUM ANALYZE").await;
    let mut counts = Vec::new();
    for table in ["bandwidth_stats", "bandwidth_minutes", "bandwidth_hours"] {
        let count: i64 = sqlx::query_scalar(&format!("SELECT count(*) FROM {table}"))
            .fetch_one(&server.database)
            .await
            .expect("the rows can be counted");
        counts.push(format!("{count} {table}"));
    }
    println!(
        "data: {} rows, made in {:.0?}",
        counts.join(", "),
        at.elapsed()
    );
}

async fn partition(
    server: &Server,
    table: &str,
    format: &str,
    from: OffsetDateTime,
    to: OffsetDateTime,
) {
    let format = time::format_description::parse_borrowed::<2>(format).expect("a format");
    let name = from.format(&format).expect("a date");
    let bound = |time: OffsetDateTime| time.format(&Rfc3339).expect("a year of four digits");
    server
        .sql(&format!(
            "CREATE TABLE {table}_{name} PARTITION OF {table} FOR VALUES FROM ('{}') TO ('{}')",
            bound(from),
            bound(to)
        ))
        .await;
}

/// Asks and prints a line; whether the right table answered, up to the last sample.
async fn measure(
    server: &Server,
    name: &str,
    path: &str,
    from: OffsetDateTime,
    to: OffsetDateTime,
    expected: &str,
) -> bool {
    let mut times = Vec::with_capacity(ROUNDS);
    let (mut answer, mut bytes) = (Value::Null, 0);
    for round in 0..ROUNDS {
        let agent = round as i64 % AGENTS + 1;
        // Nobody asks for the same range twice.
        let shift = Duration::seconds(round as i64);
        let text = |time: OffsetDateTime| (time - shift).format(&Rfc3339).expect("four digits");
        let uri = format!(
            "/api/v1/agents/agent-{agent}{path}/bandwidth?from={}&to={}",
            text(from),
            text(to)
        );
        let at = Instant::now();
        let got = server.get(&uri).await;
        times.push(at.elapsed());
        assert_eq!(got.status, 200, "{uri}: {}", got.text());
        (answer, bytes) = (got.json(), got.body.len());
    }
    times.sort_unstable();
    let ms = |percent: usize| times[ROUNDS * percent / 100].as_secs_f64() * 1e3;
    let points = answer["items"].as_array().map_or(0, Vec::len);
    let sources = answer["sources"].as_array().cloned().unwrap_or_default();
    let resolution = answer["resolution"].as_str().unwrap_or("?");
    println!(
        "{name:<28} {resolution:>9} {points:>7} {:>6}s {:>7} {:>9.1} {:>9.1} {:>9}{}",
        answer["step_ms"].as_u64().unwrap_or(0) / 1000,
        bytes / 1000,
        ms(50),
        ms(95),
        LIMIT.as_millis(),
        if ms(95) > LIMIT.as_secs_f64() * 1e3 {
            "  over the limit"
        } else {
            ""
        }
    );
    let newest = sources.last().map(|source| &source["resolution"]);
    let right = resolution == expected && newest.is_some_and(|newest| newest == "raw");
    if !right {
        println!("  wrong table: expected {expected} and raw samples at the end, got {sources:?}");
    }
    right && points > 0
}
