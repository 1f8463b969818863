//! Rolling up what is over, hour by hour.

use std::collections::BTreeSet;

use sqlx::PgConnection;
use time::OffsetDateTime;

use super::{Rollup, Since, Span, hold};
use crate::store::{MAX_FRAME_LENGTH, Series, Store, StoreError, late::Hour, partitions::Day};

/// Agents of one transaction.
const AGENTS: i64 = 50;

/// What a step did.
pub(super) enum Step {
    /// An hour is complete.
    Hour,
    /// Some agents of an hour are.
    Agents,
    /// No hour is due.
    Nothing,
}

impl Store {
    /// Rolls up the next agents of the next hour, unless that is `closed` or later.
    pub(super) async fn forward(&self, rollup: &Rollup, closed: Hour) -> Result<Step, StoreError> {
        let through = hold::rolled_through(&mut *self.pool.acquire().await?, rollup).await?;
        let Some(expected) = through.map(Hour::of).filter(|hour| *hour < closed) else {
            return Ok(Step::Nothing);
        };
        self.partitions
            .ensure(&self.pool, &tables_of(rollup, expected))
            .await?;

        let mut lease = hold::begin(&self.pool).await?;
        let connection = lease.connection();
        let since = hold::share(connection, rollup).await?;
        let progress = hold::progress(connection, rollup).await?;
        if progress.hour != expected {
            // Another server was faster.
            lease.roll_back().await?;
            return Ok(Step::Agents);
        }
        let agents: Vec<i64> = sqlx::query_scalar(
            "SELECT agent_id FROM agents WHERE $1::bigint IS NULL OR agent_id > $1
             ORDER BY agent_id LIMIT $2",
        )
        .bind(progress.agents_through)
        .bind(AGENTS)
        .fetch_all(&mut *connection)
        .await?;
        for agent in &agents {
            hour(connection, rollup, *agent, expected, since).await?;
        }
        let complete = (agents.len() as i64) < AGENTS;
        let (through, agents_through) = match complete {
            true => (expected.end(), None),
            false => (expected.start(), agents.last().copied()),
        };
        sqlx::query(
            "UPDATE rollup_progress SET rolled_through = $2, agents_through = $3 WHERE series = $1",
        )
        .bind(rollup.raw.table())
        .bind(through)
        .bind(agents_through)
        .execute(connection)
        .await?;
        lease.commit().await?;
        Ok(if complete { Step::Hour } else { Step::Agents })
    }
}

/// The partitions an hour's sums go to.
fn tables_of(rollup: &Rollup, hour: Hour) -> BTreeSet<(Series, Day)> {
    let day = Day::of(hour.start());
    BTreeSet::from([(rollup.fine, day), (rollup.coarse, day)])
}

/// Computes one agent's hour anew from its raw rows. An hour some of whose raw rows were dropped is
/// left as it is.
pub(super) async fn hour(
    connection: &mut PgConnection,
    rollup: &Rollup,
    agent: i64,
    hour: Hour,
    since: Since,
) -> sqlx::Result<()> {
    if hour.start() < since.raw {
        return Ok(());
    }
    let (from, to) = (hour.start(), hour.end());
    let (coarse_from, coarse_to) = rollup.coarse_span.around(hour);
    for (table, from, to) in [
        (rollup.fine, from, to),
        (rollup.coarse, coarse_from, coarse_to),
    ] {
        let delete = format!(
            "DELETE FROM {} WHERE agent_id = $1 AND bucket >= $2 AND bucket < $3",
            table.table()
        );
        sqlx::query(&delete)
            .bind(agent)
            .bind(from)
            .bind(to)
            .execute(&mut *connection)
            .await?;
    }
    // Frames reach over the end of their hour. Those that began before the bound are not whole.
    let fine = sqlx::query(rollup.statements.fine)
        .bind(agent)
        .bind(from)
        .bind(to)
        .bind((from - MAX_FRAME_LENGTH).max(since.raw))
        .execute(&mut *connection)
        .await?;
    // A day has other hours.
    if fine.rows_affected() > 0 || rollup.coarse_span == Span::Day {
        sqlx::query(rollup.statements.coarse)
            .bind(agent)
            .bind(coarse_from)
            .bind(coarse_to)
            .execute(&mut *connection)
            .await?;
    }
    if rollup.coarse_span == Span::Hour && Day::of(from) != Day::of(to) {
        gather(connection, rollup, agent, from).await?;
    }
    Ok(())
}

/// Puts the rows of an agent's day side by side. They came hour by hour, each into a page full of other
/// agents' rows, and a query over a year would read a page for every one of them: three times slower.
async fn gather(
    connection: &mut PgConnection,
    rollup: &Rollup,
    agent: i64,
    at: OffsetDateTime,
) -> sqlx::Result<()> {
    let (hours, day) = (rollup.coarse.table(), Day::of(at));
    let statement = format!(
        "WITH moved AS (
             DELETE FROM {hours} WHERE agent_id = $1 AND bucket >= $2 AND bucket < $3 RETURNING *
         )
         INSERT INTO {hours} SELECT * FROM moved"
    );
    sqlx::query(&statement)
        .bind(agent)
        .bind(day.start())
        .bind(day.plus(1).start())
        .execute(connection)
        .await
        .map(drop)
}
