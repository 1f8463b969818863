//! No question about botnets reads through all nodes, however many there are.
//!
//! PostgreSQL's own auto_explain writes what it really did into its log. `NETMON_BOTNET_NODES=1000000`
//! makes more nodes and prints how long each question took.

use std::time::Instant;

use crate::server::{Server, cluster};

/// The nodes of a page with filters, and those of places that are few.
const BOUND: u64 = 50_000;

/// Nodes at 400 places, of which few were seen in the last day.
async fn server(nodes: i64) -> Server {
    let server = Server::start().await;
    let today = time::OffsetDateTime::now_utc().date();
    let yesterday = today.previous_day().unwrap();
    for day in [yesterday, today] {
        server.communications_of(day).await;
    }
    server
        .sql(&format!(
            "INSERT INTO botnet_places (place_id, country, province, city)
             SELECT n, CASE WHEN n <= 350 THEN 'CN' ELSE 'A' || chr(64 + (n - 350) % 26 + 1) END,
                    CASE WHEN n <= 350 THEN 'CN-' || (n % 31) ELSE '' END,
                    CASE WHEN n <= 350 THEN (100000 + n)::text ELSE n::text END
             FROM generate_series(1, 400) n;
             INSERT INTO botnet_geo_editions (edition_id, fingerprint, description, first_used)
             VALUES (1, 'f', 'files', now());
             INSERT INTO botnet_sources (source_id, kind, name) VALUES (1, 'log', 'sinkhole');
             -- The first places have a few nodes, the last ones thousands.
             INSERT INTO botnet_nodes (family_id, ip, first_seen, last_seen, communications, place_id,
                 edition_id)
             SELECT 2, inet '0.0.0.0' + (n * 2654435761 % 4294967291),
                    now() - interval '60 days', now() - interval '2 days' - n % 50 * interval '1 day',
                    1 + n % 1000, 1 + floor(400 * sqrt(random()))::int % 400, 1
             FROM generate_series(1::bigint, {nodes}) n ON CONFLICT DO NOTHING;
             UPDATE botnet_nodes SET last_seen = now() - interval '1 hour'
             WHERE ip IN (SELECT ip FROM botnet_nodes ORDER BY communications LIMIT 300);
             INSERT INTO botnet_communications (family_id, ip, bucket, source_id, count, first_seen,
                 last_seen, ports)
             SELECT 2, ip, date_trunc('hour', last_seen, 'UTC'), 1, 1, last_seen, last_seen,
                    ARRAY[23]
             FROM botnet_nodes WHERE last_seen > now() - interval '1 day';
             INSERT INTO botnet_statistics (family_id, place_id, nodes, communications)
             SELECT family_id, place_id, count(*), sum(communications) FROM botnet_nodes GROUP BY 1, 2;
             INSERT INTO botnet_active (family_id, place_id, as_of, day, week, month)
             SELECT 2, 1, date_trunc('hour', now(), 'UTC'), 300, {nodes} / 10, {nodes} / 2;
             ANALYZE botnet_nodes; ANALYZE botnet_communications; ANALYZE botnet_statistics;
             ALTER DATABASE {name} SET session_preload_libraries = 'auto_explain';
             ALTER DATABASE {name} SET auto_explain.log_min_duration = 0;
             ALTER DATABASE {name} SET auto_explain.log_analyze = on;
             ALTER DATABASE {name} SET auto_explain.log_timing = off",
            name = server.database_name()
        ))
        .await;
    server
}

/// What was done for a request: the plans of its statements.
async fn plans(server: &Server, uri: &str) -> String {
    let prefix = format!("{}: ", server.database_name());
    let before = cluster().await.log().len();
    server.json(uri).await;
    let log = cluster().await.log();
    // Lines that continue an entry begin with a tab.
    let entries = log[before..].replace("\n\t", "\t");
    let own = entries.lines().filter(|line| line.starts_with(&prefix));
    let plans: Vec<_> = own.filter(|line| line.contains("plan:")).collect();
    plans.join("\n").replace('\t', "\n")
}

/// The rows that scans of a table really gave, or threw away.
fn rows_read(plans: &str, table: &str) -> u64 {
    let mut most = 0;
    let mut of_table = false;
    for line in plans.lines() {
        if line.contains("Scan") {
            of_table = line.contains(table);
            if of_table && let Some((_, actual)) = line.split_once("(actual rows=") {
                most = most.max(number(actual));
            }
        } else if of_table && let Some((_, removed)) = line.split_once("Rows Removed by Filter: ") {
            most = most.max(number(removed));
        }
    }
    most
}

fn number(text: &str) -> u64 {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text[..digits].parse().unwrap()
}

#[tokio::test]
async fn lists_read_a_bounded_number_of_nodes() {
    let nodes = std::env::var("NETMON_BOTNET_NODES").ok();
    let nodes = nodes.map_or(150_000, |nodes| nodes.parse().unwrap());
    let server = server(nodes).await;
    let some = server
        .json("/api/v1/botnets/mozi/nodes?limit=1&min_communications=500")
        .await;
    let address = some["items"][0]["address"].as_str().unwrap().to_owned();
    for (query, bound) in [
        // The page, and one row more.
        ("nodes", 101),
        ("nodes?cidr=10.0.0.0/8", 101),
        ("nodes?country=CN", 1000),
        ("nodes?min_communications=500", 1000),
        // By the communications of a day.
        ("nodes?active=day", 400),
        ("nodes?active=day&country=CN&min_communications=1", 400),
        // By the places, which are few.
        ("nodes?city=100005", BOUND),
        ("nodes?city=100005&sort=communications", BOUND),
        // Nothing fits.
        ("nodes?min_communications=100000", BOUND),
        ("nodes?first_seen_from=2100-01-01T00:00:00Z", BOUND),
        ("nodes?cidr=10.0.0.0/12&sort=last_seen", 200_000),
        (&format!("nodes/{address}"), 1),
        (&format!("nodes/{address}/timeline"), 1),
        ("statistics", 0),
        ("statistics/cities", 0),
        ("top", 0),
    ] {
        let uri = format!("/api/v1/botnets/mozi/{query}");
        let plans = plans(&server, &uri).await;
        assert!(
            !plans.contains("Seq Scan on botnet_nodes"),
            "{query}: {plans}"
        );
        let read = rows_read(&plans, "botnet_nodes");
        assert!(read <= bound, "{query} reads {read} nodes: {plans}");
        if nodes > 150_000 {
            let began = Instant::now();
            for _ in 0..5 {
                server.json(&uri).await;
            }
            println!("{query}: {:.1?}, {read} nodes read", began.elapsed() / 5);
        }
    }
    let plan = plans(&server, &format!("/api/v1/addresses/{address}")).await;
    assert_eq!(rows_read(&plan, "botnet_nodes"), 1, "{plan}");
    assert!(
        plan.contains("Index Scan using botnet_nodes_pkey"),
        "{plan}"
    );
}
