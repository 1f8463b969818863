//! Each way in which the books can be wrong, planted, is found and named.

use crate::site::{HOUR, Site, findings, set};

#[tokio::test]
async fn a_hole_is_lost_and_says_when() {
    let mut site = Site::new().await;
    let mut host = site.host().await;
    let (first, _, last) = (host.bandwidth(), host.bandwidth(), host.bandwidth());
    for batch in [first, host.settled(last, 3)] {
        site.commit(&host, &batch).await;
    }
    site.maintain().await;
    assert_eq!(
        site.found().await,
        set(&["!sequences/lost", "!counters/lost"])
    );
    let report = site.audit(24 * HOUR).await;
    let lost = findings(&report).find(|f| f.cause == "lost").unwrap();
    assert_eq!(
        (lost.kind, lost.first_sequence, lost.last_sequence),
        (Some("bandwidth"), Some(2), Some(2))
    );
    assert!(lost.from.unwrap() < lost.to.unwrap(), "{lost:?}");
    assert!(lost.to.unwrap() <= report.started_at, "{lost:?}");
}

/// Changes by SQL after everything was delivered and rolled up, and what must be found.
const CASES: &[(&str, &str, &[&str])] = &[
    (
        "a doubled frame",
        "CREATE TEMP TABLE copy AS SELECT * FROM bandwidth_stats WHERE sequence = 2;
         UPDATE copy SET started_at = started_at + interval '1 microsecond';
         INSERT INTO bandwidth_stats SELECT * FROM copy",
        &[
            "!rows/doubled_rows",
            "!counters/doubled",
            "!rollups/unequal",
        ],
    ),
    (
        "a frame counted by two batches",
        "CREATE TEMP TABLE copy AS SELECT * FROM bandwidth_stats WHERE sequence = 1;
         UPDATE copy SET sequence = 2;
         INSERT INTO bandwidth_stats SELECT * FROM copy",
        &[
            "!rows/doubled_rows",
            "!counters/doubled",
            "!rollups/unequal",
        ],
    ),
    (
        "a changed delta",
        "UPDATE bandwidth_stats SET egress_bytes[2] = egress_bytes[2] - 1 WHERE sequence = 2",
        &["!counters/unexplained", "!rollups/unequal"],
    ),
    (
        "a delta that grew",
        "UPDATE bandwidth_stats SET ingress_packets[1] = 9 WHERE sequence = 2",
        &["!counters/doubled", "!rollups/unequal"],
    ),
    (
        "changed totals",
        "UPDATE bandwidth_stats SET ingress_total_packets = ingress_total_packets + 1
         WHERE sequence = 3",
        &["!counters/unexplained"],
    ),
    (
        "deleted frames",
        "DELETE FROM bandwidth_stats WHERE sequence = 2",
        &[
            "!rows/missing_rows",
            "!counters/unexplained",
            "!rollups/unequal",
        ],
    ),
    (
        "a deleted exchange",
        "DELETE FROM ntp_exchanges WHERE client = '192.0.2.2'",
        &["!rows/missing_rows", "!rollups/unequal"],
    ),
    (
        "a deleted reading",
        "DELETE FROM system_stats WHERE at = (SELECT max(at) FROM system_stats)",
        &["!rows/missing_rows", "!rollups/unequal"],
    ),
    (
        "rows without a ledger row",
        "DELETE FROM ingest_ledger WHERE sequence = 2 AND kind = 1",
        &["!sequences/lost", "!rows/unknown_batch"],
    ),
    (
        "a changed minute",
        "UPDATE bandwidth_minutes SET ingress_bytes = ingress_bytes + 1",
        &["!rollups/unequal"],
    ),
    (
        "a changed hour",
        "UPDATE bandwidth_hours SET egress_packets = egress_packets - 1",
        &["!rollups/unequal"],
    ),
    (
        "a deleted hour",
        "DELETE FROM bandwidth_hours",
        &["!rollups/unequal"],
    ),
    (
        "a minute of nothing",
        "CREATE TEMP TABLE copy AS SELECT * FROM bandwidth_minutes;
         UPDATE copy SET bucket = bucket + interval '5 minutes';
         INSERT INTO bandwidth_minutes SELECT * FROM copy",
        &["!rollups/unequal"],
    ),
    (
        "a changed minute of the host",
        "UPDATE system_minutes SET cpu_user = cpu_user + 1",
        &["!rollups/unequal"],
    ),
    (
        "a changed hour of the host",
        "UPDATE system_hours SET cpu_idle = NULL",
        &["!rollups/unequal"],
    ),
    (
        "a changed stratum",
        "UPDATE ntp_exchanges SET stratum = stratum + 1 WHERE client = '192.0.2.1'",
        &["!rollups/unequal"],
    ),
    (
        "a changed response time",
        "UPDATE ntp_exchanges SET response_time_ns = response_time_ns * 2
         WHERE client = '192.0.2.3'",
        &["!rollups/unequal"],
    ),
    (
        "a deleted fold",
        "DELETE FROM ntp_folds",
        &["!rows/missing_rows", "!rollups/unequal"],
    ),
    (
        "a changed fold",
        "UPDATE ntp_folds SET value[1] = value[1] + 1, exchanges = exchanges + 1",
        &["!rollups/unequal"],
    ),
    (
        "a changed count of an hour of NTP",
        "UPDATE ntp_hours SET count[1] = count[1] + 1",
        &["!rollups/unequal"],
    ),
    (
        "a deleted hour of NTP",
        "DELETE FROM ntp_hours",
        &["!rollups/unequal"],
    ),
    (
        "a changed day of NTP",
        "UPDATE ntp_days SET exchanges = exchanges - 1",
        &["!rollups/unequal"],
    ),
    (
        "a day of NTP in which nothing was seen",
        "CREATE TEMP TABLE copy AS SELECT * FROM ntp_days;
         UPDATE copy SET server = '198.51.100.99';
         INSERT INTO ntp_days SELECT * FROM copy",
        &["!rollups/unequal"],
    ),
];

#[tokio::test]
async fn every_change_behind_the_servers_back_is_found_and_named() {
    for (name, statement, expected) in CASES {
        let mut site = Site::new().await;
        site.delivered().await;
        assert_eq!(site.found().await, set(&[]), "before: {name}");
        site.plant(statement).await;
        assert_eq!(site.found().await, set(expected), "{name}");
        site.pool.close().await;
    }
}

#[tokio::test]
async fn a_missing_partition_of_tomorrow_is_found_and_named() {
    let mut site = Site::new().await;
    site.delivered().await;
    site.plant(
        "DO $$ BEGIN EXECUTE 'DROP TABLE ntp_exchanges_'
             || to_char(now() AT TIME ZONE 'UTC' + interval '1 day', 'YYYYMMDD'); END $$",
    )
    .await;
    assert_eq!(site.found().await, set(&["!partitions/missing_partition"]));
    let report = site.audit(24 * HOUR).await;
    let detail = &report.database[0].detail;
    assert!(
        detail.starts_with("ntp_exchanges has no partition for 24 of the 48 hours"),
        "{detail}"
    );
}
