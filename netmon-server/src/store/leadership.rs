//! Which of several servers does a job: a row with an expiry.
//!
//! An advisory lock would do on one PostgreSQL; on a distributed one it holds on one node. A lease
//! saves the work of doing a job twice and no more: a server may believe in one that ran out a moment
//! ago, so every job must be right also when two do it at once.

use std::time::Duration;

use time::OffsetDateTime;

use super::{Store, StoreError, attempt};

impl Store {
    /// Takes or renews the lease of a job; `false` while another server holds it. `now` is the
    /// database's time.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub async fn lead(
        &self,
        job: &str,
        now: OffsetDateTime,
        length: Duration,
    ) -> Result<bool, StoreError> {
        let taken = sqlx::query(
            "INSERT INTO job_leases AS held (job, holder, expires_at) VALUES ($1, $2, $3)
             ON CONFLICT (job) DO UPDATE
             SET holder = EXCLUDED.holder, expires_at = EXCLUDED.expires_at
             WHERE held.holder = EXCLUDED.holder OR held.expires_at <= $4",
        )
        .bind(job)
        .bind(self.holder)
        .bind(now + length)
        .bind(now)
        .execute(&self.pool);
        let taken = attempt(async { Ok(taken.await?) }).await?;
        Ok(taken.rows_affected() == 1)
    }

    /// Gives the lease back, so that another server need not wait for its end.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub async fn resign(&self, job: &str) -> Result<(), StoreError> {
        let resigned = sqlx::query("DELETE FROM job_leases WHERE job = $1 AND holder = $2")
            .bind(job)
            .bind(self.holder)
            .execute(&self.pool);
        attempt(async { Ok(resigned.await.map(drop)?) }).await
    }

    /// The database's clock, by which all servers go.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub async fn database_time(&self) -> Result<OffsetDateTime, StoreError> {
        let now = sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(&self.pool);
        attempt(async { Ok(now.await?) }).await
    }
}
