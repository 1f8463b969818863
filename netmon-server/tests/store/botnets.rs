//! Families, chunks and what must hold of the tables whatever happened.

use std::{net::IpAddr, sync::Arc};

use bytes::Bytes;
use netmon_geo::{Edition, Place};
use netmon_server::{
    config,
    store::botnets::{Botnets, Chunk, EditionId, Family, Figures, Rejections, Sighting, Upload},
};
use sqlx::PgPool;
use time::OffsetDateTime;

use crate::database::{cluster, database, number};

/// Botnets in a database of their own, and the family `mozi`.
pub async fn botnets() -> (Arc<Botnets>, PgPool, Family) {
    let settings = config::Botnets {
        // More than the pool allows: three quarters of it are used.
        writers: 100,
        ..config::Botnets::default()
    };
    botnets_with(settings).await
}

pub async fn botnets_with(settings: config::Botnets) -> (Arc<Botnets>, PgPool, Family) {
    let pool = database(cluster().await).await;
    let botnets = Botnets::new(pool.clone(), &settings);
    let family = botnets.family("mozi").await.unwrap().unwrap();
    (Arc::new(botnets), pool, family)
}

pub async fn edition(botnets: &Botnets) -> EditionId {
    let edition = Edition {
        fingerprint: "of the test".to_owned(),
        description: "places as the test says".to_owned(),
    };
    botnets.edition(&edition).await.unwrap()
}

pub async fn upload(botnets: &Botnets, family: &Family, key: &str) -> Upload {
    let begun = botnets.begin_upload(family, Some(key), "sinkhole", "auto");
    begun.await.unwrap()
}

/// Some places, one of them unknown.
pub fn place(number: u32) -> Place {
    let (country, province, city) = [
        ("", "", ""),
        ("CN", "CN-JS", "320100"),
        ("CN", "CN-ZJ", "330100"),
        ("NL", "", ""),
        ("US", "US-CA", ""),
    ][number as usize % 5];
    Place::new(country, province, city).unwrap()
}

/// The address with a number, IPv6 for every seventh, and the place it is always located at.
pub fn host(number: u32) -> (IpAddr, Place) {
    let ip = match number % 7 {
        0 => IpAddr::from(((0x2400_3200_u128 << 96) + u128::from(number)).to_be_bytes()),
        _ => IpAddr::from((0x2d00_0000 + number).to_be_bytes()),
    };
    (ip, place(number))
}

pub fn seen(number: u32, at: OffsetDateTime) -> Sighting {
    let (ip, place) = host(number);
    Sighting::new(ip, at, Some(1024 + (number % 1000) as u16), place)
}

/// A chunk whose lines are all accepted.
pub fn chunk(index: u32, edition: EditionId, sightings: Vec<Sighting>) -> Chunk {
    let lines = sightings.len() as u64;
    let raw: String = sightings
        .iter()
        .map(|of| format!("{},{},{:?}\n", of.seen_at, of.address, of.port))
        .collect();
    Chunk {
        index,
        first_line: 1 + u64::from(index) * 1000,
        figures: Figures {
            lines,
            accepted: lines,
            ..Figures::default()
        },
        rejections: Rejections::default(),
        raw: Bytes::from(raw),
        edition,
        sightings,
    }
}

/// Places where statistics and differences together are not what a fresh count gives.
pub const INEXACT: &str = "
    SELECT count(*) FROM (
        SELECT family_id, place_id, sum(nodes) AS nodes, sum(communications) AS communications
        FROM (SELECT family_id, place_id, nodes, communications FROM botnet_statistics
              UNION ALL
              SELECT d.family_id, u.* FROM botnet_deltas d,
                     unnest(d.place_ids, d.nodes, d.communications) AS u) AS kept
        GROUP BY 1, 2) AS kept
    FULL JOIN (
        SELECT family_id, place_id, count(*) AS nodes, sum(communications) AS communications
        FROM botnet_nodes GROUP BY 1, 2) AS fresh USING (family_id, place_id)
    WHERE coalesce(kept.nodes, 0) <> coalesce(fresh.nodes, 0)
       OR coalesce(kept.communications, 0) <> coalesce(fresh.communications, 0)";

/// Nodes whose communications are not all there, and communications without their node.
pub const UNBALANCED: &str = "
    SELECT count(*) FROM (
        SELECT family_id, ip, sum(count) AS count, min(first_seen) AS first, max(last_seen) AS last
        FROM botnet_communications GROUP BY 1, 2) AS c
    FULL JOIN botnet_nodes n USING (family_id, ip)
    WHERE n.communications IS DISTINCT FROM c.count
       OR n.first_seen IS DISTINCT FROM c.first OR n.last_seen IS DISTINCT FROM c.last";

pub async fn assert_exact(pool: &PgPool) {
    assert_eq!(
        number(pool, INEXACT).await,
        0,
        "statistics differ from a fresh count"
    );
}

/// For tables of which nothing is past its retention.
pub async fn assert_balanced(pool: &PgPool) {
    assert_exact(pool).await;
    assert_eq!(
        number(pool, UNBALANCED).await,
        0,
        "nodes and communications differ"
    );
}

pub async fn nodes(pool: &PgPool) -> i64 {
    number(pool, "SELECT count(*) FROM botnet_nodes").await
}

pub async fn sightings(pool: &PgPool) -> i64 {
    number(
        pool,
        "SELECT coalesce(sum(communications), 0) FROM botnet_nodes",
    )
    .await
}
