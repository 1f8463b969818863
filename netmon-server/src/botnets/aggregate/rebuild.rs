//! One family's statistics, made anew.

use std::time::{Duration, Instant};

use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;

use super::{
    counts::{Counts, Drift, Replacement},
    live::{Active, counted, live},
    record::{Run, Trigger, record},
};
use crate::{
    botnets::{Subject, snapshot::Snapshot, transient::attempts, windows::Windows},
    store::botnets::FamilyId,
};

/// What a run made of a family.
#[derive(Clone, Debug, PartialEq)]
pub struct Rebuilt {
    /// Nodes that were counted.
    pub nodes: i64,
    /// Their communications.
    pub communications: i64,
    /// Places with nodes: rows of statistics.
    pub places: i64,
    /// How far the statistics were from the count of the same moment.
    pub drift: Drift,
    /// The end of the active windows.
    pub active_as_of: OffsetDateTime,
    /// Deltas that were folded in.
    pub deltas: i64,
    /// How long it took, with the wait for whoever folded or rebuilt.
    pub took: Duration,
}

/// Why a family was not rebuilt.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// The database.
    #[error("the statistics cannot be rebuilt: {0}")]
    Database(#[from] sqlx::Error),
    /// It was removed.
    #[error("the family is not known (any more)")]
    FamilyGone,
}

/// Rebuilds a family's statistics and its active windows; `None`: it has no nodes and no statistics.
///
/// Readers see all of it at once, or none. Also writes the run down, failed ones too.
///
/// # Errors
/// When the database could not do it three times; nothing is changed then.
pub async fn rebuild(
    pool: &PgPool,
    family: &Subject,
    trigger: Trigger,
) -> Result<Option<Rebuilt>, RebuildError> {
    let began = Instant::now();
    let outcome = attempts(|| once(pool, family.id, trigger, began)).await;
    let error = match outcome {
        Ok(Done::Rebuilt(rebuilt)) => return Ok(Some(rebuilt)),
        Ok(Done::Empty) => return Ok(None),
        Ok(Done::FamilyGone) => return Err(RebuildError::FamilyGone),
        Err(error) => error,
    };
    // Where the database has gone nothing can be written; the log has it.
    if let Err(unwritten) = record_failure(pool, family.id, trigger, began, &error).await {
        tracing::warn!(family = family.name, error = %unwritten, "the run cannot be written down");
    }
    Err(error.into())
}

enum Done {
    Rebuilt(Rebuilt),
    Empty,
    FamilyGone,
}

async fn once(
    pool: &PgPool,
    family: FamilyId,
    trigger: Trigger,
    began: Instant,
) -> sqlx::Result<Done> {
    let mut snapshot = Snapshot::begin_alone(pool, family).await?;
    let started_at = snapshot.now().await?;
    let connection = snapshot.connection();
    if !is_there(connection, family).await? {
        snapshot.end().await?;
        return Ok(Done::FamilyGone);
    }
    let windows = Windows::closed(started_at);
    let counted = counted(connection, family, windows).await?;
    let live = live(connection, family).await?;
    let is_empty = counted.places.is_empty() && live.now.is_empty() && live.deltas == 0;
    let replacement = Replacement::of(&live.stored, &counted.places);
    replace(connection, family, &replacement).await?;
    forget_deltas(connection, family).await?;
    set_active(connection, family, windows, &counted.active).await?;
    if is_empty {
        // Active windows of nodes that are gone may have been left.
        snapshot.commit().await?;
        return Ok(Done::Empty);
    }
    let sum = |of: fn(&Counts) -> i64| counted.places.values().map(of).sum();
    let mut rebuilt = Rebuilt {
        nodes: sum(|counts| counts.nodes),
        communications: sum(|counts| counts.communications),
        places: counted.places.len() as i64,
        drift: Drift::between(&counted.places, &live.now),
        active_as_of: windows.as_of,
        deltas: live.deltas,
        took: Duration::ZERO,
    };
    let finished_at = snapshot.now().await?;
    let run = Run {
        family,
        trigger,
        started_at,
        finished_at,
        outcome: Ok(&rebuilt),
    };
    record(snapshot.connection(), run).await?;
    snapshot.commit().await?;
    rebuilt.took = began.elapsed();
    Ok(Done::Rebuilt(rebuilt))
}

/// Whether the family is there, and stays until the end of the transaction.
async fn is_there(connection: &mut PgConnection, family: FamilyId) -> sqlx::Result<bool> {
    let row: Option<i64> = sqlx::query_scalar(
        "SELECT family_id FROM botnet_families WHERE family_id = $1 FOR KEY SHARE",
    )
    .bind(family)
    .fetch_optional(connection)
    .await?;
    Ok(row.is_some())
}

async fn replace(
    connection: &mut PgConnection,
    family: FamilyId,
    replacement: &Replacement,
) -> sqlx::Result<()> {
    if !replacement.gone.is_empty() {
        sqlx::query("DELETE FROM botnet_statistics WHERE family_id = $1 AND place_id = ANY ($2)")
            .bind(family)
            .bind(&replacement.gone)
            .execute(&mut *connection)
            .await?;
    }
    if replacement.set.is_empty() {
        return Ok(());
    }
    let column = |of: fn(&Counts) -> i64| -> Vec<i64> {
        replacement
            .set
            .iter()
            .map(|(_, counts)| of(counts))
            .collect()
    };
    let places: Vec<i32> = replacement.set.iter().map(|(place, _)| *place).collect();
    sqlx::query(
        "INSERT INTO botnet_statistics (family_id, place_id, nodes, communications)
         SELECT $1, of.place_id, of.nodes, of.communications
         FROM unnest($2::int4[], $3::int8[], $4::int8[]) AS of (place_id, nodes, communications)
         ON CONFLICT (family_id, place_id) DO UPDATE
         SET nodes = EXCLUDED.nodes, communications = EXCLUDED.communications",
    )
    .bind(family)
    .bind(places)
    .bind(column(|counts| counts.nodes))
    .bind(column(|counts| counts.communications))
    .execute(connection)
    .await
    .map(drop)
}

/// Deletes the deltas that the snapshot sees, and only those: what they changed is in the count. Their
/// days go where folding puts them.
async fn forget_deltas(connection: &mut PgConnection, family: FamilyId) -> sqlx::Result<()> {
    let days: Vec<Vec<time::Date>> =
        sqlx::query_scalar("DELETE FROM botnet_deltas WHERE family_id = $1 RETURNING days")
            .bind(family)
            .fetch_all(&mut *connection)
            .await?;
    let mut days: Vec<_> = days.into_iter().flatten().collect();
    days.sort_unstable();
    days.dedup();
    if days.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO botnet_days_due (family_id, day)
         SELECT $1, of.day FROM unnest($2::date[]) AS of (day)
         ON CONFLICT (family_id, day) DO NOTHING",
    )
    .bind(family)
    .bind(days)
    .execute(connection)
    .await
    .map(drop)
}

async fn set_active(
    connection: &mut PgConnection,
    family: FamilyId,
    windows: Windows,
    active: &[Active],
) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM botnet_active WHERE family_id = $1")
        .bind(family)
        .execute(&mut *connection)
        .await?;
    let column = |of: fn(&Active) -> i64| -> Vec<i64> { active.iter().map(of).collect::<Vec<_>>() };
    let places: Vec<i32> = active.iter().map(|active| active.place).collect();
    sqlx::query(
        "INSERT INTO botnet_active (family_id, place_id, as_of, day, week, month)
         SELECT $1, of.place_id, $2, of.day, of.week, of.month
         FROM unnest($3::int4[], $4::int8[], $5::int8[], $6::int8[])
             AS of (place_id, day, week, month)",
    )
    .bind(family)
    .bind(windows.as_of)
    .bind(places)
    .bind(column(|active| active.day))
    .bind(column(|active| active.week))
    .bind(column(|active| active.month))
    .execute(connection)
    .await
    .map(drop)
}

async fn record_failure(
    pool: &PgPool,
    family: FamilyId,
    trigger: Trigger,
    began: Instant,
    error: &sqlx::Error,
) -> sqlx::Result<()> {
    let mut connection = pool.acquire().await?;
    let finished_at: OffsetDateTime = sqlx::query_scalar("SELECT clock_timestamp()")
        .fetch_one(&mut *connection)
        .await?;
    let message = error.to_string();
    let run = Run {
        family,
        trigger,
        started_at: finished_at - began.elapsed(),
        finished_at,
        outcome: Err(&message),
    };
    record(&mut connection, run).await
}
