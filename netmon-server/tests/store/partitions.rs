//! Partitions are there before they are needed and go whole.

use std::sync::Arc;

use netmon_server::store::{Committed, Resolution, Series, Store, StoreError};
use sqlx::PgPool;
use time::{Date, Duration, OffsetDateTime, macros::format_description};
use tokio::task::JoinSet;

use crate::{
    batch::{DAY_NS, batch, now_ns},
    database::{RETENTION, number, store},
};

/// Names of all daily partitions, in order.
async fn partitions(pool: &PgPool) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT relname::text FROM pg_class WHERE relispartition AND relkind = 'r' ORDER BY 1",
    )
    .fetch_all(pool)
    .await
    .unwrap()
}

/// The names of a table's partitions of the days, in order.
fn named(series: Series, days: impl IntoIterator<Item = Date>) -> Vec<String> {
    let daily = format_description!("[year][month][day]");
    let monthly = format_description!("[year][month]");
    let name = |day: Date| match series.resolution() {
        Resolution::Hour => day.format(&monthly).unwrap(),
        _ => day.format(&daily).unwrap(),
    };
    let mut names: Vec<_> = days
        .into_iter()
        .map(|day| format!("{}_{}", series.table(), name(day)))
        .collect();
    names.dedup();
    names
}

/// The names of the partitions of several tables.
fn all(
    tables: impl IntoIterator<Item = Series>,
    days: impl IntoIterator<Item = Date> + Clone,
) -> Vec<String> {
    let of = |series| named(series, days.clone());
    let mut names: Vec<_> = tables.into_iter().flat_map(of).collect();
    names.sort();
    names
}

/// The tables agents write to.
fn raw() -> impl Iterator<Item = Series> {
    let all = Series::ALL.iter().copied();
    all.filter(|series| series.resolution() == Resolution::Raw && !series.is_of_botnets())
}

#[tokio::test]
async fn vacuum_and_analyze_have_little_to_do_in_partitions() {
    let (store, pool, _) = store().await;
    store
        .maintain_once(OffsetDateTime::now_utc())
        .await
        .unwrap();
    let looked_into = "SELECT count(*) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
         JOIN pg_type t ON t.oid = a.atttypid
         WHERE c.relispartition AND c.relkind = 'r' AND t.typcategory = 'A'
           AND a.attstattarget IS DISTINCT FROM 0";
    assert_eq!(number(&pool, looked_into).await, 0);
    let arrays = looked_into.replace("DISTINCT FROM 0", "NOT DISTINCT FROM 0");
    assert!(number(&pool, &arrays).await > 0);
    let raw = "SELECT count(*) FROM pg_class WHERE relispartition AND relkind = 'r'
         AND reloptions @> ARRAY['autovacuum_vacuum_insert_threshold=-1']";
    assert_eq!(
        number(&pool, raw).await,
        6 * 5,
        "raw tables and the lines of logs, five days each"
    );
}

#[tokio::test]
async fn partitions_exist_from_yesterday_to_three_days_ahead() {
    let (store, pool, _) = store().await;
    let now = OffsetDateTime::now_utc();
    store.maintain_once(now).await.unwrap();
    let days = (-1..=3).map(|offset| now.date() + Duration::days(offset));
    assert_eq!(
        partitions(&pool).await,
        all(Series::ALL.iter().copied(), days)
    );
    let maintained = store.maintain_once(now).await.unwrap();
    assert!(maintained.dropped.is_empty(), "{maintained:?}");
}

#[tokio::test]
async fn partitions_past_retention_are_dropped_whole() {
    let (store, pool, agent) = store().await;
    let now = OffsetDateTime::now_utc();
    store.maintain_once(now).await.unwrap();
    let rows = store.validate(agent, &batch(1)).unwrap();
    store.commit(&rows).await.unwrap();

    // Today and the days before it end within eight days; the day after today does not.
    let later = now + RETENTION + Duration::days(1);
    let maintained = store.maintain_once(later).await.unwrap();
    let expired = [now.date() - Duration::days(1), now.date()];
    let mut dropped = maintained.dropped;
    dropped.sort();
    assert_eq!(dropped, all(raw(), expired));
    assert_eq!(number(&pool, "SELECT count(*) FROM ntp_exchanges").await, 0);
    let left = [1, 2, 3, 7, 8, 9, 10, 11].map(|offset| now.date() + Duration::days(offset));
    let mut there = partitions(&pool).await;
    there.retain(|partition| partition.starts_with("ntp_exchanges"));
    assert_eq!(there, named(Series::Exchanges, left));
    // What they held lives on in sums.
    assert!(number(&pool, "SELECT count(*) FROM bandwidth_hours").await > 0);
}

#[tokio::test]
async fn older_data_within_retention_makes_its_own_partition() {
    let (store, pool, agent) = store().await;
    let mut batch = batch(1);
    batch.bandwidth[0].started_at_unix_ns = now_ns() - 6 * DAY_NS;
    let rows = store.validate(agent, &batch).unwrap();
    assert!(matches!(
        store.commit(&rows).await.unwrap(),
        Committed::Stored(_)
    ));
    assert_eq!(
        number(&pool, "SELECT count(*) FROM bandwidth_stats").await,
        1
    );
    assert_eq!(partitions(&pool).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_may_make_the_same_partitions_at_once() {
    let (_, pool, agent) = store().await;
    let mut tasks = JoinSet::new();
    for sequence in 1..=8 {
        let store = Arc::new(Store::new(pool.clone(), RETENTION));
        tasks.spawn(async move {
            let rows = store.validate(agent, &batch(sequence)).unwrap();
            store
                .maintain_once(OffsetDateTime::now_utc())
                .await
                .unwrap();
            store.commit(&rows).await.unwrap()
        });
    }
    let outcomes = tasks.join_all().await;
    assert!(
        outcomes
            .iter()
            .all(|outcome| matches!(outcome, Committed::Stored(_)))
    );
    let days = (-1..=3).map(|offset| OffsetDateTime::now_utc().date() + Duration::days(offset));
    assert_eq!(
        partitions(&pool).await,
        all(Series::ALL.iter().copied(), days)
    );
}

#[tokio::test]
async fn a_partition_dropped_by_hand_is_made_again() {
    let (store, pool, agent) = store().await;
    let rows = store.validate(agent, &batch(1)).unwrap();
    store.commit(&rows).await.unwrap();
    for partition in partitions(&pool).await {
        sqlx::query(&format!("DROP TABLE {partition}"))
            .execute(&pool)
            .await
            .unwrap();
    }
    let rows = store.validate(agent, &batch(2)).unwrap();
    let error = store.commit(&rows).await.unwrap_err();
    assert!(
        matches!(
            error,
            StoreError::Transient {
                missing_partition: true,
                ..
            }
        ),
        "{error}"
    );
    assert!(matches!(
        store.commit(&rows).await.unwrap(),
        Committed::Stored(_)
    ));
}

#[tokio::test]
async fn a_partition_somebody_reads_is_dropped_in_a_later_round() {
    let (store, pool, _) = store().await;
    let now = OffsetDateTime::now_utc();
    store.maintain_once(now).await.unwrap();
    let later = now + RETENTION + Duration::days(1);

    let mut reader = pool.begin().await.unwrap();
    sqlx::query("SELECT count(*) FROM bandwidth_stats")
        .execute(&mut *reader)
        .await
        .unwrap();
    let maintained = store.maintain_once(later).await.unwrap();
    assert_eq!(maintained.busy.len(), 2, "{maintained:?}");
    reader.rollback().await.unwrap();

    let maintained = store.maintain_once(later).await.unwrap();
    assert_eq!(maintained.busy.len(), 0, "{maintained:?}");
    let bandwidth = |partition: &&String| partition.starts_with("bandwidth_stats");
    assert_eq!(maintained.dropped.iter().filter(bandwidth).count(), 2);
}

#[tokio::test]
async fn writers_go_on_while_a_partition_is_made() {
    let (store, pool, agent) = store().await;
    let rows = store.validate(agent, &batch(1)).unwrap();
    store.commit(&rows).await.unwrap();
    // A writer with rows in the parent, not committed.
    let mut writer = pool.begin().await.unwrap();
    sqlx::query("DELETE FROM bandwidth_stats")
        .execute(&mut *writer)
        .await
        .unwrap();
    let made = store.maintain_once(OffsetDateTime::now_utc());
    let made = tokio::time::timeout(std::time::Duration::from_secs(5), made).await;
    made.expect("making partitions waits for no writer")
        .unwrap();
    writer.rollback().await.unwrap();
}

#[tokio::test]
async fn a_day_that_is_over_gets_no_partition() {
    let (_, pool, _) = store().await;
    let store = Store::new(pool.clone(), std::time::Duration::from_secs(3600));
    let noon = OffsetDateTime::now_utc().replace_time(time::macros::time!(12:00));
    let maintained = store.maintain_once(noon).await.unwrap();
    assert!(maintained.dropped.is_empty(), "{maintained:?}");
    let days = (0..=3).map(|offset| noon.date() + Duration::days(offset));
    let mut there = partitions(&pool).await;
    there.retain(|partition| partition.starts_with("bandwidth_stats"));
    assert_eq!(there, named(Series::Bandwidth, days));
}

#[tokio::test]
async fn maintenance_waits_for_nobody_who_holds_the_ledger() {
    let (store, pool, _) = store().await;
    let mut holder = pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE ingest_ledger")
        .execute(&mut *holder)
        .await
        .unwrap();
    let round = store.maintain_once(OffsetDateTime::now_utc());
    let round = tokio::time::timeout(std::time::Duration::from_secs(15), round).await;
    let error = round.expect("the round gives up").unwrap_err();
    assert!(matches!(error, StoreError::Transient { .. }), "{error}");
    holder.rollback().await.unwrap();
    let round = store.maintain_once(OffsetDateTime::now_utc()).await;
    round.expect("the next round succeeds");
}
