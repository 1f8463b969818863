//! In a distributed database (Citus): which shard holds an agent's rows. A transaction that stays
//! within one shard needs no commit in two phases.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use sqlx::PgPool;
use tokio::sync::OnceCell;

use super::{Store, StoreError, attempt};
use crate::agent_id::AgentId;

/// Agents remembered; beyond, all are forgotten and looked up anew.
const MAX_AGENTS: usize = 1 << 20;

/// What is known of the database's distribution.
#[derive(Debug, Default)]
pub(super) struct Shards {
    distributed: OnceCell<bool>,
    known: Mutex<HashMap<AgentId, i64>>,
}

impl Store {
    /// The shard that holds the agent's rows; 0 for every agent if the database is a single one.
    ///
    /// # Errors
    /// As [`Store::commit_group`].
    pub async fn shard_of(&self, agent: AgentId) -> Result<i64, StoreError> {
        attempt(self.shards.of(&self.pool, agent)).await
    }
}

impl Shards {
    async fn of(&self, pool: &PgPool, agent: AgentId) -> Result<i64, StoreError> {
        // Asked once: nobody distributes the tables of a server that runs.
        let distributed = self.distributed.get_or_try_init(|| is_distributed(pool));
        if !*distributed.await? {
            return Ok(0);
        }
        let known = self.lock().get(&agent).copied();
        if let Some(shard) = known {
            return Ok(shard);
        }
        let shard =
            sqlx::query_scalar("SELECT get_shard_id_for_distribution_column('ingest_ledger', $1)")
                .bind(agent.to_bigint())
                .fetch_one(pool)
                .await?;
        let mut known = self.lock();
        if known.len() >= MAX_AGENTS {
            known.clear();
        }
        known.insert(agent, shard);
        Ok(shard)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<AgentId, i64>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn is_distributed(pool: &PgPool) -> sqlx::Result<bool> {
    sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'citus')")
        .fetch_one(pool)
        .await
}
