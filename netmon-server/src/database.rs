//! The connection to PostgreSQL, managed or external, and its schema.

use std::time::Duration;

use sqlx::{
    Connection, PgConnection, PgPool,
    migrate::{MigrateError, Migrator},
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio_util::sync::CancellationToken;

use crate::{config::Secret, postgres::MIN_MAJOR};

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// How long a request waits for a free connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(5);

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The configured URL.
    #[error("database.url is not of the form postgres://user:password@host:port/database")]
    Url,
    /// It does not answer (yet).
    #[error("the database does not answer: {0}")]
    Unavailable(#[source] sqlx::Error),
    /// Its PostgreSQL is too old.
    #[error("the database runs PostgreSQL {0}, {MIN_MAJOR} or newer is needed: upgrade it")]
    TooOld(i32),
    /// It is a standby and takes no rows.
    #[error("the database is a read-only standby: put the primary into database.url")]
    Standby,
    /// A newer release has been here.
    #[error(
        "the database's schema has version {found}, which this release (up to {known}) does not \
         know: run the newer release of netmon-server again, or restore a backup made before it"
    )]
    SchemaNewer {
        /// Version in the database.
        found: i64,
        /// Newest version this binary knows.
        known: i64,
    },
    /// The schema could not be brought up to date.
    #[error("the database's schema cannot be brought up to date: {0}")]
    Migration(#[source] MigrateError),
    /// The server was told to stop while it waited.
    #[error("stopped before the database answered")]
    Stopped,
}

impl DatabaseError {
    /// Whether trying again later may help.
    fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Standby)
    }
}

/// How to connect to an external database.
pub fn external_options(url: &Secret) -> Result<PgConnectOptions, DatabaseError> {
    url.expose().parse().map_err(|_| DatabaseError::Url)
}

/// A pool that connects when it is first needed.
pub fn pool(options: PgConnectOptions, max_connections: u32) -> PgPool {
    PgPoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_lazy_with(options.application_name("netmon-server"))
}

/// Waits until the database answers and its schema is up to date.
///
/// Tries for as long as it takes and logs each new reason; fails only for what no waiting can
/// cure, and when `stop` is cancelled.
pub async fn make_ready(pool: &PgPool, stop: &CancellationToken) -> Result<(), DatabaseError> {
    let mut pause = FIRST_PAUSE;
    let mut logged = String::new();
    let options = pool.connect_options();
    loop {
        let outcome = tokio::select! {
            outcome = check_and_migrate(&options) => outcome,
            () = stop.cancelled() => return Err(DatabaseError::Stopped),
        };
        let error = match outcome {
            Err(error) if error.is_transient() => error,
            decided => return decided,
        };
        let reason = error.to_string();
        // Right after a start of PostgreSQL the first attempts fail: nothing to report.
        if reason != logged && pause > FIRST_PAUSE * 8 {
            tracing::warn!("{reason}; trying again");
            logged = reason;
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(LAST_PAUSE),
            () = stop.cancelled() => return Err(DatabaseError::Stopped),
        }
    }
}

/// Takes the rows of `migrations/` that are missing, under sqlx's advisory lock: servers that
/// start at once do it one after the other.
///
/// On a connection of its own, since sqlx keeps the lock when it fails: only the end of the
/// session frees it.
async fn check_and_migrate(options: &PgConnectOptions) -> Result<(), DatabaseError> {
    let mut connection = PgConnection::connect_with(options)
        .await
        .map_err(DatabaseError::Unavailable)?;
    let (version, standby): (i32, bool) = sqlx::query_as(
        "SELECT current_setting('server_version_num')::int4 / 10000, pg_is_in_recovery()",
    )
    .fetch_one(&mut connection)
    .await
    .map_err(DatabaseError::Unavailable)?;
    if version < MIN_MAJOR as i32 {
        return Err(DatabaseError::TooOld(version));
    }
    if standby {
        return Err(DatabaseError::Standby);
    }
    let outcome = MIGRATIONS
        .run_direct(&mut connection)
        .await
        .map_err(explain);
    let _ = connection.close().await;
    outcome
}

/// The version of the schema in the database and the one this binary works with.
///
/// # Errors
/// As the database answers; a database without any schema has version 0.
pub async fn schema_versions(pool: &PgPool) -> sqlx::Result<(i64, i64)> {
    let known = MIGRATIONS
        .iter()
        .map(|migration| migration.version)
        .max()
        .unwrap_or_default();
    let there: bool = sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL")
        .fetch_one(pool)
        .await?;
    if !there {
        return Ok((0, known));
    }
    let found =
        sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM _sqlx_migrations WHERE success");
    Ok((found.fetch_one(pool).await?, known))
}

fn explain(error: MigrateError) -> DatabaseError {
    let known = MIGRATIONS
        .iter()
        .map(|migration| migration.version)
        .max()
        .unwrap_or_default();
    match error {
        MigrateError::VersionMissing(found) if found > known => {
            DatabaseError::SchemaNewer { found, known }
        }
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)
            if is_connection_lost(&error) =>
        {
            DatabaseError::Unavailable(error)
        }
        error => DatabaseError::Migration(error),
    }
}

/// Io and Tls: the connection; class 08: the connection; 57P0x: the server is going down or
/// coming up; 53: out of disk or memory.
fn is_connection_lost(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) => true,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            ["08", "53", "57P0"]
                .iter()
                .any(|class| code.starts_with(class))
        }),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_of_a_newer_release_is_told_apart_from_a_broken_one() {
        let newer = explain(MigrateError::VersionMissing(9_999));
        assert!(
            matches!(newer, DatabaseError::SchemaNewer { found: 9_999, .. }),
            "{newer}"
        );
        let broken = explain(MigrateError::VersionMismatch(1));
        assert!(matches!(broken, DatabaseError::Migration(_)), "{broken}");
    }

    #[test]
    fn the_url_never_shows_in_an_error() {
        let url = Secret::from("postgres://u:hunter2@[/d".to_owned());
        assert!(
            !external_options(&url)
                .unwrap_err()
                .to_string()
                .contains("hunter2")
        );
    }
}
