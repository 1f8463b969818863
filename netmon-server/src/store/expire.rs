//! Dropping partitions whole, at the end of their retention or for want of space.

use sqlx::{Executor, PgConnection};
use time::OffsetDateTime;

use super::{
    MAX_FRAME_LENGTH, Series, Store, StoreError,
    lease::Lease,
    partitions::{self, Day},
    rollup::{self, Rollup},
};

/// Whoever wants to read or write the table waits behind the lock this waits for, so it waits no
/// longer than this; what it does with the lock takes milliseconds, whatever the partition holds.
const LOCK_TIMEOUT: &str = "500ms";

/// What became of a partition that was to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dropped {
    /// It is gone.
    Gone,
    /// Somebody uses it.
    Busy,
    /// Something in it is not rolled up yet.
    NotRolledUp,
}

impl Store {
    /// Whether the partition's last moment lies before the table's retention.
    pub(super) fn is_expired(&self, series: Series, day: Day, now: OffsetDateTime) -> bool {
        let retention = time_duration(self.ageing.retention_of(series));
        let end = series.partition_end(day).start();
        now.checked_sub(retention)
            .is_some_and(|horizon| end <= horizon)
    }

    /// Drops the partition that begins with `day`, unless rows of it are still needed for a roll-up,
    /// and those of tables that are summed up with it: from then on hours of that day are only added
    /// to, and a row that is in their sums must not be there to be added.
    pub(super) async fn drop_partition(
        &self,
        series: Series,
        day: Day,
    ) -> Result<Dropped, StoreError> {
        let series = series.leader();
        if let Some(next) = self.carries_into(series, day).await? {
            self.partitions.ensure(&self.pool, &[next].into()).await?;
        }
        let begin = format!("BEGIN; SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'");
        let mut lease = Lease::with(&self.pool, &begin).await?;
        match drop_within(lease.connection(), series, day).await {
            Ok(Dropped::Gone) => {
                lease.commit().await?;
                self.partitions.forget();
                Ok(Dropped::Gone)
            }
            Ok(kept) => {
                lease.roll_back().await?;
                Ok(kept)
            }
            Err(error) if is_lock_timeout(&error) => Ok(Dropped::Busy),
            Err(error) => Err(error.into()),
        }
    }

    /// The day that gets what frames reach over midnight, when there is one.
    async fn carries_into(
        &self,
        series: Series,
        day: Day,
    ) -> Result<Option<(Series, Day)>, StoreError> {
        let carries = Rollup::of(series).is_some_and(|r| r.raw == series && r.carry().is_some());
        if !carries {
            return Ok(None);
        }
        // Within the retention the next day has a partition; of an old day that came late most have
        // none, and few of its frames reach over midnight.
        let next = series.partition_end(day);
        let mut connection = self.pool.acquire().await?;
        let existing = partitions::existing(&mut connection, series).await?;
        if existing.contains(&next) {
            return Ok(None);
        }
        let reaches: bool = sqlx::query_scalar(&format!(
            "SELECT EXISTS (SELECT FROM {} WHERE started_at >= $1)",
            series.partition(day)
        ))
        .bind(next.start() - MAX_FRAME_LENGTH)
        .fetch_one(&mut *connection)
        .await?;
        Ok(reaches.then_some((series, next)))
    }
}

/// The transaction. Rows that came late for this day are either seen rolled up, or their mark is seen
/// after the lock: a writer that holds the partition has written its mark when it lets go.
async fn drop_within(
    connection: &mut PgConnection,
    series: Series,
    day: Day,
) -> sqlx::Result<Dropped> {
    let end = series.partition_end(day).start();
    let rollup = Rollup::of(series);
    if let Some(rollup) = rollup {
        let since = rollup::exclude(connection, rollup).await?;
        let through = rollup::rolled_through(connection, rollup).await?;
        if through.is_none_or(|through| through < end)
            || has_finer(connection, rollup, series, end).await?
        {
            return Ok(Dropped::NotRolledUp);
        }
        if series == rollup.raw
            && end > since.raw
            && let Some(carry) = rollup.carry()
        {
            carry_over(connection, carry, end).await?;
        }
    }
    for table in std::iter::once(series).chain(series.followers()) {
        // The name was read back from the catalog and holds letters, digits and underscores.
        let statement = format!("DROP TABLE IF EXISTS {}", table.partition(day));
        connection.execute(statement.as_str()).await?;
    }
    if let Some(rollup) = rollup
        && series == rollup.raw
        && has_marks(connection, series, day.start(), end).await?
    {
        return Ok(Dropped::NotRolledUp);
    }
    // Coarse rows are dropped after fine ones and these after raw rows: no bound lies behind a coarser one's.
    let bounds = match rollup {
        Some(rollup) if series == rollup.coarse => rollup.tables().to_vec(),
        Some(rollup) if series == rollup.fine => vec![rollup.raw, rollup.fine],
        _ => std::iter::once(series).chain(series.followers()).collect(),
    };
    sqlx::query("UPDATE retained SET since = $2 WHERE table_name = ANY ($1) AND since < $2")
        .bind(bounds.iter().map(|of| of.table()).collect::<Vec<_>>())
        .bind(end)
        .execute(connection)
        .await?;
    Ok(Dropped::Gone)
}

/// Whether a finer table still has rows of the time before `end`: it goes first.
async fn has_finer(
    connection: &mut PgConnection,
    rollup: &Rollup,
    series: Series,
    end: OffsetDateTime,
) -> sqlx::Result<bool> {
    let finer = rollup.tables().into_iter().take_while(|of| *of != series);
    for finer in finer.flat_map(|of| std::iter::once(of).chain(of.followers())) {
        let days = partitions::existing(connection, finer).await?;
        if days.iter().any(|day| day.start() < end) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Copies what frames hold of the next day into it.
async fn carry_over(
    connection: &mut PgConnection,
    carry: &str,
    midnight: OffsetDateTime,
) -> sqlx::Result<()> {
    let agents: Vec<i64> = sqlx::query_scalar("SELECT agent_id FROM agents ORDER BY agent_id")
        .fetch_all(&mut *connection)
        .await?;
    for agent in agents {
        sqlx::query(carry)
            .bind(agent)
            .bind(midnight - MAX_FRAME_LENGTH)
            .bind(midnight)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

async fn has_marks(
    connection: &mut PgConnection,
    series: Series,
    from: OffsetDateTime,
    to: OffsetDateTime,
) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM late_hours WHERE series = $1 AND hour >= $2 AND hour < $3)",
    )
    .bind(series.table())
    .bind(from)
    .bind(to)
    .fetch_one(connection)
    .await
}

pub(super) fn time_duration(duration: std::time::Duration) -> time::Duration {
    time::Duration::try_from(duration).unwrap_or(time::Duration::MAX)
}

fn is_lock_timeout(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .and_then(|e| e.code())
        .is_some_and(|code| code == "55P03")
}
