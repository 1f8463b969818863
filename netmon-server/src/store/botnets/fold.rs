//! Differences into the statistics: behind the writers, and never in their way.

use super::{BotnetError, Botnets, FamilyId, commit::attempt_botnets};
use crate::store::lease::Lease;

/// Held while a family's statistics are changed, by whoever folds or counts afresh. Writers do not
/// take it.
pub const STATISTICS_LOCK: &str = "netmon.botnet.statistics";

/// Differences that one transaction folds.
const AT_ONCE: i64 = 1000;

const FAMILIES_WITH_DELTAS: &str = "\
    SELECT f.family_id FROM botnet_families f
    WHERE EXISTS (SELECT FROM botnet_deltas d WHERE d.family_id = f.family_id)
    ORDER BY f.family_id";

/// Those of removed families go with their other rows.
const WAITING: &str = "\
    SELECT count(*) FROM botnet_deltas d JOIN botnet_families f ON f.family_id = d.family_id";

/// $1: family, $2: how many.
const FOLD: &str = "\
    WITH gone AS (
        DELETE FROM botnet_deltas d
        WHERE d.family_id = $1 AND d.delta_id IN (
            SELECT o.delta_id FROM botnet_deltas o
            WHERE o.family_id = $1 ORDER BY o.delta_id LIMIT $2)
        RETURNING d.place_ids, d.nodes, d.communications, d.days),
    sums AS (
        SELECT u.place_id, sum(u.nodes)::bigint AS nodes,
               sum(u.communications)::bigint AS communications
        FROM gone, unnest(gone.place_ids, gone.nodes, gone.communications)
                   AS u (place_id, nodes, communications)
        GROUP BY u.place_id ORDER BY u.place_id),
    added AS (
        INSERT INTO botnet_statistics AS s (family_id, place_id, nodes, communications)
        SELECT $1, place_id, nodes, communications FROM sums
        ON CONFLICT (family_id, place_id) DO UPDATE SET
            nodes = s.nodes + EXCLUDED.nodes,
            communications = s.communications + EXCLUDED.communications
        RETURNING s.nodes = 0 AND s.communications = 0 AS is_empty),
    due AS (
        INSERT INTO botnet_days_due (family_id, day)
        SELECT DISTINCT $1, u.day FROM gone, unnest(gone.days) AS u (day)
        ON CONFLICT (family_id, day) DO NOTHING
        RETURNING day)
    SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM added WHERE is_empty)";

/// What a round of folding did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Folded {
    /// Differences folded.
    pub deltas: u64,
    /// Families of which somebody else was changing the statistics.
    pub busy: u64,
    /// Differences that are left at the end.
    pub waiting: u64,
}

impl Botnets {
    /// Folds the differences that are there into the statistics, family by family. What the two say
    /// together is the same before and after.
    ///
    /// # Errors
    /// The database's; what was folded until then stays folded.
    pub async fn fold_once(&self) -> Result<Folded, BotnetError> {
        let families: Vec<FamilyId> = sqlx::query_scalar(FAMILIES_WITH_DELTAS)
            .fetch_all(&self.pool)
            .await?;
        let mut folded = Folded::default();
        for family in families {
            match self.fold_family(family).await? {
                Some(deltas) => folded.deltas += deltas,
                None => folded.busy += 1,
            }
        }
        let waiting: i64 = sqlx::query_scalar(WAITING).fetch_one(&self.pool).await?;
        folded.waiting = waiting.unsigned_abs();
        self.metrics.folded(&folded);
        Ok(folded)
    }

    /// Folds a family's differences until none is left; `None`: somebody else is at it.
    async fn fold_family(&self, family: FamilyId) -> Result<Option<u64>, BotnetError> {
        let mut deltas = 0;
        loop {
            let count = attempt_botnets(self.fold_some(family)).await?;
            let Some(count) = count else {
                return Ok((deltas > 0).then_some(deltas));
            };
            deltas += count;
            if count < AT_ONCE as u64 {
                return Ok(Some(deltas));
            }
        }
    }

    async fn fold_some(&self, family: FamilyId) -> Result<Option<u64>, BotnetError> {
        let mut lease = Lease::begin(&self.pool).await?;
        let connection = lease.connection();
        let alone: bool =
            sqlx::query_scalar("SELECT pg_try_advisory_xact_lock(hashtextextended($1, $2))")
                .bind(STATISTICS_LOCK)
                .bind(family)
                .fetch_one(&mut *connection)
                .await?;
        if !alone {
            lease.roll_back().await?;
            return Ok(None);
        }
        let (deltas, empty): (i64, i64) = sqlx::query_as(FOLD)
            .bind(family)
            .bind(AT_ONCE)
            .fetch_one(&mut *connection)
            .await?;
        if empty > 0 {
            sqlx::query(
                "DELETE FROM botnet_statistics
                 WHERE family_id = $1 AND nodes = 0 AND communications = 0",
            )
            .bind(family)
            .execute(connection)
            .await?;
        }
        lease.commit().await?;
        Ok(Some(deltas.unsigned_abs()))
    }
}
