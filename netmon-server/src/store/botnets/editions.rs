//! Editions of the geo files that nodes were located by.

use std::{
    collections::HashMap,
    sync::{MutexGuard, PoisonError},
};

use netmon_geo::Edition;
use time::OffsetDateTime;

use super::{BotnetError, Botnets, EditionId};

impl Botnets {
    /// The number of an edition, which it gets when it is first used.
    ///
    /// # Errors
    /// The database's.
    pub async fn edition(&self, edition: &Edition) -> Result<EditionId, BotnetError> {
        if let Some(id) = self.editions().get(&edition.fingerprint) {
            return Ok(*id);
        }
        sqlx::query(
            "INSERT INTO botnet_geo_editions (fingerprint, description, first_used)
             VALUES ($1, $2, $3) ON CONFLICT (fingerprint) DO NOTHING",
        )
        .bind(&edition.fingerprint)
        .bind(&edition.description)
        .bind(OffsetDateTime::now_utc())
        .execute(&self.pool)
        .await?;
        let id =
            sqlx::query_scalar("SELECT edition_id FROM botnet_geo_editions WHERE fingerprint = $1");
        let id = id.bind(&edition.fingerprint).fetch_one(&self.pool).await?;
        self.editions().insert(edition.fingerprint.clone(), id);
        Ok(id)
    }

    fn editions(&self) -> MutexGuard<'_, HashMap<String, EditionId>> {
        self.editions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
