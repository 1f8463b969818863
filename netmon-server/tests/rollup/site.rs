//! A server with made frames.

use std::time::Duration as Length;

use netmon_server::{
    config::{Retention, RollUp},
    store::{Ageing, Maintained, Store},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use sqlx::PgPool;
use time::{Duration, OffsetDateTime};

use crate::server::Server;

pub const DAY: Length = Length::from_secs(86_400);

/// A server whose database has two agents with two interfaces each.
pub struct Site {
    pub server: Server,
    pub store: Store,
    random: StdRng,
    sequence: i64,
}

/// Samples of one interface, in a row.
#[derive(Clone, Debug)]
pub struct Frame {
    pub agent: i64,
    pub interface: &'static str,
    pub started_at: OffsetDateTime,
    pub interval_us: Vec<i32>,
    pub bytes: Vec<i64>,
    pub flags: Option<Vec<i16>>,
}

pub fn ageing() -> Ageing {
    Ageing {
        retention: Retention {
            raw: 2 * DAY,
            minutes: 5 * DAY,
            hours: 60 * DAY,
            ..Retention::default()
        },
        rollup: RollUp {
            quiet: Length::ZERO,
            ..RollUp::default()
        },
        ..Ageing::default()
    }
}

impl Site {
    pub async fn new() -> Self {
        let server = Server::start().await;
        for (agent, alias) in [(1, "edge"), (2, "core")] {
            server.agent(agent, alias).await;
            for interface in ["eth0", "eth1"] {
                server.interface(agent, interface).await;
            }
        }
        let store = Store::new(server.database.clone(), ageing());
        Self {
            server,
            store,
            random: StdRng::seed_from_u64(7),
            sequence: 0,
        }
    }

    pub fn pool(&self) -> &PgPool {
        &self.server.database
    }

    /// A round of maintenance at a time.
    pub async fn maintain(&self, now: OffsetDateTime) -> Maintained {
        self.store.maintain_once(now).await.unwrap()
    }

    /// Stores frames of all interfaces without a gap from one time to another, the last reaching over
    /// the end.
    pub async fn measure(&mut self, from: OffsetDateTime, to: OffsetDateTime) {
        for agent in [1, 2] {
            for interface in ["eth0", "eth1"] {
                let mut at = from;
                while at < to {
                    let frame = self.frame(agent, interface, at);
                    at += frame.length();
                    self.insert(&frame).await;
                }
            }
        }
    }

    /// A frame of random samples.
    pub fn frame(
        &mut self,
        agent: i64,
        interface: &'static str,
        started_at: OffsetDateTime,
    ) -> Frame {
        let samples = self.random.random_range(1..=60);
        let mut draw = |range: std::ops::Range<i64>| -> Vec<i64> {
            (0..samples)
                .map(|_| self.random.random_range(range.clone()))
                .collect()
        };
        let interval_us = draw(100..30_000)
            .iter()
            .map(|ms| *ms as i32 * 1000)
            .collect();
        let bytes = draw(0..6_000_000_000);
        let odd = draw(0..20).iter().map(|n| i16::from(*n == 0)).collect();
        Frame {
            agent,
            interface,
            started_at,
            interval_us,
            bytes,
            flags: self.random.random_bool(0.5).then_some(odd),
        }
    }

    /// Stores a frame as the ingest does, without a mark.
    pub async fn insert(&mut self, frame: &Frame) {
        self.sequence += 1;
        insert(self.pool(), frame, self.sequence).await.unwrap();
    }

    /// Stores a frame with the marks of every hour in which a sample of it begins.
    pub async fn insert_late(&mut self, frame: &Frame) {
        self.sequence += 1;
        let mut transaction = self.pool().begin().await.unwrap();
        insert(&mut *transaction, frame, self.sequence)
            .await
            .unwrap();
        mark(&mut transaction, frame).await;
        transaction.commit().await.unwrap();
    }

    /// One number that a query answers with.
    pub async fn number(&self, query: &str) -> i64 {
        sqlx::query_scalar(&format!("SELECT ({query})::bigint"))
            .fetch_one(self.pool())
            .await
            .unwrap()
    }

    /// Everything in the two tables of sums.
    pub async fn sums(&self) -> String {
        sqlx::query_scalar(
            "SELECT coalesce(string_agg(line, E'\\n' ORDER BY line), '') FROM (
                 SELECT 'm' || m::text AS line FROM bandwidth_minutes m
                 UNION ALL SELECT 'h' || h::text FROM bandwidth_hours h) lines",
        )
        .fetch_one(self.pool())
        .await
        .unwrap()
    }
}

impl Frame {
    pub fn length(&self) -> Duration {
        Duration::microseconds(self.interval_us.iter().map(|us| i64::from(*us)).sum())
    }

    /// When its samples begin.
    pub fn begins(&self) -> impl Iterator<Item = OffsetDateTime> {
        let mut at = self.started_at;
        self.interval_us.iter().map(move |us| {
            let begin = at;
            at += Duration::microseconds((*us).into());
            begin
        })
    }
}

pub async fn insert<'c>(
    database: impl sqlx::PgExecutor<'c>,
    frame: &Frame,
    sequence: i64,
) -> sqlx::Result<()> {
    let low: Vec<i32> = frame
        .bytes
        .iter()
        .map(|b| (b & 0x7fff_ffff) as i32)
        .collect();
    let high: Vec<i32> = frame.bytes.iter().map(|b| (b >> 31) as i32).collect();
    let packets: Vec<i32> = frame.bytes.iter().map(|b| (b / 1000) as i32).collect();
    let wire: Vec<i32> = packets.iter().map(|p| p.saturating_mul(3)).collect();
    let wire_bytes: Vec<i64> = frame.bytes.iter().map(|b| b + b / 20).collect();
    sqlx::query(
        "INSERT INTO bandwidth_stats (agent_id, interface, started_at, epoch, sequence, ifindex,
             attachment, interval_us, ingress_packets, ingress_bytes, ingress_bytes_high,
             egress_packets, egress_bytes, ingress_wire_packets, ingress_wire_bytes, flags,
             ingress_total_packets, ingress_total_bytes, egress_total_packets, egress_total_bytes)
         VALUES ($1, $2, $3, 1, $4, 2, 1, $5, $6, $7, $8, $6, $7, $9, $10, $11, 0, 0, 0, 0)",
    )
    .bind(frame.agent)
    .bind(frame.interface)
    .bind(frame.started_at)
    .bind(sequence)
    .bind(&frame.interval_us)
    .bind(packets)
    .bind(low)
    .bind(high)
    .bind(wire)
    .bind(wire_bytes)
    .bind(&frame.flags)
    .execute(database)
    .await
    .map(drop)
}

/// Leaves the marks of a frame, as the ingest does.
pub async fn mark(connection: &mut sqlx::PgConnection, frame: &Frame) {
    let hour = |at: OffsetDateTime| at.replace_nanosecond(0).unwrap().unix_timestamp() / 3600;
    let mut hours: Vec<_> = frame.begins().map(hour).collect();
    hours.dedup();
    for hour in hours {
        sqlx::query(
            "INSERT INTO late_hours VALUES ($1, 'bandwidth_stats', to_timestamp($2), $3, $3)
             ON CONFLICT (agent_id, series, hour) DO UPDATE SET marked_at = EXCLUDED.marked_at",
        )
        .bind(frame.agent)
        .bind((hour * 3600) as f64)
        .bind(frame.started_at)
        .execute(&mut *connection)
        .await
        .unwrap();
    }
}

/// Another server on the same database, with connections of its own.
pub async fn another(site: &Site) -> Store {
    let options = crate::server::cluster()
        .await
        .connect_options(site.server.database_name());
    let pool = sqlx::postgres::PgPoolOptions::new().connect_lazy_with(options);
    Store::new(pool, ageing())
}
