//! Forgetting clients and servers that were not seen for long: their rows are updated in place, so no
//! partition takes them away.

use std::time::Duration;

use sqlx::PgPool;
use time::OffsetDateTime;

use super::{Store, StoreError, attempt};

/// The tables, and the columns of their keys behind the agent.
pub(crate) const IDLE: [(&str, &str); 2] = [
    ("ntp_clients", "interface, client, server"),
    ("ntp_servers", "interface, server"),
];

/// Rounds closer to each other than this do nothing: each reads all clients.
const APART: time::Duration = time::Duration::hours(6);

/// Deletes the rows of one agent in one of the tables that were last seen before a time, locked in the
/// order in which writers lock them: one that was seen meanwhile stays.
pub(crate) async fn forget(
    pool: &PgPool,
    (table, key): (&str, &str),
    agent: i64,
    before: OffsetDateTime,
) -> sqlx::Result<u64> {
    let of = |name: &str| {
        let columns = key.split(", ").map(|column| format!("{name}.{column}"));
        columns.collect::<Vec<_>>().join(", ")
    };
    let statement = format!(
        "WITH old AS (SELECT agent_id, {key} FROM {table} WHERE agent_id = $1 AND last_seen < $2
                      ORDER BY {key} FOR UPDATE)
         DELETE FROM {table} t USING old WHERE (t.agent_id, {}) = (old.agent_id, {})",
        of("t"),
        of("old"),
    );
    let done = sqlx::query(&statement).bind(agent).bind(before);
    Ok(done.execute(pool).await?.rows_affected())
}

impl Store {
    /// Forgets clients and servers that were not seen for the longest retention; gives how many rows.
    /// Does nothing if that was done less than six hours ago.
    ///
    /// # Errors
    /// As [`Store::commit_group`]; what was done until then stays done.
    pub async fn forget_idle_once(&self, now: OffsetDateTime) -> Result<u64, StoreError> {
        let last = self.forgot_at.lock().map_or(None, |at| *at);
        if last.is_some_and(|last| (now - last).abs() < APART) {
            return Ok(0);
        }
        let mut forgotten = 0;
        if let Some(before) = earlier(now, self.ageing.retention.hours) {
            let agents: Vec<i64> = sqlx::query_scalar("SELECT agent_id FROM agents ORDER BY 1")
                .fetch_all(&self.pool)
                .await?;
            for agent in agents {
                for table in IDLE {
                    let rows = async { Ok(forget(&self.pool, table, agent, before).await?) };
                    forgotten += attempt(rows).await?;
                }
            }
        }
        if let Ok(mut at) = self.forgot_at.lock() {
            *at = Some(now);
        }
        Ok(forgotten)
    }
}

fn earlier(now: OffsetDateTime, by: Duration) -> Option<OffsetDateTime> {
    now.checked_sub(time::Duration::try_from(by).ok()?)
}
