//! Late data: rows of hours that are, or may be, rolled up already.
//!
//! Whoever stores a sample of such an hour leaves a mark (agent, series, hour) in the transaction of
//! the row; the roll-up job takes the mark away in the transaction in which it works the row in.
//! Nothing falls between the two:
//!
//! - *The hour is rolled up by its turn.* The job reads an hour at the earliest `lateness` (3 minutes
//!   or more) after its end, by the database's clock. A transaction the job does not see has not
//!   committed by then; it takes at most 100 s, so it began later than 80 s after the end of the hour,
//!   and [`is_late`] says yes from 60 s on. So a row is seen, or it is marked.
//! - *The hour is rolled up for a mark.* The job deletes the mark first and reads the rows in a later
//!   statement, whose snapshot is newer. A writer's mark is an upsert that locks the row also if it
//!   is there. If the writer was first, the job waits for its commit and then sees its rows. If the
//!   job was first, the writer waits for the job's commit and then inserts a mark of its own. With
//!   `DO NOTHING` a writer would rely on a mark that is about to go.
//! - *The clock of the database is set back*, so that hours were rolled up that are not over: the
//!   job notices that its watermark lies ahead of the clock, takes it back and rolls them up again.
//!
//! A mark is left alone while more rows of its hour come (`rollup.quiet`), so that the backlog of an
//! agent that was away does each hour once.
//!
//! Marks are locked in the order (agent, series, hour) by everybody.

use std::{collections::BTreeSet, time::Duration};

use sqlx::PgConnection;
use time::OffsetDateTime;

use super::Series;

/// How long after the end of its hour a row counts as late: less than the shortest lateness (180 s)
/// minus the longest commit (100 s).
const LATE_AFTER: Duration = Duration::from_secs(60);

const SECONDS: i64 = 3600;

/// An hour, UTC: the unit in which data is rolled up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Hour(i64);

impl Hour {
    /// The hour of a time in microseconds since 1970.
    pub(super) fn of_microseconds(unix_us: i64) -> Self {
        Self(unix_us.div_euclid(SECONDS * 1_000_000))
    }

    /// The hour of a time.
    pub(super) fn of(at: OffsetDateTime) -> Self {
        Self(at.unix_timestamp().div_euclid(SECONDS))
    }

    /// The hour so many later.
    pub(super) fn plus(self, hours: i64) -> Self {
        Self(self.0.saturating_add(hours))
    }

    /// When it begins; the end of `time`'s calendar for an hour no batch may carry.
    pub(super) fn start(self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(self.0.saturating_mul(SECONDS))
            .unwrap_or(time::macros::datetime!(9999-12-31 23:00 UTC))
    }

    /// When it ends.
    pub(super) fn end(self) -> OffsetDateTime {
        self.plus(1).start()
    }
}

/// Whether the hour may be rolled up before a transaction that began at `db_now` commits.
fn is_late(hour: Hour, db_now: OffsetDateTime) -> bool {
    db_now - hour.end() >= LATE_AFTER
}

/// Marks those of the hours that are late; the module says why that is enough.
///
/// `touched` holds every hour in which a sample of the transaction's rows begins, of any series;
/// `db_now` is the database's clock at the begin of the transaction.
///
/// # Errors
/// As the database answers; the transaction is to be rolled back then.
pub(super) async fn mark(
    connection: &mut PgConnection,
    db_now: OffsetDateTime,
    touched: &BTreeSet<(i64, Series, Hour)>,
) -> sqlx::Result<()> {
    let late = touched
        .iter()
        .filter(|(_, series, hour)| series.is_rolled_up() && is_late(*hour, db_now));
    mark_all(connection, db_now, late).await
}

/// Marks the hours whether late or not.
pub(super) async fn mark_all(
    connection: &mut PgConnection,
    db_now: OffsetDateTime,
    hours: impl Iterator<Item = &(i64, Series, Hour)>,
) -> sqlx::Result<()> {
    let (mut agents, mut series, mut starts) = (Vec::new(), Vec::new(), Vec::new());
    for (agent, of, hour) in hours {
        agents.push(*agent);
        series.push(of.table());
        starts.push(hour.start());
    }
    if agents.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO late_hours (agent_id, series, hour, since, marked_at)
         SELECT agent_id, series, hour, $4, $4 FROM unnest($1, $2, $3) AS late (agent_id, series, hour)
         ON CONFLICT (agent_id, series, hour) DO UPDATE SET marked_at = EXCLUDED.marked_at",
    )
    .bind(agents)
    .bind(series)
    .bind(starts)
    .bind(db_now)
    .execute(connection)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use time::{Duration, macros::datetime};

    use super::*;

    const TEN: OffsetDateTime = datetime!(2026-11-21 10:00 UTC);

    #[test]
    fn an_hour_begins_at_its_first_microsecond() {
        let us = TEN.unix_timestamp() * 1_000_000;
        assert_eq!(Hour::of_microseconds(us), Hour::of(TEN));
        assert_eq!(Hour::of_microseconds(us - 1).plus(1), Hour::of(TEN));
        assert_eq!(Hour::of(TEN).start(), TEN);
        assert_eq!(Hour::of(TEN).end(), TEN + Duration::HOUR);
    }

    #[test]
    fn an_hour_is_late_from_a_minute_after_its_end() {
        let hour = Hour::of(TEN - Duration::SECOND);
        for (after, late) in [
            (-1, false),
            (0, false),
            (59, false),
            (60, true),
            (3600, true),
        ] {
            assert_eq!(
                is_late(hour, TEN + Duration::seconds(after)),
                late,
                "{after} s"
            );
        }
    }
}
