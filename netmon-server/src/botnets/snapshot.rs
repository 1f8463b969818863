//! Transactions on a connection of their own, most of which see one moment.

use sqlx::{Connection as _, Executor as _, PgConnection, PgPool};
use time::OffsetDateTime;

use crate::store::botnets::{FamilyId, STATISTICS_LOCK};

/// Bounds of one piece of work. Compiling expressions costs more here than it saves, and sorting or
/// hashing millions of nodes wants memory.
const SETTINGS: &str = "SET lock_timeout = '60s'; \
     SET statement_timeout = '1h'; \
     SET idle_in_transaction_session_timeout = '60s'; \
     SET jit = off; \
     SET work_mem = '64MB'; \
     SET max_parallel_workers_per_gather = 2";

/// The connection is closed when this is dropped, however far the work has come: PostgreSQL then
/// rolls back and frees the locks.
#[derive(Debug)]
pub(super) struct Snapshot {
    connection: PgConnection,
}

impl Snapshot {
    /// Sees the moment of its first query.
    pub(super) async fn begin(pool: &PgPool) -> sqlx::Result<Self> {
        let mut connection = pool.acquire().await?.detach();
        connection.execute(SETTINGS).await?;
        connection
            .execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            .await?;
        Ok(Self { connection })
    }

    /// The same while nobody else folds or rebuilds the statistics of the family.
    ///
    /// A transaction sees the moment of its first query, and to wait for a lock is one: so the
    /// session takes the lock before the transaction begins.
    pub(super) async fn begin_alone(pool: &PgPool, family: FamilyId) -> sqlx::Result<Self> {
        let mut connection = pool.acquire().await?.detach();
        connection.execute(SETTINGS).await?;
        sqlx::query("SELECT pg_advisory_lock(hashtextextended($1, $2))")
            .bind(STATISTICS_LOCK)
            .bind(family)
            .execute(&mut connection)
            .await?;
        connection
            .execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            .await?;
        Ok(Self { connection })
    }

    /// Each statement sees what is committed when it begins.
    pub(super) async fn begin_current(pool: &PgPool) -> sqlx::Result<Self> {
        let mut connection = pool.acquire().await?.detach();
        connection.execute(SETTINGS).await?;
        connection
            .execute("BEGIN ISOLATION LEVEL READ COMMITTED")
            .await?;
        Ok(Self { connection })
    }

    /// Keeps partitions of communications from being
    /// dropped, and says since when there are any. To be called before anything else is looked at.
    pub(super) async fn hold_communications(&mut self) -> sqlx::Result<OffsetDateTime> {
        self.connection
            .execute("LOCK TABLE botnet_communications IN ACCESS SHARE MODE")
            .await?;
        sqlx::query_scalar(
            "SELECT coalesce(max(since), '1970-01-01 00:00:00+00') FROM retained
             WHERE table_name = 'botnet_communications'",
        )
        .fetch_one(&mut self.connection)
        .await
    }

    /// The connection, for statements of the transaction.
    pub(super) fn connection(&mut self) -> &mut PgConnection {
        &mut self.connection
    }

    /// The database's clock.
    pub(super) async fn now(&mut self) -> sqlx::Result<OffsetDateTime> {
        sqlx::query_scalar("SELECT clock_timestamp()")
            .fetch_one(&mut self.connection)
            .await
    }

    /// Makes everything durable and visible at once.
    pub(super) async fn commit(mut self) -> sqlx::Result<()> {
        self.connection.execute("COMMIT").await?;
        // The server frees the lock when it sees the end of the session, at the latest.
        let _ = self.connection.close().await;
        Ok(())
    }

    /// Ends a transaction that has only looked.
    pub(super) async fn end(mut self) -> sqlx::Result<()> {
        self.connection.execute("ROLLBACK").await?;
        let _ = self.connection.close().await;
        Ok(())
    }
}
