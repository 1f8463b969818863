//! Who the agents are.

use std::collections::BTreeMap;

use netmon_common::wire::{Hello, Kind, StreamState};
use sqlx::PgConnection;
use time::OffsetDateTime;

use super::{Store, StoreError, attempt, error::counted, lease::Lease};
use crate::agent_id::AgentId;

/// Longest text an agent may say of itself, characters; the rest is cut.
const MAX_TEXT: usize = 255;

/// A Hello of an older run of the agent, on a connection that lasted, changes nothing but times.
const UPSERT: &str = "
INSERT INTO agents AS a (agent_id, alias, hostname, agent_version, kernel_release, epoch,
                         first_seen, last_seen, greeted_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $7)
ON CONFLICT (agent_id) DO UPDATE SET
    alias = CASE WHEN EXCLUDED.epoch >= a.epoch THEN EXCLUDED.alias ELSE a.alias END,
    hostname = CASE WHEN EXCLUDED.epoch >= a.epoch THEN EXCLUDED.hostname ELSE a.hostname END,
    agent_version = CASE WHEN EXCLUDED.epoch >= a.epoch
        THEN EXCLUDED.agent_version ELSE a.agent_version END,
    kernel_release = CASE WHEN EXCLUDED.epoch >= a.epoch
        THEN EXCLUDED.kernel_release ELSE a.kernel_release END,
    epoch = greatest(a.epoch, EXCLUDED.epoch),
    last_seen = greatest(a.last_seen, EXCLUDED.last_seen),
    greeted_at = greatest(a.greeted_at, EXCLUDED.greeted_at)";

/// The streams a Hello lists have the time of that Hello: those that an agent no longer lists are
/// told from them by it. How far they are settled stands in batches, not before what was given up
/// on the way is known.
const LISTED: &str = "
INSERT INTO ingest_streams AS s
    (agent_id, epoch, kind, settled_through, sealed_through, reported_at)
SELECT $1, epoch, kind, 0, sealed_through, $5
FROM unnest($2::int8[], $3::int2[], $4::int8[]) AS r (epoch, kind, sealed_through)
ON CONFLICT (agent_id, epoch, kind) DO UPDATE SET
    sealed_through = greatest(s.sealed_through, EXCLUDED.sealed_through),
    reported_at = greatest(s.reported_at, EXCLUDED.reported_at)";

impl Store {
    /// Writes who the agent says it is; its batches need the row.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub async fn register_agent(&self, agent: AgentId, hello: &Hello) -> Result<(), StoreError> {
        attempt(async {
            let hostname = or(tidy(&hello.hostname), || agent.to_string());
            let now = OffsetDateTime::now_utc();
            // Nothing is acknowledged by it, and the agent's first batch makes it durable: a fleet that
            // returns at once must not queue for the disk.
            let begin = "BEGIN; SET LOCAL synchronous_commit = off; SET LOCAL lock_timeout = '20s'; \
                 SET LOCAL statement_timeout = '40s'; \
                 SET LOCAL idle_in_transaction_session_timeout = '40s'";
            let mut lease = Lease::with(&self.pool, begin).await?;
            sqlx::query(UPSERT)
                .bind(agent.to_bigint())
                .bind(or(tidy(&hello.alias), || hostname.clone()))
                .bind(&hostname)
                .bind(tidy(&hello.agent_version))
                .bind(tidy(&hello.kernel_release))
                .bind(i64::try_from(hello.epoch).unwrap_or(i64::MAX))
                .bind(now)
                .execute(lease.connection())
                .await?;
            list(lease.connection(), agent, &hello.streams, now).await?;
            lease.commit().await?;
            Ok(())
        })
        .await
    }
}

async fn list(
    connection: &mut PgConnection,
    agent: AgentId,
    states: &[StreamState],
    now: OffsetDateTime,
) -> sqlx::Result<()> {
    // In the order of their keys, each once.
    let mut streams: BTreeMap<(i64, i16), i64> = BTreeMap::new();
    for state in states {
        let kind = Kind::try_from(state.kind);
        let numbers = (
            i64::try_from(state.epoch),
            i64::try_from(state.sealed_through),
        );
        if let (Ok(kind), (Ok(epoch), Ok(sealed))) = (kind, numbers) {
            let known = streams.entry((epoch, kind as i16)).or_default();
            *known = sealed.max(*known);
        }
    }
    if streams.is_empty() {
        return Ok(());
    }
    sqlx::query(LISTED)
        .bind(agent.to_bigint())
        .bind(streams.keys().map(|(epoch, _)| *epoch).collect::<Vec<_>>())
        .bind(streams.keys().map(|(_, kind)| *kind).collect::<Vec<_>>())
        .bind(streams.values().copied().collect::<Vec<_>>())
        .bind(now)
        .execute(connection)
        .await?;
    Ok(())
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
