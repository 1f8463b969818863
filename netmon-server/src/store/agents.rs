//! Who the agents are.

use netmon_common::wire::Hello;
use sqlx::PgConnection;
use time::OffsetDateTime;

use super::{Store, StoreError, attempt, error::counted};
use crate::agent_id::AgentId;

/// Longest text an agent may say of itself, characters; the rest is cut.
const MAX_TEXT: usize = 255;

/// A Hello of an older run of the agent, on a connection that lasted, changes nothing but times.
const UPSERT: &str = "
INSERT INTO agents AS a (agent_id, alias, hostname, agent_version, kernel_release, epoch,
                         first_seen, last_seen)
VALUES ($1, $2, $3, $4, $5, $6, $7, $7)
ON CONFLICT (agent_id) DO UPDATE SET
    alias = CASE WHEN EXCLUDED.epoch >= a.epoch THEN EXCLUDED.alias ELSE a.alias END,
    hostname = CASE WHEN EXCLUDED.epoch >= a.epoch THEN EXCLUDED.hostname ELSE a.hostname END,
    agent_version = CASE WHEN EXCLUDED.epoch >= a.epoch
        THEN EXCLUDED.agent_version ELSE a.agent_version END,
    kernel_release = CASE WHEN EXCLUDED.epoch >= a.epoch
        THEN EXCLUDED.kernel_release ELSE a.kernel_release END,
    epoch = greatest(a.epoch, EXCLUDED.epoch),
    last_seen = greatest(a.last_seen, EXCLUDED.last_seen)";

impl Store {
    /// Writes who the agent says it is; its batches need the row.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub async fn register_agent(&self, agent: AgentId, hello: &Hello) -> Result<(), StoreError> {
        attempt(async {
            let hostname = or(tidy(&hello.hostname), || agent.to_string());
            sqlx::query(UPSERT)
                .bind(agent.to_bigint())
                .bind(or(tidy(&hello.alias), || hostname.clone()))
                .bind(&hostname)
                .bind(tidy(&hello.agent_version))
                .bind(tidy(&hello.kernel_release))
                .bind(i64::try_from(hello.epoch).unwrap_or(i64::MAX))
                .bind(OffsetDateTime::now_utc())
                .execute(&self.pool)
                .await?;
            Ok(())
        })
        .await
    }
}

/// Moves the time agents were last heard of; they come in the order of their numbers, in which
/// every transaction locks them. Not by UPDATE, whose order nobody knows: an agent without a row
/// would get one that says so, and the error rolls that back.
const SEEN: &str = "
INSERT INTO agents AS a (agent_id, alias, hostname, agent_version, kernel_release, epoch,
                         first_seen, last_seen)
SELECT agent_id, '', '', '', '', $3, $2, $2 FROM unnest($1::int8[]) AS seen (agent_id)
ON CONFLICT (agent_id) DO UPDATE SET last_seen = greatest(a.last_seen, EXCLUDED.last_seen)
RETURNING agent_id, epoch";

/// The epoch of no run.
const UNREGISTERED: i64 = 0;

/// Notes that agents were heard of at a time.
pub(super) async fn seen(
    connection: &mut PgConnection,
    agents: &[i64],
    at: OffsetDateTime,
) -> Result<(), StoreError> {
    if agents.is_empty() {
        return Ok(());
    }
    let rows: Vec<(i64, i64)> = sqlx::query_as(SEEN)
        .bind(agents)
        .bind(at)
        .bind(UNREGISTERED)
        .fetch_all(connection)
        .await?;
    match rows.iter().find(|(_, epoch)| *epoch == UNREGISTERED) {
        Some((agent, _)) => Err(StoreError::Unregistered(*agent)),
        None => counted("agents", agents.len() as u64, rows.len() as u64),
    }
}

/// Text for people: without control characters (NUL has no place in PostgreSQL) and not too long.
fn tidy(text: &str) -> String {
    text.trim()
        .chars()
        .filter(|c| !c.is_control())
        .take(MAX_TEXT)
        .collect()
}

fn or(text: String, otherwise: impl FnOnce() -> String) -> String {
    if text.is_empty() { otherwise() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_agents_is_tidied() {
        assert_eq!(tidy(" a\0b\n"), "ab");
        assert_eq!(tidy(&"é".repeat(300)).chars().count(), MAX_TEXT);
        assert_eq!(or(tidy("\0"), || "host".to_owned()), "host");
    }
}
