//! The case that production had: 3,868 of 293,037 nodes without communications, since node and
//! communication were written in two steps and crashes fell between them.

use netmon_server::botnets::{
    Subject,
    aggregate::{Trigger, rebuild},
    audit::GapDay,
    repair::{Options, repair},
};
use time::Duration;

use crate::{
    audit::audited,
    program::{netmon_server, text},
    site::{Site, today},
};

const NODES: i64 = 293_037;

/// Days over which nodes appeared, and how many a day.
const DAYS: i64 = 10;
const A_DAY: i64 = NODES / DAYS + 1;

/// Runs of ids without communications: the first node's number, and how many.
const RUNS: [(i64, i64); 6] = [
    (2 * A_DAY + 1_000, 1_500),
    (2 * A_DAY + 9_000, 700),
    (5 * A_DAY + 10, 1_000),
    (5 * A_DAY + 20_000, 400),
    (8 * A_DAY + 3, 267),
    (8 * A_DAY + 28_000, 1),
];

/// Nodes of ten days, seen once or twice, over a few places; all communications but those of the runs.
async fn plant(site: &Site) -> Subject {
    let family = site.family("mozi").await;
    site.days(DAYS + 1).await;
    let lacking: Vec<_> = RUNS
        .iter()
        .map(|(first, count)| format!("n BETWEEN {first} AND {}", first + count - 1))
        .collect();
    let lacking = lacking.join(" OR ");
    let start = today() - Duration::days(DAYS);
    site.plant(&format!(
        "INSERT INTO botnet_places (place_id, country, province, city)
         OVERRIDING SYSTEM VALUE SELECT n, 'CN', 'CN-T' || n, '' FROM generate_series(1, 30) AS of (n);
         INSERT INTO botnet_sources (source_id, kind, name) OVERRIDING SYSTEM VALUE VALUES (4711, 'log', 'old');
         CREATE TEMPORARY TABLE planted AS
         SELECT n, inet '11.0.0.0' + n AS ip,
                timestamptz '{start} 00:00:00+00' + n / {A_DAY} * interval '1 day'
                    + n % {A_DAY} * interval '2.5 seconds' AS first_seen,
                1 + n % 2 AS times, n % 31 AS place_id, {lacking} AS lacking
         FROM generate_series(0, {NODES} - 1) AS of (n);
         INSERT INTO botnet_nodes (family_id, first_seen, last_seen, communications, place_id, edition_id, ip)
         SELECT family_id, first_seen, first_seen + (times - 1) * interval '10 minutes', times, place_id, 1, ip
         FROM planted, botnet_families WHERE name = 'mozi' ORDER BY n;
         INSERT INTO botnet_communications (family_id, bucket, first_seen, last_seen, count, source_id, ip)
         SELECT family_id, date_trunc('hour', at, 'UTC'), min(at), max(at), count(*), 4711, ip
         FROM planted, botnet_families, LATERAL (
             SELECT first_seen AS at UNION ALL
             SELECT first_seen + interval '10 minutes' WHERE times = 2
         ) seen
         WHERE name = 'mozi' AND NOT lacking
         GROUP BY family_id, ip, date_trunc('hour', at, 'UTC')",
    ))
    .await;
    rebuild(&site.pool, &family, Trigger::Command)
        .await
        .unwrap()
        .unwrap();
    family
}

#[tokio::test]
async fn the_audit_names_the_days_and_the_runs_and_the_repair_brings_coverage_to_100() {
    let site = Site::new().await;
    let family = plant(&site).await;

    let found = audited(&site, &family).await;
    assert_eq!((found.nodes, found.lacking), (NODES, 3_868));
    assert_eq!(found.coverage(), "98.68");
    let alert = "3868 of 293037 nodes lack communications: coverage 98.68 %, below 99 %";
    assert_eq!(found.alerts, [alert], "and nothing else is wrong");
    let start = today() - Duration::days(DAYS);
    let days = [(2, 2_200), (5, 1_400), (8, 268)].map(|(day, lacking)| GapDay {
        day: start + Duration::days(day),
        nodes: A_DAY,
        lacking,
    });
    assert_eq!(found.days, days);
    let mut runs: Vec<_> = found
        .runs
        .iter()
        .map(|run| (run.first_id, run.last_id, run.nodes))
        .collect();
    runs.sort_unstable();
    // Ids count from 1 in the order in which the nodes came.
    let planted = RUNS.map(|(first, count)| (first + 1, first + count, count));
    assert_eq!(runs, planted);
    assert_eq!(found.runs[0].nodes, 1_500, "the longest first");
    assert_eq!(found.runs_total, 6);
    let longest = &found.runs[0];
    assert!(longest.from < longest.to && longest.from.date() == start + Duration::days(2));

    let before = site.digest().await;
    let dry = Options {
        execute: false,
        batch: 1000,
    };
    let planned = repair(&site.botnets, &family, dry, |_| {}).await.unwrap();
    assert_eq!(site.digest().await, before, "a dry run changes nothing");
    assert_eq!((planned.executed, planned.changes.lacking), (false, 3_868));
    assert!(planned.changes.communications >= 3_868);
    assert_eq!((planned.changes.counters, planned.changes.nodes), (0, 0));

    let mut steps = Vec::new();
    let execute = Options {
        execute: true,
        batch: 1000,
    };
    let done = repair(&site.botnets, &family, execute, |done| steps.push(done))
        .await
        .unwrap();
    assert_eq!(done.changes, planned.changes, "it did what it said");
    assert_eq!(steps, [1000, 2000, 3000, 3868], "in batches");
    assert!(
        done.statistics.is_none(),
        "statistics count nodes, which were right"
    );
    let found = audited(&site, &family).await;
    assert_eq!((found.lacking, found.coverage_percent), (0, 100.0));
    assert!(
        found.is_clean() && found.runs.is_empty() && found.days.is_empty(),
        "{found:?}"
    );
    let of_repair = "SELECT sum(count) FROM botnet_communications
                     WHERE source_id = (SELECT source_id FROM botnet_sources WHERE kind = 'repair')";
    assert_eq!(site.number(of_repair).await, done.changes.sightings as i64);

    let again = repair(&site.botnets, &family, execute, |_| {})
        .await
        .unwrap();
    assert!(again.changes.is_none(), "{again:?}");
}

#[tokio::test]
async fn the_commands_tell_it_to_people_and_by_their_exit_status() {
    let site = Site::new().await;
    plant(&site).await;
    let audit = netmon_server(&site.pool, &["botnet", "audit", "--family", "mozi"]).await;
    let said = text(&audit.stdout);
    assert_eq!(
        audit.status.code(),
        Some(1),
        "{said}{}",
        text(&audit.stderr)
    );
    for line in [
        "ALERT mozi: 3868 of 293037 nodes lack communications: coverage 98.68 %, below 99 %",
        "in 6 runs of node ids",
    ] {
        assert!(said.contains(line), "{line} in\n{said}");
    }
    let before = site.digest().await;
    let dry = netmon_server(&site.pool, &["botnet", "repair"]).await;
    assert_eq!(dry.status.code(), Some(0), "{}", text(&dry.stderr));
    assert!(text(&dry.stdout).contains("nothing was changed: --execute does it"));
    assert_eq!(site.digest().await, before);
    let repair = netmon_server(
        &site.pool,
        &["botnet", "repair", "--execute", "--format", "json"],
    )
    .await;
    assert_eq!(repair.status.code(), Some(0), "{}", text(&repair.stderr));
    let report: serde_json::Value = serde_json::from_slice(&repair.stdout).unwrap();
    let mozi = report
        .as_array()
        .unwrap()
        .iter()
        .find(|of| of["family"] == "mozi")
        .unwrap();
    assert_eq!(mozi["changes"]["lacking"], 3_868);
    let audit = netmon_server(&site.pool, &["botnet", "audit", "--format", "json"]).await;
    assert_eq!(audit.status.code(), Some(0), "{}", text(&audit.stderr));
    let report: serde_json::Value = serde_json::from_slice(&audit.stdout).unwrap();
    assert_eq!(report["clean"], true);
    let mozi = report["families"]
        .as_array()
        .unwrap()
        .iter()
        .find(|of| of["family"] == "mozi");
    assert_eq!(mozi.unwrap()["coverage_percent"], 100.0);
}
