//! Partitions go whole, when nothing in them is needed any more, and nobody waits long.

use std::time::{Duration as Length, Instant};

use time::{Duration, OffsetDateTime, macros::datetime};

use crate::site::{Site, another, insert, mark};

const NOON: OffsetDateTime = datetime!(2026-11-10 12:00 UTC);
const LATER: OffsetDateTime = datetime!(2026-11-15 0:30 UTC);
const OLD: &str = "bandwidth_stats_20261110";

#[tokio::test]
async fn minutes_go_after_raw_rows_and_hours_after_them() {
    let mut site = Site::new().await;
    site.maintain(NOON).await;
    site.measure(NOON, NOON + Duration::HOUR).await;
    for (now, gone) in [
        (NOON + Duration::days(3), OLD),
        (NOON + Duration::days(6), "bandwidth_minutes_20261110"),
        (NOON + Duration::days(81), "bandwidth_hours_202611"),
    ] {
        let dropped = site.maintain(now).await.dropped;
        assert!(dropped.contains(&gone.to_owned()), "{gone}: {dropped:?}");
    }
    let behind = "SELECT count(*) FROM retained coarse JOIN retained fine \
         ON coarse.table_name = 'bandwidth_hours' AND fine.table_name = 'bandwidth_stats' \
         WHERE fine.since < coarse.since";
    assert_eq!(site.number(behind).await, 0);
}

#[tokio::test]
async fn a_row_that_is_being_stored_for_an_old_day_keeps_it_until_it_is_rolled_up() {
    let mut site = Site::new().await;
    site.maintain(NOON).await;
    site.measure(NOON, NOON + Duration::HOUR).await;
    let frame = site.frame(2, "eth1", NOON + Duration::hours(3));
    let mut writer = site.pool().begin().await.unwrap();
    insert(&mut *writer, &frame, 1_000_000).await.unwrap();
    mark(&mut writer, &frame).await;

    let other = another(&site).await;
    let maintained = other.maintain_once(LATER).await.unwrap();
    assert!(maintained.busy.contains(&OLD.to_owned()), "{maintained:?}");
    writer.commit().await.unwrap();
    let maintained = other.maintain_once(LATER).await.unwrap();
    assert!(
        maintained.dropped.contains(&OLD.to_owned()),
        "{maintained:?}"
    );
    assert_eq!(maintained.rolled_up[0].revised, 1);
    let samples = "SELECT sum(samples) FROM bandwidth_hours WHERE bucket = '2026-11-10 15:00Z'";
    assert_eq!(site.number(samples).await, frame.bytes.len() as i64);
}

#[tokio::test]
async fn a_day_with_a_mark_is_kept() {
    let mut site = Site::new().await;
    site.maintain(NOON).await;
    site.measure(NOON, NOON + Duration::HOUR).await;
    // Rolled up, not yet dropped; then a mark that the round before the drop does not see.
    let other = another(&site).await;
    other.roll_up_once(LATER).await.unwrap();
    site.server
        .sql("INSERT INTO late_hours VALUES (1, 'bandwidth_stats', '2026-11-10 12:00Z', now(), now())")
        .await;
    let mut disk = netmon_server::config::Disk::default();
    (disk.shorten_raw, disk.max_database_bytes) = (true, 1);
    let settings = netmon_server::store::Ageing {
        disk,
        ..crate::site::ageing()
    };
    let guard = netmon_server::store::Store::new(site.pool().clone(), settings);
    let dropped = guard.guard_once(LATER).await.unwrap().dropped;
    assert!(!dropped.contains(&OLD.to_owned()), "{dropped:?}");
    assert!(site.number("SELECT count(*) FROM bandwidth_stats").await > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_million_rows_go_while_writers_and_readers_go_on() {
    let site = Site::new().await;
    site.maintain(NOON).await;
    site.server
        .sql(
            "INSERT INTO bandwidth_stats (agent_id, interface, started_at, epoch, sequence, \
             ifindex, attachment, interval_us, ingress_packets, ingress_bytes, egress_packets, \
             egress_bytes, ingress_total_packets, ingress_total_bytes, egress_total_packets, \
             egress_total_bytes) \
             SELECT 1, 'eth0', timestamptz '2026-11-10 00:00Z' + n * interval '80 ms', 1, n, 2, 1, \
             '{80000}', '{1}', '{1}', '{1}', '{1}', n, n, n, n FROM generate_series(1, 1000000) n; \
             UPDATE rollup_progress SET rolled_through = '2026-11-10 00:00Z'",
        )
        .await;
    assert_eq!(
        site.number(&format!("SELECT count(*) FROM {OLD}")).await,
        1_000_000
    );
    site.store.roll_up_once(LATER).await.unwrap();
    let dropping = another(&site).await;
    dropping
        .maintain_once(LATER - Duration::days(2) - Duration::hours(1))
        .await
        .unwrap();

    let (writing, reading) = (another_pool(&site).await, another_pool(&site).await);
    let busy = tokio_util::sync::CancellationToken::new();
    let until = busy.clone();
    let writer = tokio::spawn(async move {
        let mut longest = Length::ZERO;
        for sequence in 2_000_000.. {
            if until.is_cancelled() {
                break;
            }
            let at = Instant::now();
            sqlx::query(
                "INSERT INTO bandwidth_stats SELECT agent_id, interface, \
                 timestamptz '2026-11-13 00:00Z', epoch, $1, ifindex, attachment, interval_us, \
                 ingress_packets, ingress_bytes, egress_packets, egress_bytes, null, null, null, \
                 null, null, null, null, 1, 1, 1, 1 FROM (VALUES (1::bigint, 'eth0', 1::bigint, 2, \
                 1, '{1}'::int4[], '{1}'::int4[], '{1}'::int4[], '{1}'::int4[], '{1}'::int4[])) \
                 AS row (agent_id, interface, epoch, ifindex, attachment, interval_us, \
                 ingress_packets, ingress_bytes, egress_packets, egress_bytes)",
            )
            .bind(sequence)
            .execute(&writing)
            .await
            .unwrap();
            longest = longest.max(at.elapsed());
        }
        longest
    });
    let until = busy.clone();
    let reader = tokio::spawn(async move {
        let mut longest = Length::ZERO;
        while !until.is_cancelled() {
            let at = Instant::now();
            sqlx::query("SELECT count(*) FROM bandwidth_stats WHERE started_at >= '2026-11-13'")
                .execute(&reading)
                .await
                .unwrap();
            longest = longest.max(at.elapsed());
        }
        longest
    });
    let at = Instant::now();
    let mut maintained = dropping.maintain_once(LATER).await.unwrap();
    // Every statement of the two locks the table for a moment: the drop may have to try again.
    while !maintained.dropped.contains(&OLD.to_owned()) {
        assert!(at.elapsed() < Length::from_secs(30), "{maintained:?}");
        maintained = dropping.maintain_once(LATER).await.unwrap();
    }
    busy.cancel();
    let (wrote, read) = (writer.await.unwrap(), reader.await.unwrap());
    // The wait for the lock is bounded by half a second, the rest is the machine's.
    assert!(wrote < Length::from_secs(2), "a writer waited {wrote:?}");
    assert!(read < Length::from_secs(2), "a reader waited {read:?}");
    let samples = "SELECT sum(samples) FROM bandwidth_hours WHERE bucket < '2026-11-11 00:00Z'";
    assert_eq!(site.number(samples).await, 1_000_000);
}

async fn another_pool(site: &Site) -> sqlx::PgPool {
    let options = crate::server::cluster()
        .await
        .connect_options(site.server.database_name());
    sqlx::postgres::PgPoolOptions::new().connect_lazy_with(options)
}
