//! The families that a run is about.

use sqlx::PgPool;

use crate::store::botnets::FamilyId;

/// A family, as far as statistics need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Its number.
    pub id: FamilyId,
    /// Its name.
    pub name: String,
}

/// Why there is nothing to run on.
#[derive(Debug, thiserror::Error)]
pub enum SubjectError {
    /// The database did not answer.
    #[error("the database does not answer: {0}")]
    Database(#[from] sqlx::Error),
    /// There is no such family.
    #[error("no family has the name or alias {name:?}: there are {known}")]
    Unknown {
        /// As it was asked for.
        name: String,
        /// The names there are.
        known: String,
    },
}

impl Subject {
    /// Every family, by name.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn all(pool: &PgPool) -> sqlx::Result<Vec<Self>> {
        let rows: Vec<(i64, String)> =
            sqlx::query_as("SELECT family_id, name FROM botnet_families ORDER BY name")
                .fetch_all(pool)
                .await?;
        Ok(rows.into_iter().map(Self::from).collect())
    }

    /// The families with these names or aliases, each once; all of them if there are no names.
    ///
    /// # Errors
    /// When one is not known.
    pub async fn named(pool: &PgPool, names: &[String]) -> Result<Vec<Self>, SubjectError> {
        let all = Self::all(pool).await?;
        if names.is_empty() {
            return Ok(all);
        }
        let mut wanted = Vec::<Self>::new();
        for name in names {
            let row: Option<(i64, String)> = sqlx::query_as(
                "SELECT family_id, name FROM botnet_families WHERE name = $1 OR $1 = ANY (aliases)",
            )
            .bind(name.to_lowercase())
            .fetch_optional(pool)
            .await?;
            let Some(found) = row.map(Self::from) else {
                let known: Vec<_> = all.iter().map(|family| family.name.as_str()).collect();
                return Err(SubjectError::Unknown {
                    name: name.clone(),
                    known: known.join(", "),
                });
            };
            if !wanted.contains(&found) {
                wanted.push(found);
            }
        }
        Ok(wanted)
    }
}

impl From<(i64, String)> for Subject {
    fn from((id, name): (i64, String)) -> Self {
        Self {
            id: FamilyId::from(id),
            name,
        }
    }
}
