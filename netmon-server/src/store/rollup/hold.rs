//! What a transaction of a roll-up holds: the bounds, and how far it is.

use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;

use super::Rollup;
use crate::store::{
    Series, StoreError,
    late::Hour,
    lease::Lease,
    partitions::{self, Day},
};

/// From when on the tables are whole; what was before has been dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct Since {
    pub(in crate::store) raw: OffsetDateTime,
    pub(in crate::store) fine: OffsetDateTime,
    pub(in crate::store) coarse: OffsetDateTime,
}

/// How far a series is rolled up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    /// The next hour.
    pub(super) hour: Hour,
    /// Of the next hour, agents up to this one are done.
    pub(super) agents_through: Option<i64>,
}

/// Begins a transaction; whoever waits for a writer's mark waits for its commit.
pub(super) async fn begin(pool: &PgPool) -> sqlx::Result<Lease> {
    Lease::with(
        pool,
        "BEGIN; \
         SET LOCAL lock_timeout = '20s'; \
         SET LOCAL statement_timeout = '40s'; \
         SET LOCAL idle_in_transaction_session_timeout = '40s'; \
         SET LOCAL jit = off",
    )
    .await
}

/// Writes the rows a roll-up needs if they are missing: nothing is dropped, and everything there is
/// from the oldest partition on is to be rolled up. `closed` is the first hour that is not due yet: a
/// watermark beyond it is from before the clock was set back, and goes back too.
pub(super) async fn prepare(
    pool: &PgPool,
    rollup: &Rollup,
    closed: Hour,
) -> Result<(), StoreError> {
    let mut lease = begin(pool).await?;
    let connection = lease.connection();
    sqlx::query(
        "INSERT INTO retained (table_name, since)
         SELECT name, to_timestamp(0) FROM unnest($1) AS of (name) ORDER BY name
         ON CONFLICT (table_name) DO NOTHING",
    )
    .bind(
        Series::ALL
            .iter()
            .map(|series| series.table())
            .collect::<Vec<_>>(),
    )
    .execute(&mut *connection)
    .await?;
    let mut days = partitions::existing(connection, rollup.raw).await?;
    for follower in rollup.raw.followers() {
        days.extend(partitions::existing(connection, follower).await?);
    }
    let first = days.into_iter().min().map(Day::start);
    sqlx::query(
        "INSERT INTO rollup_progress (series, rolled_through) VALUES ($1, $2)
         ON CONFLICT (series) DO NOTHING",
    )
    .bind(rollup.raw.table())
    .bind(first.unwrap_or(closed.start()).min(closed.start()))
    .execute(&mut *connection)
    .await?;
    let since = share(connection, rollup).await?;
    // Not before the bound: those hours cannot be computed anew.
    let back = closed.start().max(since.raw);
    sqlx::query(
        "UPDATE rollup_progress SET rolled_through = $2, agents_through = NULL
         WHERE series = $1 AND rolled_through > $2",
    )
    .bind(rollup.raw.table())
    .bind(back)
    .execute(connection)
    .await?;
    Ok(lease.commit().await?)
}

/// Reads the bounds and keeps them from moving until the transaction ends.
pub(super) async fn share(connection: &mut PgConnection, rollup: &Rollup) -> sqlx::Result<Since> {
    read(
        connection,
        rollup,
        "SELECT table_name, since FROM retained WHERE table_name = ANY ($1)
         ORDER BY table_name FOR SHARE",
    )
    .await
}

/// Reads the bounds in order to move them.
pub(in crate::store) async fn exclude(
    connection: &mut PgConnection,
    rollup: &Rollup,
) -> sqlx::Result<Since> {
    read(
        connection,
        rollup,
        "SELECT table_name, since FROM retained WHERE table_name = ANY ($1)
         ORDER BY table_name FOR UPDATE",
    )
    .await
}

async fn read(
    connection: &mut PgConnection,
    rollup: &Rollup,
    statement: &str,
) -> sqlx::Result<Since> {
    let rows: Vec<(String, OffsetDateTime)> = sqlx::query_as(statement)
        .bind(rollup.tables().map(Series::table).as_slice())
        .fetch_all(connection)
        .await?;
    let of = |series: Series| {
        let row = rows.iter().find(|(table, _)| table == series.table());
        row.map_or(OffsetDateTime::UNIX_EPOCH, |(_, since)| *since)
    };
    Ok(Since {
        raw: of(rollup.raw),
        fine: of(rollup.fine),
        coarse: of(rollup.coarse),
    })
}

/// Reads how far the series is and keeps others from going on until the transaction ends.
pub(super) async fn progress(
    connection: &mut PgConnection,
    rollup: &Rollup,
) -> sqlx::Result<Progress> {
    let (through, agents_through): (OffsetDateTime, Option<i64>) = sqlx::query_as(
        "SELECT rolled_through, agents_through FROM rollup_progress WHERE series = $1 FOR UPDATE",
    )
    .bind(rollup.raw.table())
    .fetch_one(connection)
    .await?;
    Ok(Progress {
        hour: Hour::of(through),
        agents_through,
    })
}

/// Before when everything is rolled up; none if the roll-up never ran.
pub(in crate::store) async fn rolled_through(
    connection: &mut PgConnection,
    rollup: &Rollup,
) -> sqlx::Result<Option<OffsetDateTime>> {
    sqlx::query_scalar("SELECT rolled_through FROM rollup_progress WHERE series = $1")
        .bind(rollup.raw.table())
        .fetch_optional(connection)
        .await
}

/// The watermark, and how many hours wait to be done again.
pub(super) async fn state(
    pool: &PgPool,
    rollup: &Rollup,
) -> Result<(OffsetDateTime, u64), StoreError> {
    let (through, marks): (OffsetDateTime, i64) = sqlx::query_as(
        "SELECT rolled_through, (SELECT count(*) FROM late_hours WHERE series = $1)
         FROM rollup_progress WHERE series = $1",
    )
    .bind(rollup.raw.table())
    .fetch_one(pool)
    .await?;
    Ok((through, marks.unsigned_abs()))
}
