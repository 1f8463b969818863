//! Proof from the data that every node has its communications, and that statistics are as counted.
//!
//! Each family is looked at within one snapshot, so that lines may come in meanwhile. Communications
//! are dropped at the end of their retention and nodes are not: a node is asked for communications
//! only if it was seen last while they are kept, and its counter is compared only if it was seen
//! first since then.

mod family;
mod report;

use std::time::Instant;

use sqlx::PgPool;
use time::OffsetDateTime;

pub(super) use self::family::{BOOKS, drift};
pub use self::report::{FamilyAudit, GapDay, GapRun, Report};
use super::Subject;

/// Audits these families; below so many per cent of nodes with communications a family raises an
/// alert.
///
/// # Errors
/// When the database does not answer at all. A family that cannot be looked at is in the report,
/// which is not clean then.
pub async fn audit(pool: &PgPool, families: &[Subject], threshold: f64) -> sqlx::Result<Report> {
    let began = Instant::now();
    let started_at: OffsetDateTime = sqlx::query_scalar("SELECT clock_timestamp()")
        .fetch_one(pool)
        .await?;
    let mut audited = Vec::with_capacity(families.len());
    for family in families {
        let found = family::look(pool, family, threshold).await;
        audited.push(found.unwrap_or_else(|error| FamilyAudit::failed(&family.name, &error)));
    }
    Ok(Report {
        started_at,
        duration_seconds: began.elapsed().as_secs_f64(),
        threshold,
        clean: audited.iter().all(FamilyAudit::is_clean),
        families: audited,
    })
}
