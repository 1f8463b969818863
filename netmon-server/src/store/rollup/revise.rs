//! Working late rows into hours that are rolled up already.

use std::collections::BTreeSet;

use sqlx::PgConnection;
use time::OffsetDateTime;

use super::{RolledUp, Rollup, Since, forward, hold};
use crate::store::{
    Series, Store, StoreError, attempt,
    late::{self, Hour},
    partitions::Day,
};

/// Hours of one agent done in one transaction: its marks are locked until then, and a writer of the
/// agent's late rows waits.
const HOURS: usize = 12;

/// So many times the quiet time a mark waits at most.
const LONGEST: u32 = 15;

/// Marks looked at in one go.
const MARKS: i64 = 1000;

impl Store {
    /// Does the marked hours, as long as there are steps left.
    pub(super) async fn revise(
        &self,
        rollup: &Rollup,
        now: OffsetDateTime,
        steps: &mut usize,
        done: &mut RolledUp,
    ) -> Result<(), StoreError> {
        let quiet = self.ageing.rollup.quiet;
        let marks: Vec<(i64, OffsetDateTime)> = sqlx::query_as(
            "SELECT agent_id, hour FROM late_hours
             WHERE series = $1 AND ($3 OR marked_at <= $4 OR since <= $5)
             ORDER BY agent_id, hour LIMIT $2",
        )
        .bind(rollup.raw.table())
        .bind(MARKS)
        .bind(quiet.is_zero())
        .bind(now - quiet)
        .bind(now - quiet * LONGEST)
        .fetch_all(&self.pool)
        .await?;
        for of_agent in marks.chunk_by(|a, b| a.0 == b.0) {
            for some in of_agent.chunks(HOURS) {
                if *steps == 0 {
                    return Ok(());
                }
                *steps -= 1;
                let hours: Vec<_> = some.iter().map(|(_, hour)| Hour::of(*hour)).collect();
                let (revised, folded) =
                    attempt(self.revise_agent(rollup, some[0].0, &hours, now)).await?;
                done.revised += revised;
                done.folded += folded;
            }
        }
        Ok(())
    }

    /// Does some marked hours of one agent in one transaction; gives the hours computed anew and the
    /// rows folded.
    async fn revise_agent(
        &self,
        rollup: &Rollup,
        agent: i64,
        hours: &[Hour],
        now: OffsetDateTime,
    ) -> Result<(u64, u64), StoreError> {
        let since = hold::share(&mut *self.pool.acquire().await?, rollup).await?;
        let needed = hours.iter().flat_map(|hour| tables(rollup, *hour, since));
        self.partitions
            .ensure(&self.pool, &needed.collect())
            .await?;

        let mut lease = hold::begin(&self.pool).await?;
        let connection = lease.connection();
        let since = hold::share(connection, rollup).await?;
        let progress = hold::progress(connection, rollup).await?;
        let (mut revised, mut folded, mut carried) = (0, 0, 0);
        let hours = take(connection, rollup, agent, hours).await?;
        for hour in hours.iter().copied() {
            if hour.start() < since.raw {
                let (rows, of_them) = fold(connection, rollup, agent, hour, since).await?;
                (folded, carried) = (folded + rows, carried + of_them);
            } else if hour <= progress.hour {
                forward::hour(connection, rollup, agent, hour, since).await?;
                revised += 1;
            }
            // Later hours have not had their turn: it will see the row that left the mark.
        }
        // The first hour that is still computed from raw rows got some, if its turn is not just over.
        let bound = Hour::of(since.raw);
        if carried > 0 && !hours.contains(&bound) {
            let bound = (agent, rollup.raw, bound);
            late::mark_all(connection, now, std::iter::once(&bound)).await?;
        }
        lease.commit().await?;
        Ok((revised, folded))
    }
}

/// The partitions that folding or computing an hour may write to.
fn tables(rollup: &Rollup, hour: Hour, since: Since) -> BTreeSet<(Series, Day)> {
    let mut tables = BTreeSet::new();
    // A frame that begins in the hour may reach into the next.
    for hour in [hour, hour.plus(1)] {
        let day = Day::of(hour.start());
        if hour.start() >= since.fine {
            tables.insert((rollup.fine, day));
        }
        if hour.start() >= since.coarse {
            tables.insert((rollup.coarse, day));
        }
        if hour.start() >= since.raw {
            tables.insert((rollup.raw, day));
        }
    }
    tables
}

/// Locks the marks in the order in which writers lock them, and deletes them. A writer that was
/// first is waited for; the statements after this one see its rows.
async fn take(
    connection: &mut PgConnection,
    rollup: &Rollup,
    agent: i64,
    hours: &[Hour],
) -> sqlx::Result<Vec<Hour>> {
    let starts: Vec<_> = hours.iter().map(|hour| hour.start()).collect();
    let locked: Vec<OffsetDateTime> = sqlx::query_scalar(
        "SELECT hour FROM late_hours WHERE agent_id = $1 AND series = $2 AND hour = ANY ($3)
         ORDER BY hour FOR UPDATE",
    )
    .bind(agent)
    .bind(rollup.raw.table())
    .bind(starts)
    .fetch_all(&mut *connection)
    .await?;
    sqlx::query("DELETE FROM late_hours WHERE agent_id = $1 AND series = $2 AND hour = ANY ($3)")
        .bind(agent)
        .bind(rollup.raw.table())
        .bind(&locked)
        .execute(connection)
        .await?;
    Ok(locked.into_iter().map(Hour::of).collect())
}

/// Adds the raw rows that begin in an hour before the bound to its sums, and deletes them; gives how
/// many, and of how many a part went back as a row after the bound.
async fn fold(
    connection: &mut PgConnection,
    rollup: &Rollup,
    agent: i64,
    hour: Hour,
    since: Since,
) -> sqlx::Result<(u64, u64)> {
    let (folded, carried): (i64, i64) = sqlx::query_as(rollup.statements.fold)
        .bind(agent)
        .bind(hour.start())
        .bind(hour.end())
        .bind(since.fine)
        .bind(since.coarse)
        .bind(since.raw)
        .fetch_one(connection)
        .await?;
    Ok((folded.unsigned_abs(), carried.unsigned_abs()))
}
