//! Gives nodes the communications that they lack, and corrects counters and times that contradict
//! what is there.
//!
//! What was seen is not invented: a node's row says when it was seen first and last, and how often,
//! and no more than that is written, as of the source `repair` ([`mend`](mend::mend) says how). In
//! batches, each a transaction that looks again at what it mends under lock: it may be interrupted and
//! begun again at any time, and lines may come in meanwhile.

mod batch;
mod mend;

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use serde::Serialize;
use sqlx::PgPool;
use time::OffsetDateTime;

use super::{
    Subject,
    aggregate::{RebuildError, Rebuilt, Trigger, rebuild},
    audit::BOOKS,
    snapshot::Snapshot,
    transient::attempts,
};
use crate::store::botnets::{BotnetError, Botnets};

/// Most addresses looked up at once: a pass over the books finds them, and batches work them off.
const PASS: i64 = 1_000_000;

/// Passes until what still does not fit is left to the next audit: lines come in meanwhile.
const MAX_PASSES: u32 = 1000;

/// How to go about it.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Change the database; else only look.
    pub execute: bool,
    /// Nodes of one transaction.
    pub batch: usize,
}

/// What was mended of a family, or would be.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Repaired {
    /// Its name.
    pub family: String,
    /// Whether it was done; else it would be.
    pub executed: bool,
    /// What was changed.
    pub changes: Changes,
    /// How far the statistics were from a count before, or are: rebuilt if executed.
    pub statistics: crate::botnets::aggregate::Drift,
}

/// What batches changed, or would.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// Nodes that lacked communications.
    pub lacking: u64,
    /// Rows of communications that were added.
    pub communications: u64,
    /// Sightings in them.
    pub sightings: u64,
    /// Counters that were corrected.
    pub counters: u64,
    /// Nodes whose first or last sighting was corrected.
    pub times: u64,
    /// Nodes that were made of communications without one.
    pub nodes: u64,
}

/// Why a family was not mended to the end. What was until then stays.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// The database.
    #[error("the database cannot do it: {0}")]
    Database(#[from] sqlx::Error),
    /// The tables of botnets.
    #[error(transparent)]
    Botnets(#[from] BotnetError),
    /// The statistics.
    #[error(transparent)]
    Rebuild(#[from] RebuildError),
    /// Something does not fit after it was mended.
    #[error("{0} addresses still do not fit: run the audit, and the repair again")]
    Unfinished(u64),
}

/// Mends one family, or says what would be done; `progress` is told the addresses that are done.
///
/// # Errors
/// See [`RepairError`].
pub async fn repair(
    botnets: &Botnets,
    family: &Subject,
    options: Options,
    mut progress: impl FnMut(u64),
) -> Result<Repaired, RepairError> {
    let pool = botnets.pool();
    let mut repaired = Repaired {
        family: family.name.clone(),
        executed: options.execute,
        ..Repaired::default()
    };
    let mut done = 0;
    let mut after = None;
    for _ in 0..MAX_PASSES {
        let (since, found) = unbalanced(pool, family, after).await?;
        let more = found.len() as i64 == PASS;
        for ips in found.chunks(options.batch.max(1)) {
            let work = batch::Batch {
                family: family.id,
                since,
                ips,
                execute: options.execute,
            };
            repaired.changes += batch::mend(botnets, &work).await?;
            done += ips.len() as u64;
            progress(done);
        }
        after = found.last().copied();
        if !more {
            break;
        }
    }
    if !options.execute {
        repaired.statistics = super::audit::drift(pool, family).await?;
        return Ok(repaired);
    }
    let rebuilt = rebuild(pool, family, Trigger::Command).await?;
    repaired.statistics = rebuilt
        .map(|rebuilt: Rebuilt| rebuilt.drift)
        .unwrap_or_default();
    let (_, left) = unbalanced(pool, family, None).await?;
    match left.len() as u64 {
        0 => Ok(repaired),
        left => Err(RepairError::Unfinished(left)),
    }
}

/// Addresses whose node and communications do not fit together, in order, and since when
/// communications are kept.
async fn unbalanced(
    pool: &PgPool,
    family: &Subject,
    after: Option<IpAddr>,
) -> sqlx::Result<(OffsetDateTime, Vec<IpAddr>)> {
    let statement = format!(
        "{BOOKS}
         SELECT ip FROM (
             SELECT coalesce(node, seen) AS ip FROM books
             WHERE lacking OR orphan OR miscounted OR misdated
         ) of
         WHERE $3::inet IS NULL OR ip > $3
         ORDER BY ip LIMIT $4"
    );
    attempts(|| async {
        let mut snapshot = Snapshot::begin(pool).await?;
        let since = snapshot.hold_communications().await?;
        let found: Vec<IpNetwork> = sqlx::query_scalar(&statement)
            .bind(family.id)
            .bind(since)
            .bind(after.map(IpNetwork::from))
            .bind(PASS)
            .fetch_all(snapshot.connection())
            .await?;
        snapshot.end().await?;
        Ok((
            since,
            found.into_iter().map(|network| network.ip()).collect(),
        ))
    })
    .await
}

impl std::ops::AddAssign for Changes {
    fn add_assign(&mut self, other: Self) {
        self.lacking += other.lacking;
        self.communications += other.communications;
        self.sightings += other.sightings;
        self.counters += other.counters;
        self.times += other.times;
        self.nodes += other.nodes;
    }
}

impl Changes {
    /// Whether there is nothing to mend.
    pub fn is_none(self) -> bool {
        self == Self::default()
    }
}
