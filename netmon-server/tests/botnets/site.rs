//! A database with botnets in it.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
    sync::atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use netmon_geo::{Atlas, Place};
use netmon_server::{
    botnets::Subject,
    config,
    store::botnets::{Botnets, Chunk, Figures, Rejections, Sighting},
};
use sqlx::PgPool;
use time::{Date, Duration, OffsetDateTime, UtcOffset};

use crate::database::{cluster, database};

/// What the statistics of family $1 say, and what its nodes say, at one moment: places at which they
/// differ.
const DIFFERENCES: &str = "
    SELECT count(*) FROM (
        SELECT place_id, sum(nodes) AS nodes, sum(communications) AS communications FROM (
            SELECT place_id, nodes, communications FROM botnet_statistics WHERE family_id = $1
            UNION ALL
            SELECT of.place_id, of.nodes, of.communications
            FROM botnet_deltas d, unnest(d.place_ids, d.nodes, d.communications)
                AS of (place_id, nodes, communications)
            WHERE d.family_id = $1
        ) live GROUP BY place_id HAVING sum(nodes) <> 0 OR sum(communications) <> 0
    ) live
    FULL JOIN (
        SELECT place_id, count(*) AS nodes, sum(communications) AS communications
        FROM botnet_nodes WHERE family_id = $1 GROUP BY place_id
    ) counted USING (place_id)
    WHERE live.nodes IS DISTINCT FROM counted.nodes
       OR live.communications IS DISTINCT FROM counted.communications";

pub struct Site {
    pub pool: PgPool,
    pub botnets: Botnets,
}

impl Site {
    pub async fn new() -> Self {
        let pool = database(cluster().await).await;
        let botnets = Botnets::new(pool.clone(), &config::Botnets::default());
        Self { pool, botnets }
    }

    /// One of the families that are there from the start.
    pub async fn family(&self, name: &str) -> Subject {
        let names = [name.to_owned()];
        Subject::named(&self.pool, &names).await.unwrap().remove(0)
    }

    /// Stores sightings as a log of its own.
    pub async fn store(&self, family: &Subject, sightings: Vec<Sighting>) {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let botnets = &self.botnets;
        let edition = botnets.edition(Atlas::embedded().edition()).await.unwrap();
        let of = botnets.family(&family.name).await.unwrap().unwrap();
        let key = format!("test-{number}");
        let upload = botnets
            .begin_upload(&of, Some(&key), "test", "auto")
            .await
            .unwrap();
        let lines = sightings.len() as u64;
        let chunk = Chunk {
            index: 0,
            first_line: 1,
            figures: Figures {
                lines,
                accepted: lines,
                ..Figures::default()
            },
            rejections: Rejections::default(),
            raw: Bytes::from(key.clone()),
            edition,
            sightings,
        };
        botnets.store_chunk(&upload, chunk).await.unwrap();
        botnets.finish_upload(&upload).await.unwrap();
    }

    /// Makes partitions of communications for the days from so long ago up to tomorrow.
    pub async fn days(&self, ago: i64) {
        let today = today();
        let days: BTreeSet<Date> = (-1..=ago)
            .map(|days| today - Duration::days(days))
            .collect();
        self.botnets.ensure_communications(&days).await.unwrap();
    }

    /// Changes the database behind the server's back.
    pub async fn plant(&self, statement: &str) {
        let done = sqlx::raw_sql(statement).execute(&self.pool).await;
        done.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }

    pub async fn number(&self, query: &str) -> i64 {
        crate::database::number(&self.pool, query).await
    }

    /// Places at which statistics and nodes of a family differ.
    pub async fn differences(&self, family: &Subject) -> i64 {
        sqlx::query_scalar(DIFFERENCES)
            .bind(family.id)
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    /// A number that stands for everything in the tables of botnets, but for what says when somebody
    /// looked.
    pub async fn digest(&self) -> String {
        let mut digest = String::new();
        for table in [
            "botnet_nodes",
            "botnet_communications",
            "botnet_statistics",
            "botnet_deltas",
            "botnet_days",
            "botnet_days_due",
            "botnet_sources",
            "botnet_aggregations",
        ] {
            let of: String = sqlx::query_scalar(&format!(
                "SELECT count(*) || ' ' || coalesce(sum(hashtextextended(t::text, 0)::numeric), 0)
                 FROM {table} t"
            ))
            .fetch_one(&self.pool)
            .await
            .unwrap();
            digest += &format!("{table} {of}\n");
        }
        digest
    }
}

pub fn today() -> Date {
    OffsetDateTime::now_utc().to_offset(UtcOffset::UTC).date()
}

/// One of some 16 million addresses.
pub fn address(number: u32) -> IpAddr {
    IpAddr::from(Ipv4Addr::from(0x0b00_0000 + number))
}

/// A few places; which one, the address decides.
pub fn place(number: u32) -> Place {
    let (country, province, city) = [
        ("CN", "CN-JS", "320100"),
        ("CN", "CN-ZJ", "330100"),
        ("CN", "CN-GD", ""),
        ("NL", "", ""),
        ("", "", ""),
    ][number as usize % 5];
    Place::new(country, province, city).unwrap()
}

pub fn seen(number: u32, at: OffsetDateTime) -> Sighting {
    Sighting::new(address(number), at, Some(23), place(number))
}

/// The beginning of the hour that a time lies in.
pub fn hour(at: OffsetDateTime) -> OffsetDateTime {
    let second = at.unix_timestamp();
    OffsetDateTime::from_unix_timestamp(second - second.rem_euclid(3600)).unwrap()
}
