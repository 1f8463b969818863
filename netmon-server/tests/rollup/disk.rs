//! Space: a warning, and raw days dropped early only if told to.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use netmon_server::{
    config::Disk,
    store::{Ageing, Shortage, Space, Store},
};
use time::{Duration, OffsetDateTime, macros::datetime};

use crate::site::{DAY, Site, ageing};

const NOW: OffsetDateTime = datetime!(2026-11-20 12:00 UTC);

/// A store on a file system on which each dropped partition frees 4 %.
fn store(site: &Site, disk: Disk) -> Store {
    let mut settings = ageing();
    settings.retention.raw = 5 * DAY;
    let database = site.pool().clone();
    let free = Arc::new(AtomicU64::new(0));
    Store::new(database, Ageing { disk, ..settings }).with_free_space(move || {
        Ok(Space {
            free_bytes: 3 + free.fetch_add(4, Ordering::Relaxed),
            total_bytes: 100,
        })
    })
}

/// Raw rows of four days, rolled up.
async fn site() -> Site {
    let mut site = Site::new().await;
    let before = Store::new(site.pool().clone(), 5 * DAY);
    for days in (0..4).rev() {
        let day = NOW - Duration::days(days);
        before.maintain_once(day).await.unwrap();
        site.measure(day - Duration::HOUR, day).await;
    }
    before.maintain_once(NOW).await.unwrap();
    site
}

#[tokio::test]
async fn short_space_is_a_warning_and_nothing_is_dropped_unless_told() {
    let site = site().await;
    let store = store(&site, Disk::default());
    let guarded = store.guard_once(NOW).await.unwrap();
    let free_percent = 3.0;
    assert_eq!(guarded.shortage, Some(Shortage::FreeSpace { free_percent }));
    assert!(guarded.dropped.is_empty());
}

#[tokio::test]
async fn the_oldest_raw_days_go_until_there_is_space() {
    let site = site().await;
    let disk = Disk {
        shorten_raw: true,
        ..Disk::default()
    };
    let sums = site.sums().await;
    let guarded = store(&site, disk).guard_once(NOW).await.unwrap();
    // 3 % and 7 % are too little, 11 % are enough.
    assert_eq!(
        guarded.dropped,
        ["bandwidth_stats_20261116", "ntp_exchanges_20261116"]
    );
    assert_eq!(guarded.shortage, None);
    assert_eq!(site.sums().await, sums);
}

#[tokio::test]
async fn what_is_younger_than_the_least_stays_whatever_the_space() {
    let site = site().await;
    let disk = Disk {
        shorten_raw: true,
        warn_free_percent: 90.0,
        min_raw: DAY,
        ..Disk::default()
    };
    let guarded = store(&site, disk).guard_once(NOW).await.unwrap();
    assert!(guarded.shortage.is_some());
    for table in ["bandwidth_stats", "ntp_exchanges"] {
        let mut dropped = guarded.dropped.clone();
        dropped.retain(|partition| partition.starts_with(table));
        dropped.sort();
        assert_eq!(
            dropped,
            ["16", "17", "18"].map(|day| format!("{table}_202611{day}"))
        );
    }
}

#[tokio::test]
async fn a_day_that_is_not_rolled_up_stays() {
    let site = site().await;
    site.server
        .sql("UPDATE rollup_progress SET rolled_through = '2026-11-17 06:00Z'")
        .await;
    let disk = Disk {
        shorten_raw: true,
        warn_free_percent: 90.0,
        ..Disk::default()
    };
    let dropped = store(&site, disk).guard_once(NOW).await.unwrap().dropped;
    assert!(
        dropped.contains(&"bandwidth_stats_20261116".to_owned()),
        "{dropped:?}"
    );
    assert!(
        !dropped.contains(&"bandwidth_stats_20261117".to_owned()),
        "{dropped:?}"
    );
}

#[tokio::test]
async fn an_external_database_is_bounded_by_its_size() {
    let site = site().await;
    let disk = Disk {
        max_database_bytes: 1000,
        ..Disk::default()
    };
    let store = Store::new(site.pool().clone(), Ageing { disk, ..ageing() });
    let guarded = store.guard_once(NOW).await.unwrap();
    assert!(matches!(guarded.shortage, Some(Shortage::DatabaseSize { bytes }) if bytes > 1000));
    assert!(guarded.dropped.is_empty());
}
