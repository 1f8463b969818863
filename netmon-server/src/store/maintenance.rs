//! What keeps the tables in shape: partitions ahead of time, retention behind.

use std::{collections::BTreeSet, time::Duration};

use sqlx::{Executor, PgPool};
use time::OffsetDateTime;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{
    Series, Store, StoreError, attempt,
    lease::Lease,
    partitions::{self, Day},
};
use crate::metrics::{DatabaseOperation, Metrics};

/// Partitions exist from yesterday to so many days ahead.
const DAYS_AHEAD: i64 = 3;

/// A ledger row outlives the last moment at which its batch could still be accepted: by then a
/// batch received now is more than `retention` plus the window's two days of tolerance old.
const LEDGER_GRACE: Duration = Duration::from_secs(3 * 86_400);

/// A round that takes longer is given up and begun again: what it did stays done.
const ROUND: Duration = Duration::from_secs(600);

/// Rows forgotten in one transaction, so that each is short however many there are.
const FORGOTTEN_AT_ONCE: i64 = 50_000;

const EVERY: Duration = Duration::from_secs(3600);
const AFTER_FAILURE: Duration = Duration::from_secs(60);

/// What one round of maintenance did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Maintained {
    /// Partitions dropped, by name.
    pub dropped: Vec<String>,
    /// Partitions past retention that somebody was using: the next round tries again.
    pub busy: Vec<String>,
}

impl Store {
    /// Maintains the tables now and every hour, until shut down.
    pub async fn maintain(&self, metrics: &Metrics, shutdown: CancellationToken) {
        loop {
            let round = tokio::select! {
                () = shutdown.cancelled() => return,
                round = timeout(ROUND, self.maintain_once(OffsetDateTime::now_utc())) => {
                    round.unwrap_or(Err(StoreError::TimedOut(ROUND)))
                }
            };
            let pause = match round {
                Ok(Maintained { dropped, busy }) => {
                    dropped.iter().for_each(|_| metrics.partition_dropped());
                    if !dropped.is_empty() {
                        tracing::info!(partitions = ?dropped, "dropped at the end of retention");
                    }
                    if busy.is_empty() {
                        EVERY
                    } else {
                        AFTER_FAILURE
                    }
                }
                Err(error) => {
                    metrics.database_error(DatabaseOperation::Maintain);
                    tracing::warn!(%error, "cannot maintain partitions; trying again in a minute");
                    AFTER_FAILURE
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// One round: makes the partitions of the days around `now`, drops those past retention, and
    /// forgets batches too old to be sent again.
    ///
    /// # Errors
    /// As [`Store::commit`]; what was done until then stays done.
    pub async fn maintain_once(&self, now: OffsetDateTime) -> Result<Maintained, StoreError> {
        let today = Day::of(now);
        let days = (-1..=DAYS_AHEAD).map(|offset| today.plus(offset));
        // With a retention below a day, yesterday may be over already.
        let days = days.filter(|day| !self.is_expired(*day, now));
        let ahead: BTreeSet<_> = days
            .flat_map(|day| Series::ALL.map(|series| (series, day)))
            .collect();
        // Looked up again each time: somebody may have dropped one by hand.
        self.partitions.forget();
        attempt(self.partitions.ensure(&self.pool, &ahead)).await?;

        let mut maintained = Maintained::default();
        for series in Series::ALL {
            for day in attempt(self.expired(series, now)).await? {
                let partition = series.partition(day);
                self.partitions.forget();
                match drop_partition(&self.pool, &partition).await {
                    Ok(()) => maintained.dropped.push(partition),
                    Err(error) if is_lock_timeout(&error) => maintained.busy.push(partition),
                    Err(error) => return Err(error.into()),
                }
            }
        }
        self.forget_batches(now).await?;
        Ok(maintained)
    }

    /// Whether the day's last moment lies before the retention period.
    fn is_expired(&self, day: Day, now: OffsetDateTime) -> bool {
        now.checked_sub(time_duration(self.retention))
            .is_some_and(|horizon| day.plus(1).start() <= horizon)
    }

    /// Expired days that have a partition.
    async fn expired(&self, series: Series, now: OffsetDateTime) -> Result<Vec<Day>, StoreError> {
        let mut connection = self.pool.acquire().await?;
        let mut days = partitions::existing(&mut connection, series).await?;
        days.retain(|day| self.is_expired(*day, now));
        days.sort();
        Ok(days)
    }

    async fn forget_batches(&self, now: OffsetDateTime) -> Result<(), StoreError> {
        let age = self.retention.saturating_add(LEDGER_GRACE);
        let Some(before) = now.checked_sub(time_duration(age)) else {
            return Ok(());
        };
        for table in ["ingest_ledger", "ingest_refusals"] {
            while forget_some(&self.pool, table, before).await? == FORGOTTEN_AT_ONCE as u64 {}
        }
        Ok(())
    }
}

/// Deletes some of a table's rows from before a time; gives how many.
async fn forget_some(pool: &PgPool, table: &str, before: OffsetDateTime) -> sqlx::Result<u64> {
    let mut lease = Lease::with(
        pool,
        "BEGIN; \
         SET LOCAL lock_timeout = '2s'; \
         SET LOCAL statement_timeout = '40s'; \
         SET LOCAL idle_in_transaction_session_timeout = '40s'",
    )
    .await?;
    let forgotten = sqlx::query(&format!(
        "DELETE FROM {table} WHERE ctid = ANY (ARRAY(
             SELECT ctid FROM {table} WHERE received_at < $1 LIMIT $2))"
    ))
    .bind(before)
    .bind(FORGOTTEN_AT_ONCE)
    .execute(lease.connection())
    .await?
    .rows_affected();
    lease.commit().await?;
    Ok(forgotten)
}

fn time_duration(duration: Duration) -> time::Duration {
    time::Duration::try_from(duration).unwrap_or(time::Duration::MAX)
}

/// Writers queue behind the lock this waits for, so it waits two seconds at most.
async fn drop_partition(pool: &PgPool, partition: &str) -> sqlx::Result<()> {
    let mut lease = Lease::with(pool, "BEGIN; SET LOCAL lock_timeout = '2s'").await?;
    // The name was read back from the catalog and holds letters, digits and underscores.
    let statement = format!("DROP TABLE IF EXISTS {partition}");
    lease.connection().execute(statement.as_str()).await?;
    lease.commit().await
}

fn is_lock_timeout(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .and_then(|e| e.code())
        .is_some_and(|code| code == "55P03")
}
