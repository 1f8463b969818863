//! Families that go with everything that is known of them.

use super::{BotnetError, Botnets, FamilyId, NodeSelection};
use crate::store::lease::Lease;

/// So long a removed family is looked after: somebody who read the families before it was removed, such
/// as a job, may write rows of it afterwards.
const LOOKED_AFTER: time::Duration = time::Duration::minutes(10);

/// Removing what is left takes longer than a request may: it is done table by table, and what was
/// interrupted is taken up again.
const BEGIN: &str = "BEGIN; SET LOCAL lock_timeout = '20s'; SET LOCAL statement_timeout = '30min'; \
                     SET LOCAL idle_in_transaction_session_timeout = '40s'";

/// Tables with rows of families, those of later migrations, too.
const TABLES: &str = "\
    SELECT c.relname::text FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    WHERE a.attname = 'family_id' AND NOT a.attisdropped
      AND c.relnamespace = current_schema()::regnamespace
      AND c.relkind IN ('r', 'p') AND NOT c.relispartition
      AND c.relname NOT IN ('botnet_families', 'botnet_families_removed')
    ORDER BY c.relname";

impl Botnets {
    /// Removes a family: its names are free at once, its rows go in the background
    /// ([`Botnets::remove_rest`]). Waits for transactions that write to it.
    ///
    /// # Errors
    /// [`BotnetError::FamilyGone`], or the database's.
    pub async fn delete_family(&self, family: FamilyId) -> Result<(), BotnetError> {
        let mut lease = Lease::begin(&self.pool).await?;
        let removed = sqlx::query(
            "WITH gone AS (DELETE FROM botnet_families WHERE family_id = $1 RETURNING family_id)
             INSERT INTO botnet_families_removed (family_id, removed_at)
             SELECT family_id, clock_timestamp() FROM gone",
        )
        .bind(family)
        .execute(lease.connection())
        .await?;
        if removed.rows_affected() != 1 {
            lease.roll_back().await?;
            return Err(BotnetError::FamilyGone);
        }
        lease.commit().await?;
        Ok(())
    }

    /// Removes the rows of families that were removed; gives how many families are done with: that is
    /// ten minutes after they were removed.
    ///
    /// # Errors
    /// The database's; what was removed until then stays removed.
    pub async fn remove_rest(&self) -> Result<u64, BotnetError> {
        let families: Vec<FamilyId> =
            sqlx::query_scalar("SELECT family_id FROM botnet_families_removed ORDER BY family_id")
                .fetch_all(&self.pool)
                .await?;
        for family in &families {
            self.remove_rows(*family).await?;
        }
        let done = sqlx::query(
            "DELETE FROM botnet_families_removed
             WHERE family_id = ANY ($1) AND removed_at < clock_timestamp() - $2::interval",
        )
        .bind(families)
        .bind(LOOKED_AFTER)
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected())
    }

    async fn remove_rows(&self, family: FamilyId) -> Result<(), BotnetError> {
        self.delete_nodes(family, &NodeSelection::All).await?;
        let tables: Vec<String> = sqlx::query_scalar(TABLES).fetch_all(&self.pool).await?;
        for table in tables {
            let mut lease = Lease::with(&self.pool, BEGIN).await?;
            // The name was read from the catalog of a schema that is ours.
            let statement = format!("DELETE FROM {table} WHERE family_id = $1");
            sqlx::query(&statement)
                .bind(family)
                .execute(lease.connection())
                .await?;
            lease.commit().await?;
        }
        Ok(())
    }
}
