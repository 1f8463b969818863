//! Rows older than the raw ones that are kept are added to the sums, once.

use time::{Duration, OffsetDateTime, macros::datetime};

use crate::site::{Frame, Site};

const NOON: OffsetDateTime = datetime!(2026-11-10 12:00 UTC);
/// Raw rows of the 10th to 12th are gone, minutes of them are there.
const LATER: OffsetDateTime = datetime!(2026-11-15 0:30 UTC);

/// A site that has measured an hour whose raw rows are gone.
async fn aged() -> Site {
    let mut site = Site::new().await;
    site.maintain(NOON).await;
    site.measure(NOON, NOON + Duration::HOUR).await;
    let maintained = site.maintain(LATER).await;
    assert!(
        maintained
            .dropped
            .contains(&"bandwidth_stats_20261110".to_owned()),
        "{maintained:?}"
    );
    assert_eq!(site.number("SELECT count(*) FROM bandwidth_stats").await, 0);
    site
}

/// Stores a late frame in a partition made for it, as the ingest does.
async fn late(site: &mut Site, frame: &Frame) {
    let day = frame.started_at.date().to_string();
    site.server
        .sql(&format!(
            "CREATE TABLE IF NOT EXISTS bandwidth_stats_{} PARTITION OF bandwidth_stats \
             FOR VALUES FROM ('{day} 00:00Z') TO (timestamptz '{day} 00:00Z' + interval '1 day')",
            day.replace('-', "")
        ))
        .await;
    site.insert_late(frame).await;
}

fn frame(started_at: OffsetDateTime) -> Frame {
    Frame {
        agent: 1,
        interface: "eth0",
        started_at,
        interval_us: vec![30_000_000; 5],
        bytes: vec![1000, 2000, 3000, 4000, 5000],
        flags: Some(vec![0, 0, 1, 0, 0]),
    }
}

const TOTALS: &str = "SELECT sum(ingress_bytes) FROM";

#[tokio::test]
async fn late_rows_of_a_dropped_day_are_added_once_and_deleted() {
    let mut site = aged().await;
    let minutes = site.number(&format!("{TOTALS} bandwidth_minutes")).await;
    let hours = site.number(&format!("{TOTALS} bandwidth_hours")).await;
    assert_eq!(minutes, hours);
    let next = format!("{TOTALS} bandwidth_hours WHERE bucket = '2026-11-10 13:00Z'");
    let next_hour = site.number(&next).await;
    let good = "SELECT sum(coalesce(good_ingress_bytes, ingress_bytes)) FROM bandwidth_hours \
                WHERE bucket = '2026-11-10 13:00Z'";
    let good_next_hour = site.number(good).await;

    // Reaches from one hour into the next.
    late(&mut site, &frame(NOON + Duration::minutes(59))).await;
    let rolled = site.maintain(LATER).await.rolled_up[0];
    assert_eq!((rolled.folded, rolled.revised, rolled.marks), (1, 0, 0));
    for table in ["bandwidth_minutes", "bandwidth_hours"] {
        let sum = site.number(&format!("{TOTALS} {table}")).await;
        assert_eq!(sum, hours + 15_000, "{table}");
    }
    assert_eq!(site.number(&next).await, next_hour + 12_000);
    assert_eq!(site.number(good).await, good_next_hour + 9_000);
    assert_eq!(site.number("SELECT count(*) FROM bandwidth_stats").await, 0);

    let again = site.maintain(LATER).await.rolled_up[0];
    assert_eq!(again.folded, 0);
    assert_eq!(
        site.number(&format!("{TOTALS} bandwidth_hours")).await,
        hours + 15_000
    );
}

#[tokio::test]
async fn where_minutes_are_gone_too_only_hours_get_the_rows() {
    let mut site = aged().await;
    let much_later = LATER + Duration::days(4);
    site.maintain(much_later).await;
    assert_eq!(
        site.number("SELECT count(*) FROM bandwidth_minutes").await,
        0
    );
    let hours = site.number(&format!("{TOTALS} bandwidth_hours")).await;
    late(&mut site, &frame(NOON)).await;
    assert_eq!(site.maintain(much_later).await.rolled_up[0].folded, 1);
    assert_eq!(
        site.number(&format!("{TOTALS} bandwidth_hours")).await,
        hours + 15_000
    );
    assert_eq!(
        site.number("SELECT count(*) FROM bandwidth_minutes").await,
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_killed_within_a_fold_has_added_nothing() {
    let mut site = aged().await;
    let sums = site.sums().await;
    late(&mut site, &frame(NOON)).await;

    // Holds up the fold after it has begun, until its connection is killed.
    let mut holder = site.pool().begin().await.unwrap();
    sqlx::query("LOCK TABLE bandwidth_hours IN ACCESS EXCLUSIVE MODE")
        .execute(&mut *holder)
        .await
        .unwrap();
    let other = crate::site::another(&site).await;
    let fold = tokio::spawn(async move { other.roll_up_once(LATER).await });
    let waiting = "FROM pg_stat_activity WHERE datname = current_database() \
                   AND wait_event_type = 'Lock'";
    for attempt in 0.. {
        assert!(attempt < 100, "the fold comes to the lock");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        if site.number(&format!("SELECT count(*) {waiting}")).await == 1 {
            break;
        }
    }
    site.server
        .sql(&format!("SELECT pg_terminate_backend(pid) {waiting}"))
        .await;
    fold.await.unwrap().unwrap_err();
    holder.rollback().await.unwrap();

    assert_eq!(site.sums().await, sums);
    assert_eq!(site.number("SELECT count(*) FROM bandwidth_stats").await, 1);
    assert_eq!(site.maintain(LATER).await.rolled_up[0].folded, 1);
    let added = site.number(&format!("{TOTALS} bandwidth_minutes")).await;
    assert_eq!(
        added,
        site.number(&format!("{TOTALS} bandwidth_hours")).await
    );
}

#[tokio::test]
async fn a_late_frame_over_the_bound_is_added_before_it_and_rolled_up_after_it() {
    let mut site = aged().await;
    let bound = datetime!(2026-11-13 0:00 UTC);
    let since =
        "SELECT extract(epoch FROM since) FROM retained WHERE table_name = 'bandwidth_stats'";
    assert_eq!(site.number(since).await, bound.unix_timestamp());
    // Two samples before midnight, three after it.
    late(&mut site, &frame(bound - Duration::MINUTE)).await;
    let rolled = site.maintain(LATER).await.rolled_up[0];
    assert_eq!((rolled.folded, rolled.marks), (1, 0), "{rolled:?}");
    for (hour, bytes) in [("2026-11-12 23:00Z", 3000), ("2026-11-13 00:00Z", 12_000)] {
        let sum = format!("{TOTALS} bandwidth_hours WHERE bucket = '{hour}'");
        assert_eq!(site.number(&sum).await, bytes, "{hour}");
    }
    let left = "SELECT count(*) FROM bandwidth_stats WHERE started_at = '2026-11-13 00:00Z'";
    assert_eq!(site.number(left).await, 1);
}

#[tokio::test]
async fn the_partition_of_late_rows_goes_once_they_are_added() {
    let mut site = aged().await;
    late(&mut site, &frame(NOON)).await;
    let dropped = site.maintain(LATER).await.dropped;
    assert_eq!(dropped, ["bandwidth_stats_20261110"]);
}
