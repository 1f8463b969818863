//! The family of a path.

use serde::Deserialize;
use sqlx::PgPool;
use utoipa::IntoParams;

use crate::api::problem::Problem;

/// The path's family.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct FamilySegment {
    /// Its name, or one of its aliases.
    #[param(example = "mozi")]
    pub family: String,
}

/// A family there is.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Found {
    #[sqlx(rename = "family_id")]
    pub id: i64,
    pub name: String,
}

/// The family with this name or alias, in any case of letters.
pub async fn find(database: &PgPool, name: &str) -> Result<Found, Problem> {
    let found = sqlx::query_as(
        "SELECT family_id, name FROM botnet_families WHERE name = $1 OR aliases @> ARRAY[$1]",
    )
    .bind(name.to_lowercase())
    .fetch_optional(database)
    .await?;
    found.ok_or_else(|| Problem::UnknownFamily(name.to_owned()))
}

/// The families with these names, separated by commas; all of them if none is given.
pub async fn several(database: &PgPool, names: Option<&str>) -> Result<Vec<Found>, Problem> {
    let Some(names) = names else {
        let all = sqlx::query_as("SELECT family_id, name FROM botnet_families ORDER BY name");
        return Ok(all.fetch_all(database).await?);
    };
    let mut families: Vec<Found> = Vec::new();
    for name in names.split(',') {
        let family = find(database, name.trim()).await?;
        if families.iter().all(|known| known.id != family.id) {
            families.push(family);
        }
    }
    Ok(families)
}
