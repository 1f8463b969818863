//! A pooled connection within a transaction of ours.

use sqlx::{Executor, PgConnection, PgPool, Postgres, pool::PoolConnection};
use time::OffsetDateTime;

/// Goes back to the pool only after its transaction ended well. Dropped before (an error, a
/// time-out, a cancelled task) the connection is closed: PostgreSQL rolls back, and nobody meets a
/// connection whose COPY or statement is half sent.
#[derive(Debug)]
pub(super) struct Lease(Option<PoolConnection<Postgres>>);

impl Lease {
    /// Begins a transaction that PostgreSQL itself ends if this process falls silent: its ledger
    /// row would otherwise hold up the next attempt for as long as the dead connection lasts. Its
    /// commit is durable: agents forget what is acknowledged, whatever the database is set to.
    pub(super) async fn begin(pool: &PgPool) -> sqlx::Result<Self> {
        Self::with(
            pool,
            "BEGIN ISOLATION LEVEL READ COMMITTED; \
             SET LOCAL lock_timeout = '20s'; \
             SET LOCAL statement_timeout = '40s'; \
             SET LOCAL idle_in_transaction_session_timeout = '40s'; \
             SELECT set_config('synchronous_commit', 'on', true) \
             WHERE current_setting('synchronous_commit') = 'off'",
        )
        .await
    }

    /// The same; gives the database's clock, too.
    pub(super) async fn begin_at(pool: &PgPool) -> sqlx::Result<(Self, OffsetDateTime)> {
        let mut lease = Self::begin(pool).await?;
        let now = sqlx::query_scalar("SELECT clock_timestamp()")
            .fetch_one(lease.connection())
            .await?;
        Ok((lease, now))
    }

    /// Begins a transaction with settings of one's own.
    pub(super) async fn with(pool: &PgPool, begin: &str) -> sqlx::Result<Self> {
        // Not sqlx's transaction: dropped, that one sends its rollback into whatever is going on.
        let mut lease = Self(Some(pool.acquire().await?));
        lease.connection().execute(begin).await?;
        Ok(lease)
    }

    /// The connection, for statements of the transaction.
    pub(super) fn connection(&mut self) -> &mut PgConnection {
        // Only `end` takes it, and that consumes the lease.
        self.0
            .as_mut()
            .expect("a lease holds its connection until it ends")
    }

    /// Makes the transaction durable. After an error the outcome is unknown.
    pub(super) async fn commit(self) -> sqlx::Result<()> {
        self.end("COMMIT").await
    }

    /// Ends a transaction that found nothing to do.
    pub(super) async fn roll_back(self) -> sqlx::Result<()> {
        self.end("ROLLBACK").await
    }

    async fn end(mut self, statement: &str) -> sqlx::Result<()> {
        self.connection().execute(statement).await?;
        drop(self.0.take());
        Ok(())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            drop(connection.detach());
        }
    }
}
