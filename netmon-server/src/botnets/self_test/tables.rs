//! Whether the database is one that can be worked with.

use sqlx::PgPool;

use super::report::{Failure, Finding};
use crate::database;

const TABLES: [&str; 15] = [
    "botnet_families",
    "botnet_places",
    "botnet_geo_editions",
    "botnet_sources",
    "botnet_nodes",
    "botnet_communications",
    "botnet_uploads",
    "botnet_chunks",
    "botnet_statistics",
    "botnet_deltas",
    "botnet_active",
    "botnet_days",
    "botnet_days_due",
    "botnet_aggregations",
    "retained",
];

const UNANSWERED: &str = "look into the database's log";

/// It answers, and takes rows.
pub(super) async fn writable(pool: &PgPool) -> Result<Finding, Failure> {
    let answer: (String, bool, bool) = sqlx::query_as(
        "SELECT current_setting('server_version'), pg_is_in_recovery(),
                current_setting('default_transaction_read_only')::bool",
    )
    .fetch_one(pool)
    .await
    .map_err(|error| Failure::new(error, UNANSWERED))?;
    let (version, standby, read_only) = answer;
    match (standby, read_only) {
        (true, _) => Err(Failure::new(
            "it is a read-only standby",
            "put the primary into database.url",
        )),
        (_, true) => Err(Failure::new(
            "default_transaction_read_only is on",
            "set it to off for the role or the database of netmon",
        )),
        _ => Ok(Finding::new(format!(
            "PostgreSQL {version} answers and takes rows"
        ))),
    }
}

/// Every migration is in, and none failed.
pub(super) async fn schema(pool: &PgPool) -> Result<Finding, Failure> {
    let remedy = "start the netmon-server of this release once: it brings the schema up to date";
    let (found, known) = database::schema_versions(pool)
        .await
        .map_err(|error| Failure::new(error, UNANSWERED))?;
    match found == known {
        true => Ok(Finding::new(format!("version {found}"))),
        false => Err(Failure::new(
            format!("version {found} instead of {known}"),
            remedy,
        )),
    }
}

/// Every table of botnets is there and can be read and written by whoever runs this.
pub(super) async fn present(pool: &PgPool) -> Result<Finding, Failure> {
    let broken: Vec<(String, bool)> = sqlx::query_as(
        "SELECT name, to_regclass(name) IS NULL
         FROM unnest($1::text[]) AS of (name)
         WHERE to_regclass(name) IS NULL
            OR NOT has_table_privilege(to_regclass(name), 'SELECT, INSERT, UPDATE, DELETE')
         ORDER BY name",
    )
    .bind(TABLES.map(str::to_owned).to_vec())
    .fetch_all(pool)
    .await
    .map_err(|error| Failure::new(error, UNANSWERED))?;
    if broken.is_empty() {
        return Ok(Finding::new(format!("{} tables", TABLES.len())));
    }
    let told: Vec<_> = broken
        .iter()
        .map(|(name, missing)| match missing {
            true => format!("{name} is missing"),
            false => format!("{name} cannot be read and written"),
        })
        .collect();
    Err(Failure::new(
        told.join(", "),
        "restore a backup, or give the role of database.url its rights back",
    ))
}
