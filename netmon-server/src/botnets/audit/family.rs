//! One family, at one moment.

use sqlx::{Executor as _, PgConnection, PgPool};
use time::{Date, OffsetDateTime};

use super::report::{FamilyAudit, GapDay, GapRun};
use crate::{
    botnets::{
        Subject,
        aggregate::{Drift, counted_by_place, live},
        snapshot::Snapshot,
        transient::attempts,
    },
    store::botnets::FamilyId,
};

/// Runs listed of a family: the longest.
const MAX_RUNS: i64 = 1000;

/// Every node beside the sum of its communications, and what does not fit of it. `$1` is the family,
/// `$2` since when communications are kept.
pub(in crate::botnets) const BOOKS: &str = "\
WITH books AS (
    SELECT n.ip AS node, c.ip AS seen,
           n.last_seen >= $2 AS in_scope,
           n.last_seen >= $2 AND c.ip IS NULL AS lacking,
           n.ip IS NULL AS orphan,
           coalesce(c.count > n.communications
                    OR c.count < n.communications AND n.first_seen >= $2, false) AS miscounted,
           coalesce(c.last_seen <> n.last_seen
                    OR c.first_seen < n.first_seen
                    OR c.first_seen > n.first_seen AND n.first_seen >= $2, false) AS misdated
    FROM (SELECT ip, first_seen, last_seen, communications
          FROM botnet_nodes WHERE family_id = $1) n
    FULL JOIN (SELECT ip, sum(count)::int8 AS count,
                      min(first_seen) AS first_seen, max(last_seen) AS last_seen
               FROM botnet_communications WHERE family_id = $1
               GROUP BY ip) c ON c.ip = n.ip
)";

/// Audits a family in a transaction that changes nothing.
pub(super) async fn look(
    pool: &PgPool,
    family: &Subject,
    threshold: f64,
) -> sqlx::Result<FamilyAudit> {
    attempts(|| async {
        let mut snapshot = Snapshot::begin(pool).await?;
        let mut audit = FamilyAudit::new(&family.name);
        let since = snapshot.hold_communications().await?;
        audit.since = (since > OffsetDateTime::UNIX_EPOCH).then_some(since);
        let connection = snapshot.connection();
        totals(connection, family.id, since, &mut audit).await?;
        if audit.lacking > 0 {
            gaps(connection, family.id, since, &mut audit).await?;
        }
        audit.drift = drift_within(connection, family.id).await?;
        snapshot.end().await?;
        audit.judge(threshold);
        Ok(audit)
    })
    .await
}

/// How far a family's statistics are from a count of the same moment.
pub(in crate::botnets) async fn drift(pool: &PgPool, family: &Subject) -> sqlx::Result<Drift> {
    attempts(|| async {
        let mut snapshot = Snapshot::begin(pool).await?;
        let drift = drift_within(snapshot.connection(), family.id).await?;
        snapshot.end().await?;
        Ok(drift)
    })
    .await
}

async fn drift_within(connection: &mut PgConnection, family: FamilyId) -> sqlx::Result<Drift> {
    let counted = counted_by_place(connection, family).await?;
    let live = live(connection, family).await?;
    Ok(Drift::between(&counted, &live.now))
}

async fn totals(
    connection: &mut PgConnection,
    family: FamilyId,
    since: OffsetDateTime,
    audit: &mut FamilyAudit,
) -> sqlx::Result<()> {
    // All of a family's addresses are hashed or sorted once; what does not fit goes to disk.
    connection.execute("SET LOCAL work_mem = '256MB'").await?;
    let statement = format!(
        "{BOOKS}
         SELECT count(*) FILTER (WHERE in_scope), count(*) FILTER (WHERE lacking),
                count(*) FILTER (WHERE miscounted), count(*) FILTER (WHERE misdated),
                count(*) FILTER (WHERE orphan)
         FROM books"
    );
    let (nodes, lacking, miscounted, misdated, orphans) = sqlx::query_as(&statement)
        .bind(family)
        .bind(since)
        .fetch_one(connection)
        .await?;
    audit.nodes = nodes;
    audit.lacking = lacking;
    audit.miscounted = miscounted;
    audit.misdated = misdated;
    audit.orphans = orphans;
    Ok(())
}

/// When and where communications lack.
async fn gaps(
    connection: &mut PgConnection,
    family: FamilyId,
    since: OffsetDateTime,
    audit: &mut FamilyAudit,
) -> sqlx::Result<()> {
    let table = format!(
        "CREATE TEMPORARY TABLE botnet_gaps ON COMMIT DROP AS
         {BOOKS} SELECT node AS ip FROM books WHERE lacking"
    )
    .replace("$1", &family.to_string())
    .replace("$2", &format!("to_timestamp({})", since.unix_timestamp()));
    // A statement that makes a table takes no parameters; these are two numbers.
    connection.execute(table.as_str()).await?;
    connection.execute("ANALYZE botnet_gaps").await?;
    let days: Vec<(Date, i64, i64)> = sqlx::query_as(
        "SELECT (n.first_seen AT TIME ZONE 'UTC')::date AS day, count(*), count(g.ip)
         FROM botnet_nodes n LEFT JOIN botnet_gaps g ON g.ip = n.ip
         WHERE n.family_id = $1 AND n.last_seen >= $2
         GROUP BY day HAVING count(g.ip) > 0
         ORDER BY day",
    )
    .bind(family)
    .bind(since)
    .fetch_all(&mut *connection)
    .await?;
    let day = |(day, nodes, lacking)| GapDay {
        day,
        nodes,
        lacking,
    };
    audit.days = days.into_iter().map(day).collect();
    // Neighbours that lack have the same number of healthy nodes before them.
    let runs: Vec<(i64, i64, i64, OffsetDateTime, OffsetDateTime, i64)> = sqlx::query_as(
        "SELECT min(node_id), max(node_id), count(*), min(first_seen), max(first_seen),
                count(*) OVER ()
         FROM (
             SELECT n.node_id, n.first_seen, g.ip IS NOT NULL AS lacking,
                    count(*) FILTER (WHERE g.ip IS NULL) OVER (ORDER BY n.node_id) AS healthy
             FROM botnet_nodes n LEFT JOIN botnet_gaps g ON g.ip = n.ip
             WHERE n.family_id = $1 AND n.last_seen >= $2
         ) marked
         WHERE lacking
         GROUP BY healthy
         ORDER BY count(*) DESC, min(node_id)
         LIMIT $3",
    )
    .bind(family)
    .bind(since)
    .bind(MAX_RUNS)
    .fetch_all(connection)
    .await?;
    audit.runs_total = runs.first().map_or(0, |run| run.5);
    let run = |(first_id, last_id, nodes, from, to, _)| GapRun {
        first_id,
        last_id,
        nodes,
        from,
        to,
    };
    audit.runs = runs.into_iter().map(run).collect();
    Ok(())
}
