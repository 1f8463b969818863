//! What the server does about statistics by itself, one of several servers at a time.
//!
//! Whoever holds the lease does the work. All of it may be done twice at once and be right: rebuilds
//! of a family wait for each other, days are made by whoever deletes their mark.

use std::{sync::Arc, time::Duration};

use sqlx::PgPool;
use time::OffsetDateTime;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{
    Subject,
    aggregate::{self, Round, Trigger},
    audit::{self, Report},
    history::{self, Made},
};
use crate::{
    config,
    metrics::{DatabaseOperation, Metrics},
    store::{Store, StoreError},
};

/// The name of the aggregation's lease and of its stored result.
pub const AGGREGATION: &str = "botnet_aggregation";
/// The name of the audit's lease and of its stored result.
pub const AUDIT: &str = "botnet_audit";
const HISTORY: &str = "botnet_history";

/// The first runs come when the server has settled.
const FIRST: Duration = Duration::from_secs(60);

/// How often somebody looks for days whose history is due.
const HISTORY_EVERY: Duration = Duration::from_secs(60);
/// Longer than the days of one go take, as a rule.
const HISTORY_LEASE: Duration = Duration::from_secs(600);

/// Why a round did not come about.
#[derive(Debug, thiserror::Error)]
enum JobError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error("the result cannot be written as JSON: {0}")]
    Encode(#[from] serde_json::Error),
}

/// What the jobs work with.
#[derive(Clone, Debug)]
pub struct Jobs {
    /// The database.
    pub pool: PgPool,
    /// For leases.
    pub store: Arc<Store>,
    /// Where results show.
    pub metrics: Arc<Metrics>,
    /// How often, and what coverage is enough.
    pub settings: config::Botnets,
}

impl Jobs {
    /// Rebuilds all statistics, makes the history and audits, each as often as it is set, until the
    /// shutdown.
    pub async fn run(self, shutdown: CancellationToken) {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = async {
                tokio::join!(self.aggregate(), self.make_history(), self.audit());
            } => {}
        }
    }

    async fn aggregate(&self) {
        let interval = self.settings.aggregate;
        if interval.is_zero() {
            return std::future::pending().await;
        }
        let mut pause = FIRST.min(interval);
        loop {
            sleep(pause).await;
            pause = interval;
            match self.aggregate_once(interval).await {
                Ok(Some(round)) => {
                    self.metrics.aggregation.rebuilt(&round);
                    round.tell();
                }
                // Another server did it, or this one before it was started again.
                Ok(None) => pause = interval / 10,
                Err(error) => {
                    self.metrics.aggregation.round_failed();
                    tracing::warn!(%error, "statistics not rebuilt; trying again in {interval:?}");
                }
            }
        }
    }

    async fn aggregate_once(&self, interval: Duration) -> Result<Option<Round>, JobError> {
        if !self.leads(AGGREGATION, interval.mul_f64(0.9)).await? {
            return Ok(None);
        }
        let families = Subject::all(&self.pool).await?;
        let mut round = aggregate::run(&self.pool, &families, Trigger::Job).await;
        round.next_run_at = Some(OffsetDateTime::now_utc() + interval);
        self.keep(AGGREGATION, &round).await?;
        Ok(Some(round))
    }

    async fn make_history(&self) {
        loop {
            sleep(HISTORY_EVERY).await;
            match self.make_history_once().await {
                Ok(Some(made)) => self.metrics.aggregation.days_made(made),
                Ok(None) => self.metrics.aggregation.history_rests(),
                Err(error) => {
                    self.metrics.database_error(DatabaseOperation::Maintain);
                    tracing::warn!(%error, "history not made; trying again in {HISTORY_EVERY:?}");
                }
            }
        }
    }

    async fn make_history_once(&self) -> Result<Option<Made>, JobError> {
        if !self.leads(HISTORY, HISTORY_LEASE).await? {
            return Ok(None);
        }
        let now = self.store.database_time().await?;
        let made = history::make(&self.pool, now).await?;
        if made.days > 0 {
            tracing::debug!(days = made.days, waiting = made.waiting, "history made");
        }
        if made.frozen > 0 {
            tracing::warn!(
                days = made.frozen,
                "communications of days changed or were dropped before their history was made: \
                 it stays as it is"
            );
        }
        Ok(Some(made))
    }

    async fn audit(&self) {
        let interval = self.settings.audit;
        if interval.is_zero() {
            return std::future::pending().await;
        }
        let mut pause = FIRST.min(interval);
        loop {
            sleep(pause).await;
            pause = interval;
            match self.audit_once(interval).await {
                Ok(Some(report)) => {
                    self.metrics.aggregation.audited(&report);
                    tell(&report);
                }
                Ok(None) => {
                    self.metrics.aggregation.audit_rests();
                    pause = interval / 10;
                }
                Err(error) => {
                    self.metrics.aggregation.audit_failed();
                    tracing::warn!(%error, "botnets not audited; trying again in {interval:?}");
                }
            }
        }
    }

    async fn audit_once(&self, interval: Duration) -> Result<Option<Report>, JobError> {
        if !self.leads(AUDIT, interval.mul_f64(0.9)).await? {
            return Ok(None);
        }
        let families = Subject::all(&self.pool).await?;
        let report = audit::audit(&self.pool, &families, self.settings.audit_coverage).await?;
        self.keep(AUDIT, &report).await?;
        Ok(Some(report))
    }

    async fn leads(&self, job: &str, length: Duration) -> Result<bool, StoreError> {
        let now = self.store.database_time().await?;
        self.store.lead(job, now, length).await
    }

    /// Keeps a result for the API.
    async fn keep<T: serde::Serialize>(&self, job: &str, result: &T) -> Result<(), JobError> {
        sqlx::query(
            "INSERT INTO job_results (job, finished_at, result) VALUES ($1, $2, $3::jsonb)
             ON CONFLICT (job) DO UPDATE
             SET finished_at = EXCLUDED.finished_at, result = EXCLUDED.result",
        )
        .bind(job)
        .bind(OffsetDateTime::now_utc())
        .bind(serde_json::to_string(result)?)
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}

/// Says what is worth a line in the log.
fn tell(report: &Report) {
    for family in &report.families {
        if let Some(error) = &family.error {
            tracing::warn!(
                family = family.family,
                error,
                "the family could not be audited"
            );
        }
        for alert in &family.alerts {
            tracing::error!(
                family = family.family,
                "{alert}; `netmon-server botnet audit` shows where, `netmon-server botnet repair` \
                 what can be mended"
            );
        }
        if family.is_clean() && family.lacking > 0 {
            tracing::warn!(
                family = family.family,
                lacking = family.lacking,
                nodes = family.nodes,
                "nodes lack communications, within what botnets.audit_coverage allows"
            );
        }
    }
    if report.clean {
        tracing::info!(
            families = report.families.len(),
            "botnets audited: every family is covered"
        );
    }
}
