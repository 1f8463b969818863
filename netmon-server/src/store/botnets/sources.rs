//! Who saw: bounded, since names come from outside.

use std::sync::PoisonError;

use super::{BotnetError, Botnets, SourceId};
use crate::store::lease::Lease;

/// So many sources of a kind have names of their own; those beyond are `other`.
pub const MAX_SOURCES: i64 = 10_000;

/// Octets of a source's name.
const MAX_NAME: usize = 64;

/// What those are called for which there is no place.
const OTHER: &str = "other";

/// What kind of source it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SourceKind {
    /// Who sent a log.
    Log,
    /// An agent, by its id.
    Agent,
    /// The repair.
    Repair,
}

impl SourceKind {
    /// As it stands in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Agent => "agent",
            Self::Repair => "repair",
        }
    }
}

impl Botnets {
    /// The number of a source. A name longer than 64 octets is cut.
    ///
    /// # Errors
    /// The database's.
    pub async fn source(&self, kind: SourceKind, name: &str) -> Result<SourceId, BotnetError> {
        let name = &name[..name.floor_char_boundary(MAX_NAME)];
        let key = (kind, name.to_owned());
        let known = {
            let sources = self.sources.read().unwrap_or_else(PoisonError::into_inner);
            sources.get(&key).copied()
        };
        if let Some(id) = known {
            return Ok(id);
        }
        let id = self.find_or_add(kind, name).await?;
        let mut known = self.sources.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= 4 * MAX_SOURCES as usize {
            // Names beyond the bound lead to `other` and are remembered, too: begin again.
            known.clear();
        }
        known.insert(key, id);
        Ok(id)
    }

    async fn find_or_add(&self, kind: SourceKind, name: &str) -> Result<SourceId, BotnetError> {
        if let Some(id) = self.find(kind, name).await? {
            return Ok(id);
        }
        let mut lease = Lease::begin(&self.pool).await?;
        // One at a time, so that there are not more than there may be.
        sqlx::query("LOCK TABLE botnet_sources IN SHARE ROW EXCLUSIVE MODE")
            .execute(lease.connection())
            .await?;
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM botnet_sources WHERE kind = $1")
            .bind(kind.name())
            .fetch_one(lease.connection())
            .await?;
        let name = if count < MAX_SOURCES { name } else { OTHER };
        sqlx::query(
            "INSERT INTO botnet_sources (kind, name) VALUES ($1, $2)
             ON CONFLICT (kind, name) DO NOTHING",
        )
        .bind(kind.name())
        .bind(name)
        .execute(lease.connection())
        .await?;
        lease.commit().await?;
        let found = self.find(kind, name).await?;
        Ok(found.ok_or(sqlx::Error::RowNotFound)?)
    }

    async fn find(&self, kind: SourceKind, name: &str) -> sqlx::Result<Option<SourceId>> {
        sqlx::query_scalar("SELECT source_id FROM botnet_sources WHERE kind = $1 AND name = $2")
            .bind(kind.name())
            .bind(name)
            .fetch_optional(&self.pool)
            .await
    }
}
