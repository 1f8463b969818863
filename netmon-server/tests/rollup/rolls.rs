//! Sums equal what they are sums of.

use std::sync::Arc;

use netmon_server::store::Store;
use sqlx::postgres::PgPoolOptions;
use time::{Duration, OffsetDateTime, macros::datetime};

use crate::{
    server::cluster,
    site::{Site, ageing},
};

const TEN: OffsetDateTime = datetime!(2026-11-20 10:00 UTC);

/// Rows of sums that differ from what single samples say, of hours that are done.
async fn differences(site: &Site, table: &str, unit: &str) -> i64 {
    let sums = "count(*), count(*) FILTER (WHERE flags <> 0), \
         coalesce(sum(interval_us) FILTER (WHERE flags = 0), 0), \
         sum(ingress_bytes), sum(ingress_wire_packets), sum(egress_packets), \
         coalesce(sum(ingress_wire_bytes) FILTER (WHERE flags = 0), 0), \
         coalesce(sum(egress_bytes) FILTER (WHERE flags = 0), 0), \
         max(ingress_bytes * 8e6::float8 / interval_us) FILTER (WHERE flags = 0)";
    let samples = format!(
        "SELECT agent_id, interface, date_trunc('{unit}', begin_at, 'UTC'), {sums} \
         FROM (SELECT *, ended_at - interval_us * interval '1 microsecond' AS begin_at \
               FROM bandwidth_samples) samples \
         WHERE begin_at < (SELECT rolled_through FROM rollup_progress \
                           WHERE series = 'bandwidth_stats') GROUP BY 1, 2, 3"
    );
    let stored = format!(
        "SELECT agent_id, interface, bucket, samples, flagged, measured_us, ingress_bytes, \
         ingress_wire_packets, egress_packets, coalesce(good_ingress_wire_bytes, ingress_wire_bytes), \
         coalesce(good_egress_bytes, egress_bytes), ingress_peak_bits_per_second FROM {table}"
    );
    site.number(&format!(
        "SELECT count(*) FROM (({samples} EXCEPT {stored}) UNION ALL ({stored} EXCEPT {samples})) d"
    ))
    .await
}

async fn assert_equal(site: &Site) {
    assert_eq!(differences(site, "bandwidth_minutes", "minute").await, 0);
    assert_eq!(differences(site, "bandwidth_hours", "hour").await, 0);
}

#[tokio::test]
async fn sums_by_minute_and_hour_equal_the_samples_of_random_frames() {
    let mut site = Site::new().await;
    site.maintain(TEN).await;
    site.measure(TEN, TEN + Duration::hours(3)).await;
    let now = TEN + Duration::hours(3) + Duration::minutes(5);
    let rolled = site.maintain(now).await.rolled_up[0];
    assert_eq!(rolled.through, TEN + Duration::hours(3));
    assert!(site.number("SELECT count(*) FROM bandwidth_minutes").await > 600);
    assert_eq!(
        site.number("SELECT count(*) FROM bandwidth_hours").await,
        12
    );
    assert_equal(&site).await;
}

#[tokio::test]
async fn an_hour_is_rolled_up_when_it_is_over_for_the_lateness() {
    let mut site = Site::new().await;
    site.maintain(TEN).await;
    site.measure(TEN, TEN + Duration::hours(1)).await;
    let early = TEN + Duration::hours(1) + Duration::seconds(299);
    assert_eq!(site.maintain(early).await.rolled_up[0].through, TEN);
    let due = early + Duration::SECOND;
    let rolled = site.maintain(due).await.rolled_up[0];
    assert_eq!((rolled.through, rolled.hours), (TEN + Duration::HOUR, 1));
}

#[tokio::test]
async fn doing_it_again_changes_nothing() {
    let mut site = Site::new().await;
    site.maintain(TEN).await;
    site.measure(TEN, TEN + Duration::hours(2)).await;
    let now = TEN + Duration::hours(4);
    site.maintain(now).await;
    let sums = site.sums().await;
    assert!(!sums.is_empty());
    site.server
        .sql("UPDATE rollup_progress SET rolled_through = rolled_through - interval '3 hours'")
        .await;
    let again = site.maintain(now).await.rolled_up[0];
    assert_eq!(again.hours, 3);
    assert_eq!(site.sums().await, sums);
}

#[tokio::test]
async fn late_rows_roll_their_hours_up_again() {
    let mut site = Site::new().await;
    site.maintain(TEN).await;
    site.measure(TEN, TEN + Duration::hours(2)).await;
    let now = TEN + Duration::hours(3);
    site.maintain(now).await;
    let before = site.sums().await;

    let mut late = site.frame(1, "eth0", TEN + Duration::minutes(59));
    late.interval_us = vec![60_000_000; late.interval_us.len()];
    site.insert_late(&late).await;
    let rolled = site.maintain(now).await.rolled_up[0];
    assert!(rolled.revised >= 1 && rolled.marks == 0, "{rolled:?}");
    assert_ne!(site.sums().await, before);
    assert_equal(&site).await;
}

#[tokio::test]
async fn after_a_time_of_rest_everything_is_caught_up() {
    let mut site = Site::new().await;
    site.maintain(TEN).await;
    site.measure(TEN, TEN + Duration::HOUR).await;
    let now = TEN + Duration::days(1) + Duration::hours(5);
    site.measure(now - Duration::hours(3), now - Duration::hours(2))
        .await;
    let rolled = site.maintain(now).await.rolled_up[0];
    assert_eq!(rolled.hours, 29);
    assert_equal(&site).await;
}

#[tokio::test]
async fn more_agents_than_one_transaction_takes_are_done_in_turn() {
    let mut site = Site::new().await;
    site.maintain(TEN).await;
    for agent in 3..=130 {
        site.server.agent(agent, &format!("agent-{agent}")).await;
        let frame = site.frame(agent, "eth0", TEN + Duration::minutes(1));
        site.insert(&frame).await;
    }
    site.maintain(TEN + Duration::hours(2)).await;
    let agents = "SELECT count(DISTINCT agent_id) FROM bandwidth_hours";
    assert_eq!(site.number(agents).await, 128);
    assert_equal(&site).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_at_once_do_the_work_once() {
    let mut site = Site::new().await;
    site.maintain(TEN).await;
    site.measure(TEN, TEN + Duration::hours(2)).await;
    let options = cluster().await.connect_options(site.server.database_name());
    let mut servers = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let pool = PgPoolOptions::new().connect_lazy_with(options.clone());
        let store = Arc::new(Store::new(pool, ageing()));
        servers.spawn(async move { store.roll_up_once(TEN + Duration::hours(12)).await });
    }
    let mut hours = 0;
    for done in servers.join_all().await {
        hours += done.unwrap()[0].hours;
    }
    assert_eq!(hours, 12);
    assert_equal(&site).await;
}

#[tokio::test]
async fn a_clock_that_is_set_back_rolls_up_again_what_was_not_over() {
    let mut site = Site::new().await;
    site.maintain(TEN).await;
    // The database's clock is two hours ahead, and then right again.
    site.maintain(TEN + Duration::hours(2)).await;
    let rolled = site.maintain(TEN + Duration::minutes(1)).await.rolled_up[0];
    assert_eq!(rolled.through, TEN - Duration::HOUR);
    site.measure(TEN, TEN + Duration::hours(1)).await;
    site.maintain(TEN + Duration::hours(2)).await;
    assert_equal(&site).await;
    assert_eq!(site.number("SELECT count(*) FROM bandwidth_hours").await, 4);
}

#[tokio::test]
async fn absurd_counts_stand_at_the_largest_number_and_stop_nothing() {
    let mut site = Site::new().await;
    site.maintain(TEN).await;
    let mut frame = site.frame(1, "eth0", TEN);
    frame.interval_us = vec![1000; 40];
    frame.bytes = vec![(1 << 62) - 1; 40];
    frame.flags = Some((0..40).map(|n| n % 2).collect());
    site.insert(&frame).await;
    site.maintain(TEN + Duration::hours(2)).await;
    let bytes = "SELECT max(ingress_bytes) FROM bandwidth_hours";
    assert_eq!(site.number(bytes).await, i64::MAX);
}
