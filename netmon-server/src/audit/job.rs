//! The audit of the recent past, again and again, by one server of several.

use std::{sync::Arc, time::Duration};

use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use super::{AuditError, Report, Scope, audit};
use crate::{
    metrics::Metrics,
    store::{Store, StoreError},
};

/// The name of the lease and of the stored result.
pub const JOB: &str = "audit";

/// The first one comes when the server has settled.
const FIRST: Duration = Duration::from_secs(60);

/// How far the recent past reaches beyond one interval: hours are rolled up some time after their end.
const OVERLAP: Duration = Duration::from_secs(3 * 60 * 60);

/// Results are kept for the API: of few findings, so that the row stays small.
const MAX_STORED_AGENTS: usize = 100;

/// Audits every `interval` until the shutdown.
pub async fn run(
    pool: PgPool,
    store: Arc<Store>,
    interval: Duration,
    metrics: Arc<Metrics>,
    shutdown: CancellationToken,
) {
    let mut pause = FIRST.min(interval);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(pause) => pause = interval,
        }
        let round = tokio::select! {
            () = shutdown.cancelled() => return,
            round = once(&pool, &store, interval) => round,
        };
        match round {
            Ok(Some(report)) => {
                metrics.audit.record(&report);
                tell(&report);
            }
            // Another server did it.
            Ok(None) => metrics.audit.rests(),
            Err(error) => {
                metrics.audit.failed();
                tracing::warn!(%error, "the audit could not be made; trying again in {interval:?}");
            }
        }
    }
}

/// Why a round did not come about.
#[derive(Debug, thiserror::Error)]
enum RoundError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Audit(#[from] AuditError),
    #[error("the result cannot be stored: {0}")]
    Keep(#[from] sqlx::Error),
    #[error("the result cannot be written as JSON: {0}")]
    Encode(#[from] serde_json::Error),
}

async fn once(
    pool: &PgPool,
    store: &Store,
    interval: Duration,
) -> Result<Option<Report>, RoundError> {
    let now = store.database_time().await?;
    // A little less than the interval: whoever comes first after it does the next one.
    if !store.lead(JOB, now, interval.mul_f64(0.9)).await? {
        return Ok(None);
    }
    let scope = Scope {
        agent: None,
        period: interval + OVERLAP,
        limit: interval / 2,
    };
    let report = audit(pool, scope, |_, _| {}).await?;
    let mut kept = report.clone();
    kept.agents_left_out += kept.agents.len().saturating_sub(MAX_STORED_AGENTS) as u64;
    kept.agents.truncate(MAX_STORED_AGENTS);
    sqlx::query(
        "INSERT INTO job_results (job, finished_at, result) VALUES ($1, $2, $3::jsonb)
         ON CONFLICT (job) DO UPDATE
         SET finished_at = EXCLUDED.finished_at, result = EXCLUDED.result",
    )
    .bind(JOB)
    .bind(report.started_at + time::Duration::seconds_f64(report.duration_seconds))
    .bind(serde_json::to_string(&kept)?)
    .execute(pool)
    .await?;
    Ok(Some(report))
}

fn tell(report: &Report) {
    let (agents, violations) = (report.agents_checked, report.violations);
    let (unchecked, outstanding) = (report.agents_unchecked, report.outstanding_batches);
    if report.clean {
        tracing::info!(agents, outstanding, "audit: the books balance");
    } else {
        tracing::error!(
            agents,
            unchecked,
            violations,
            outstanding,
            "audit: the books do not balance; `netmon-server audit` shows where"
        );
    }
}
