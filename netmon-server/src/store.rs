//! What agents measured, stored in PostgreSQL: each batch whole or not at all, and once.
//!
//! A batch goes through [`Store::validate`], which needs no database and decides whether it can
//! ever be stored, and [`Store::commit`], which may be repeated until it answers: the ledger row
//! written with the rows makes the second attempt a [`Committed::Duplicate`], also when the first
//! one's answer was lost. Every `(agent, epoch, kind, sequence)` gets one verdict, the first.
//!
//! Transactions take their locks in one order (ledger, series, interfaces, clients, servers, agents; within
//! a table by key), and agents share no rows, so commits cannot deadlock.

use std::{
    ops::Range,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use sqlx::PgPool;
use time::OffsetDateTime;

use self::botnets::Botnets;
use crate::{
    agent_id::AgentId,
    config,
    geo::{self, Geo},
};
use netmon_common::wire::Batch;

mod ageing;
mod agents;
mod alone;
mod bandwidth;
pub mod botnets;
mod clients;
mod commit;
mod controls;
mod copy;
mod decode;
mod disk;
mod error;
mod exchanges;
mod expire;
mod fold;
mod folds;
mod idle;
mod interfaces;
mod invalid;
mod known;
mod late;
mod leadership;
mod lease;
mod ledger;
mod maintenance;
mod names;
mod observed;
mod partitions;
mod refusals;
mod reports;
mod rollup;
mod rows;
mod series;
mod servers;
mod shards;
mod sightings;
mod staging;
mod system;
mod target;
mod trim;
mod upsert;
mod watch_list;
mod watched;
mod wishes;
mod written;

pub use ageing::Ageing;
use commit::Way;
pub use commit::{Committed, GroupCommitted, RowCounts};
pub use decode::Decoder;
pub use disk::{Guarded, Shortage, Space};
pub use error::StoreError;
pub(crate) use exchanges::match_name;
pub(crate) use idle::{IDLE, forget};
pub use interfaces::is_interface_name;
pub use invalid::Invalid;
pub use known::Known;
pub use maintenance::Maintained;
pub use observed::{Observed, ObservedFold, Spread};
pub use refusals::{Refused, Refusing};
pub use rollup::RolledUp;
pub(crate) use rollup::{bandwidth_sums, exchanges_sql, system_sql};
pub use rows::{Rejected, Rows, Window};
pub use series::{Resolution, Series};
pub use sightings::Kiss;
pub(crate) use system::is_name as is_part_name;
pub use trim::Trimmed;
pub use watch_list::{ListError, Listed, MAX_LISTED, Sign, Watchable};
pub use watched::SightingCounts;
pub use wishes::Seen;
pub(crate) use wishes::{Wish, WishError, wish};

/// An attempt that takes longer than this is given up, its connection closed, and made again: a
/// database that hangs without closing its sockets must not hold a batch for ever.
const ATTEMPT: Duration = Duration::from_secs(60);

/// The longest frame: whoever looks for the samples of a time looks for frames that begin so much
/// earlier.
pub const MAX_FRAME_LENGTH: time::Duration = time::Duration::HOUR;

/// The tables agents write to.
#[derive(Debug)]
pub struct Store {
    pool: PgPool,
    ageing: Ageing,
    partitions: partitions::Partitions,
    written: written::Written,
    shards: shards::Shards,
    /// When the ledger was trimmed last.
    trimmed_at: Mutex<Option<OffsetDateTime>>,
    /// When idle clients were forgotten last.
    forgot_at: Mutex<Option<OffsetDateTime>>,
    /// Space of the database's file system; none for an external database.
    free_space: Option<disk::Probe>,
    /// Who this is among the servers of one database.
    holder: i64,
    /// Where sightings of watched addresses go.
    botnets: Arc<Botnets>,
    /// Where addresses are.
    geo: OnceLock<Arc<Geo>>,
}

impl Store {
    /// A store on a database whose migrations are applied; [`Store::maintain`] rolls measurements up
    /// and drops them as `ageing` says.
    pub fn new(pool: PgPool, ageing: impl Into<Ageing>) -> Self {
        let botnets = Botnets::new(pool.clone(), &config::Botnets::default());
        Self {
            pool,
            botnets: Arc::new(botnets),
            geo: OnceLock::new(),
            ageing: ageing.into(),
            partitions: partitions::Partitions::default(),
            written: written::Written::default(),
            shards: shards::Shards::default(),
            trimmed_at: Mutex::default(),
            forgot_at: Mutex::default(),
            free_space: None,
            holder: rand::random(),
        }
    }

    /// Sightings of watched addresses go there; without, they are kept as long as by default, and
    /// located by the embedded files.
    #[must_use]
    pub fn with_botnets(mut self, botnets: Arc<Botnets>, geo: Arc<Geo>) -> Self {
        self.botnets = botnets;
        self.geo = OnceLock::from(geo);
        self
    }

    fn botnets(&self) -> &Botnets {
        &self.botnets
    }

    fn geo(&self) -> geo::Current {
        let geo = self.geo.get_or_init(|| Arc::new(Geo::embedded()));
        geo.current()
    }

    /// How many commits at once leave the pool connections for everybody else.
    pub fn commit_concurrency(&self) -> usize {
        (self.pool.options().get_max_connections() as usize * 3 / 4).max(1)
    }

    /// Turns a batch into rows, or says which row can never be stored.
    ///
    /// # Errors
    /// [`Invalid`] names the first row and field that break a rule of their table.
    pub fn validate(&self, agent: AgentId, batch: &Batch) -> Result<Rows, Invalid> {
        Rows::new(agent, batch, self.window())
    }

    /// The times that batches may carry now.
    pub fn window(&self) -> Window {
        Window::around(OffsetDateTime::now_utc(), self.ageing.retention.hours)
    }

    /// Stores the rows of one batch in one transaction, unless they are stored already.
    ///
    /// # Errors
    /// As [`Store::commit_group`].
    pub async fn commit(&self, rows: &Rows) -> Result<Committed, StoreError> {
        let committed = self.commit_group(rows, 0..1).await?;
        let verdict = committed.verdicts.into_iter().next();
        Ok(verdict.unwrap_or(Committed::Duplicate))
    }

    /// Stores a part of the batches in one transaction: all of them, or an error and none. Those
    /// that have a verdict already keep it.
    ///
    /// # Errors
    /// [`StoreError::Permanent`]: the database will never take the rows of one of the batches.
    /// Any other asks for another attempt: the outcome of this one may be unknown, the ledger
    /// decides.
    pub async fn commit_group(
        &self,
        rows: &Rows,
        batches: Range<usize>,
    ) -> Result<GroupCommitted, StoreError> {
        let mut way = Way::New;
        loop {
            let outcome = self.try_group(rows, batches.clone(), way).await;
            way = match (way, outcome) {
                (Way::New, Err(StoreError::BatchesKnown(_))) => Way::Known,
                (Way::New | Way::Known, Err(StoreError::RowsPresent(_))) => {
                    tracing::warn!(
                        batches = batches.len(),
                        "rows are there although the ledger does not know their batches: storing \
                         the others"
                    );
                    Way::Staging
                }
                (_, outcome) => return outcome,
            };
        }
    }

    async fn try_group(
        &self,
        rows: &Rows,
        batches: Range<usize>,
        way: Way,
    ) -> Result<GroupCommitted, StoreError> {
        let outcome = attempt(commit::commit(self, rows, batches, way)).await;
        if let Err(error) = &outcome {
            // The database may have come back from an older backup.
            self.written.forget();
            if error.is_missing_partition() {
                // Dropped by hand or by another server since it was last seen here.
                self.partitions.forget();
                self.botnets.forget_partitions();
            }
        }
        outcome
    }
}

/// Bounds an attempt in time. Dropping the future closes its connection ([`lease::Lease`]), which
/// rolls the transaction back.
async fn attempt<T>(work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    tokio::time::timeout(ATTEMPT, work)
        .await
        .unwrap_or(Err(StoreError::TimedOut(ATTEMPT)))
}
