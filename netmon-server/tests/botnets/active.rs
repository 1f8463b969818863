//! Nodes active within windows, against what the communications say one by one.

use std::collections::{BTreeMap, BTreeSet};

use netmon_server::botnets::{
    Subject,
    aggregate::{Trigger, rebuild},
};
use time::{Duration, OffsetDateTime};

use crate::site::{Site, hour, seen};

/// Nodes by place that have a communication within each window, one window after the other.
type Active = BTreeMap<i32, [i64; 3]>;

const NODES: u32 = 1_500;

/// How undecided nodes are looked up: each by itself, and all together.
const EACH: &str = include_str!("../../src/botnets/aggregate/undecided.sql");
const MANY: &str = include_str!("../../src/botnets/aggregate/undecided_many.sql");

async fn looked_up(site: &Site, family: &Subject, way: &str, as_of: OffsetDateTime) -> Active {
    let rows: Vec<(i32, i64, i64, i64)> = sqlx::query_as(way)
        .bind(family.id)
        .bind(as_of)
        .bind(as_of - Duration::DAY)
        .bind(as_of - Duration::days(7))
        .bind(as_of - Duration::days(30))
        .fetch_all(&site.pool)
        .await
        .unwrap();
    let row = |(place, day, week, month)| (place, [day, week, month]);
    rows.into_iter().map(row).collect()
}

/// A number that looks drawn and is the same every time.
fn drawn(seed: u32) -> u32 {
    let mut x = seed.wrapping_mul(0x9e37_79b9) ^ 0x85eb_ca6b;
    x ^= x >> 13;
    x = x.wrapping_mul(0xc2b2_ae35);
    x ^ (x >> 16)
}

async fn brute_force(site: &Site, as_of: OffsetDateTime) -> Active {
    let rows: Vec<(i32, i64, i64, i64)> = sqlx::query_as(
        "SELECT n.place_id,
                count(DISTINCT c.ip) FILTER (WHERE c.bucket >= $1 - interval '24 hours'),
                count(DISTINCT c.ip) FILTER (WHERE c.bucket >= $1 - interval '168 hours'),
                count(DISTINCT c.ip)
         FROM botnet_communications c JOIN botnet_nodes n USING (family_id, ip)
         WHERE c.bucket < $1 AND c.bucket >= $1 - interval '720 hours'
         GROUP BY n.place_id",
    )
    .bind(as_of)
    .fetch_all(&site.pool)
    .await
    .unwrap();
    let row = |(place, day, week, month)| (place, [day, week, month]);
    rows.into_iter().map(row).collect()
}

async fn stored(site: &Site) -> (BTreeSet<OffsetDateTime>, Active) {
    let rows: Vec<(i32, OffsetDateTime, i64, i64, i64)> =
        sqlx::query_as("SELECT place_id, as_of, day, week, month FROM botnet_active")
            .fetch_all(&site.pool)
            .await
            .unwrap();
    let ends = rows.iter().map(|row| row.1).collect();
    let row = |(place, _, day, week, month)| (place, [day, week, month]);
    (ends, rows.into_iter().map(row).collect())
}

#[tokio::test]
async fn active_windows_are_exact_for_nodes_seen_on_both_sides_of_the_hour() {
    let site = Site::new().await;
    let family = site.family("mozi").await;
    let now = OffsetDateTime::now_utc();
    let this_hour = hour(now);
    // Hours at the edges of the windows, and on both sides of their end.
    let edges = [
        0, 1, 2, 23, 24, 25, 26, 167, 168, 169, 170, 719, 720, 721, 722, 1000,
    ];
    let mut sightings = Vec::new();
    for node in 0..NODES {
        for pick in 0..1 + drawn(node) % 4 {
            let drawn = drawn(node * 7 + pick);
            let hours = match drawn % 4 {
                3 => 0,
                0 => edges[(drawn >> 8) as usize % edges.len()],
                1 => i64::from(drawn >> 8) % 50,
                _ => i64::from(drawn >> 8) % 1100,
            };
            let within = Duration::microseconds(i64::from(drawn) % 3_600_000_000);
            let at = this_hour - Duration::hours(hours) + within;
            sightings.push(seen(node, at.min(now)));
        }
    }
    for part in sightings.chunks(1000) {
        site.store(&family, part.to_vec()).await;
    }
    let rebuilt = rebuild(&site.pool, &family, Trigger::Job)
        .await
        .unwrap()
        .unwrap();
    let as_of = rebuilt.active_as_of;
    assert!(
        as_of == this_hour || as_of == this_hour - Duration::HOUR,
        "{as_of}"
    );
    let (ends, found) = stored(&site).await;
    assert_eq!(ends, [as_of].into());
    let expected = brute_force(&site, as_of).await;
    assert!(
        expected
            .values()
            .all(|of| of[0] > 0 && of[0] < of[1] && of[1] < of[2]),
        "{expected:?}"
    );
    assert_eq!(found, expected);
    // The nodes that nobody could decide without their communications were among them.
    let undecided = format!(
        "SELECT count(*) FROM botnet_nodes
         WHERE last_seen >= '{as_of}' AND first_seen < '{}'",
        as_of - Duration::DAY
    );
    assert!(site.number(&undecided).await > 100);
    assert_eq!(
        looked_up(&site, &family, MANY, as_of).await,
        looked_up(&site, &family, EACH, as_of).await
    );
}

#[tokio::test]
async fn a_node_that_was_last_seen_long_ago_is_in_no_window() {
    let site = Site::new().await;
    let family = site.family("mozi").await;
    let at = OffsetDateTime::now_utc() - Duration::days(40);
    site.store(&family, vec![seen(1, at)]).await;
    rebuild(&site.pool, &family, Trigger::Job)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(stored(&site).await.1, Active::new());
}
