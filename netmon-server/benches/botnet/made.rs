//! Families of any size, filled by SQL, at places where addresses really are.

use std::{net::Ipv4Addr, time::Instant};

use anyhow::Result;
use sqlx::Executor as _;
use time::OffsetDateTime;

use crate::{bench::Bench, options::Size, packed, tracker};

/// Addresses that are sent as a log first: from them come the places, and a day's partitions.
const LOCATED: u32 = 30_000;

/// The family they are sent as.
const LOCATED_FAMILY: &str = "leethozer";

/// Nodes made by one statement.
const BATCH: u32 = 1_000_000;

/// Addresses of a family are so far apart that they reach from 1.0.0.0 to 209.0.0.0.
const REACH: u32 = 3_500_000_000;

/// Of so many nodes, one was seen in the hour that is not over yet, as well as 30 hours before.
const RECENT: u32 = 100;

/// The address of a node.
pub fn address(size: Size, number: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0100_0000 + number * (REACH / size.nodes))
}

/// Empties the tables and learns places.
pub async fn prepare(bench: &Bench) -> Result<()> {
    bench.empty().await?;
    let now = OffsetDateTime::now_utc();
    for at in [now, now - time::Duration::hours(30)] {
        let path = format!("/api/v1/botnets/{LOCATED_FAMILY}/logs");
        bench
            .connect()?
            .post(&path, &tracker::others(LOCATED, at))?;
    }
    Ok(())
}

/// Fills a family.
pub async fn fill(bench: &Bench, size: Size) -> Result<()> {
    let Size { family, nodes } = size;
    let began = Instant::now();
    let mut from = 0;
    while from < nodes {
        let to = nodes.min(from + BATCH);
        sqlx::query(
            "INSERT INTO botnet_nodes (family_id, first_seen, last_seen, communications, place_id,
                                       edition_id, ip)
             SELECT (SELECT family_id FROM botnet_families WHERE name = $1),
                    now() - interval '84 days',
                    CASE n % $6 WHEN 0 THEN now()
                                ELSE now() - interval '1 hour' * (2 + n * 7919 % 2000) END,
                    2 + n % 5, places[1 + n * 7919 % cardinality(places)], edition,
                    '1.0.0.0'::inet + n * $4
             FROM generate_series($2::int8, $3::int8 - 1) n,
                  (SELECT array_agg(place_id ORDER BY node_id) AS places, min(edition_id) AS edition
                   FROM botnet_nodes
                   WHERE family_id = (SELECT family_id FROM botnet_families WHERE name = $5)) located",
        )
        .bind(family)
        .bind(i64::from(from))
        .bind(i64::from(to))
        .bind(i64::from(REACH / nodes))
        .bind(LOCATED_FAMILY)
        .bind(i64::from(RECENT))
        .execute(&bench.pool)
        .await?;
        from = to;
        eprintln!(
            "filling {family}: {from} of {nodes} nodes after {:.0?}",
            began.elapsed()
        );
    }
    for hours in [0, 30] {
        sqlx::query(
            "INSERT INTO botnet_communications (family_id, bucket, first_seen, last_seen, count,
                                                source_id, ip)
             SELECT family_id, date_trunc('hour', seen, 'UTC'), seen, seen, 1,
                    (SELECT min(source_id) FROM botnet_sources), ip
             FROM (SELECT family_id, ip, last_seen - interval '1 hour' * $2::int4 AS seen
                   FROM botnet_nodes
                   WHERE family_id = (SELECT family_id FROM botnet_families WHERE name = $1)
                     AND last_seen > now() - interval '2 hours') recent",
        )
        .bind(family)
        .bind(hours)
        .execute(&bench.pool)
        .await?;
    }
    sqlx::query(
        "INSERT INTO botnet_statistics (family_id, place_id, nodes, communications)
         SELECT family_id, place_id, count(*), sum(communications)::int8 FROM botnet_nodes
         WHERE family_id = (SELECT family_id FROM botnet_families WHERE name = $1)
         GROUP BY family_id, place_id",
    )
    .bind(family)
    .execute(&bench.pool)
    .await?;
    Ok(())
}

/// Leaves the tables as they are when a database has been at rest for a while.
pub async fn settle(bench: &Bench) -> Result<()> {
    eprintln!("vacuuming");
    bench
        .pool
        .execute("VACUUM (ANALYZE) botnet_nodes, botnet_communications, botnet_statistics")
        .await?;
    packed::checkpoint(&bench.site).await
}
