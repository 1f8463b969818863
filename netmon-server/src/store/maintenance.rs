//! What keeps the tables in shape: partitions ahead of time, roll-ups, retention behind.

use std::{collections::BTreeSet, time::Duration};

use time::OffsetDateTime;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{
    Guarded, RolledUp, Series, Shortage, Store, StoreError, Trimmed, attempt,
    expire::Dropped,
    partitions::{self, Day},
};
use crate::metrics::{DatabaseOperation, Metrics};

/// Partitions exist from yesterday to so many days ahead.
const DAYS_AHEAD: i64 = 3;

/// A round that takes longer is given up and begun again: what it did stays done.
const ROUND: Duration = Duration::from_secs(600);

/// Which server ages the data; longer than a round.
const JOB: &str = "ageing";
const LEASE: Duration = Duration::from_secs(660);

const EVERY: Duration = Duration::from_secs(30);
const AFTER_FAILURE: Duration = Duration::from_secs(60);

/// How often a shortage of space is said again while it lasts.
const SAID_AGAIN: Duration = Duration::from_secs(3600);

/// What one round of maintenance did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Maintained {
    /// Partitions dropped at the end of their retention, by name.
    pub dropped: Vec<String>,
    /// Partitions past retention that somebody was using: the next round tries again.
    pub busy: Vec<String>,
    /// Partitions past retention of which something is not rolled up yet.
    pub waiting: Vec<String>,
    /// What was rolled up, by series.
    pub rolled_up: Vec<RolledUp>,
    /// What the guard of the disk found and did.
    pub guarded: Guarded,
    /// Partitions there are, by table.
    pub partitions: Vec<(Series, usize)>,
    /// What became of the ledger.
    pub trimmed: Trimmed,
    /// Rows of NTP clients and servers that were not seen for the longest retention.
    pub forgotten: u64,
}

impl Store {
    /// Maintains the tables now and every half minute, until shut down; of several servers one does
    /// it at a time.
    pub async fn maintain(&self, metrics: &Metrics, shutdown: CancellationToken) {
        let mut said = None;
        loop {
            let round = tokio::select! {
                () = shutdown.cancelled() => break,
                round = timeout(ROUND, self.round()) => {
                    round.unwrap_or(Err(StoreError::TimedOut(ROUND)))
                }
            };
            let pause = match round {
                Ok(None) => {
                    metrics.ageing.rests();
                    EVERY
                }
                Ok(Some((maintained, now))) => {
                    metrics.ageing.record(&maintained, now);
                    let Trimmed { floors, rows, .. } = maintained.trimmed;
                    metrics.writers.trimmed(floors, rows);
                    report(&maintained, now, &mut said);
                    match maintained.rolled_up.iter().any(|of| of.more) {
                        true => Duration::ZERO,
                        false => EVERY,
                    }
                }
                Err(error) => {
                    metrics.database_error(DatabaseOperation::Maintain);
                    tracing::warn!(%error, "cannot maintain the tables; trying again in a minute");
                    AFTER_FAILURE
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = tokio::time::sleep(pause) => {}
            }
        }
        // Otherwise another server waits for the end of the lease.
        let _ = timeout(Duration::from_secs(1), self.resign(JOB)).await;
    }

    /// One round by the database's clock, if this server leads.
    async fn round(&self) -> Result<Option<(Maintained, OffsetDateTime)>, StoreError> {
        let now = self.database_time().await?;
        if !self.lead(JOB, now, LEASE).await? {
            return Ok(None);
        }
        Ok(Some((self.maintain_once(now).await?, now)))
    }

    /// One round: makes the partitions of the days around `now`, rolls up what is due, drops what is
    /// past retention, looks after the space on disk, and trims the ledger.
    ///
    /// # Errors
    /// As [`Store::commit`]; what was done until then stays done.
    pub async fn maintain_once(&self, now: OffsetDateTime) -> Result<Maintained, StoreError> {
        // Looked up again each time: somebody may have dropped one by hand.
        self.partitions.forget();
        attempt(self.partitions.ensure(&self.pool, &self.ahead(now))).await?;
        let mut maintained = Maintained {
            rolled_up: self.roll_up_once(now).await?,
            ..Maintained::default()
        };
        // Raw tables come before those that outlive them.
        let mut expired = Vec::new();
        for series in Series::ALL.iter().copied() {
            let days = attempt(self.expired(series, now)).await?;
            expired.extend(days.into_iter().map(|day| (series, day)));
        }
        for (series, day) in expired {
            let partition = series.partition(day);
            match self.drop_partition(series, day).await? {
                Dropped::Gone => maintained.dropped.push(partition),
                Dropped::Busy => maintained.busy.push(partition),
                Dropped::NotRolledUp => maintained.waiting.push(partition),
            }
        }
        maintained.guarded = self.guard_once(now).await?;
        maintained.partitions = attempt(self.count_partitions()).await?;
        maintained.trimmed = self.trim_ledger_once(now).await?;
        maintained.forgotten = self.forget_idle_once(now).await?;
        Ok(maintained)
    }

    /// The partitions that rows of the next days need.
    fn ahead(&self, now: OffsetDateTime) -> BTreeSet<(Series, Day)> {
        let today = Day::of(now);
        let days = (-1..=DAYS_AHEAD).map(|offset| today.plus(offset));
        let all = days.flat_map(|day| Series::ALL.iter().map(move |series| (*series, day)));
        // With a retention below a day, yesterday may be over already.
        all.filter(|(series, day)| !self.is_expired(*series, *day, now))
            .collect()
    }

    /// Partitions of a table past their retention, the oldest first.
    async fn expired(&self, series: Series, now: OffsetDateTime) -> Result<Vec<Day>, StoreError> {
        let mut connection = self.pool.acquire().await?;
        let mut days = partitions::existing(&mut connection, series).await?;
        days.retain(|day| self.is_expired(series, *day, now));
        days.sort();
        Ok(days)
    }

    async fn count_partitions(&self) -> Result<Vec<(Series, usize)>, StoreError> {
        let mut connection = self.pool.acquire().await?;
        let mut counts = Vec::new();
        for series in Series::ALL.iter().copied() {
            let days = partitions::existing(&mut connection, series).await?;
            counts.push((series, days.len()));
        }
        Ok(counts)
    }
}

/// Says what is worth a line in the log.
fn report(maintained: &Maintained, now: OffsetDateTime, said: &mut Option<OffsetDateTime>) {
    if !maintained.dropped.is_empty() {
        tracing::info!(partitions = ?maintained.dropped, "dropped at the end of retention");
    }
    let Guarded {
        shortage, dropped, ..
    } = &maintained.guarded;
    if !dropped.is_empty() {
        tracing::warn!(partitions = ?dropped, "dropped before the end of retention for want of space");
    }
    match shortage {
        None => *said = None,
        Some(_) if said.is_some_and(|at| now - at < SAID_AGAIN) => {}
        Some(shortage) => {
            *said = Some(now);
            warn(*shortage);
        }
    }
}

fn warn(shortage: Shortage) {
    tracing::warn!(
        "{shortage}: add space, lower retention.raw, or let disk.shorten_raw drop the oldest days"
    );
}
