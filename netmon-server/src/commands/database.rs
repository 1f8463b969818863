//! Opens the database of a server from another process.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use sqlx::{
    Connection, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::time::timeout;

use crate::{
    config::{self, Config, ConfigError, Overrides},
    database::{self, DatabaseError},
    postgres::{Cluster, PostgresError},
};

/// Which database a command is to look at; these flags may stand anywhere after the command.
#[derive(Debug, Args)]
pub struct Place {
    /// Configuration file (TOML); environment variables NETMON_SERVER__… and flags win over it
    #[arg(long, value_name = "FILE", env = "NETMON_SERVER_CONFIG", global = true)]
    config: Option<PathBuf>,
    /// Directory of the managed database, whose server runs
    #[arg(long, value_name = "DIR", global = true)]
    data_dir: Option<PathBuf>,
    /// An external database: postgres://user:password@host:port/database
    #[arg(long, value_name = "URL", global = true)]
    database_url: Option<String>,
}

impl Place {
    /// The configuration of the server that stores there.
    ///
    /// # Errors
    /// When the configuration is unusable.
    pub fn config(self) -> Result<Config, ConfigError> {
        let overrides = Overrides {
            data_dir: self.data_dir,
            database_url: self.database_url,
            ..Overrides::default()
        };
        config::load(self.config, overrides)
    }
}

/// How long the database may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why the database cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The managed database of the directory does not run.
    #[error(
        "no netmon-server runs on {data_dir:?} ({reason}): start `netmon-server serve` there, or \
         name the right place by --data-dir, --config or NETMON_SERVER__DATABASE__URL"
    )]
    NotRunning {
        /// The directory that was looked at.
        data_dir: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The directory cannot be looked at.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    /// The external database cannot be used.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// Its schema is another release's.
    #[error(
        "the database's schema has version {found}, this program works with {known}: use the \
         netmon-server that serves it"
    )]
    Schema {
        /// Version in the database.
        found: i64,
        /// Version this binary works with.
        known: i64,
    },
}

/// Opens `database.url`, or the managed database of `data_dir` while its server runs, with a few
/// connections; changes nothing.
///
/// # Errors
/// See [`OpenError`].
pub async fn open(config: &Config) -> Result<PgPool, OpenError> {
    let options = match &config.database.url {
        Some(url) => database::external_options(url)?,
        None => Cluster::connect_options_of(&config.data_dir)?,
    };
    let pool = match connect(options).await {
        Ok(pool) => pool,
        Err(error) if config.database.url.is_some() => {
            return Err(DatabaseError::Unavailable(error).into());
        }
        Err(error) => {
            return Err(OpenError::NotRunning {
                data_dir: config.data_dir.clone(),
                reason: error.to_string(),
            });
        }
    };
    let (found, known) = database::schema_versions(&pool)
        .await
        .map_err(DatabaseError::Unavailable)?;
    if found != known {
        return Err(OpenError::Schema { found, known });
    }
    Ok(pool)
}

async fn connect(options: PgConnectOptions) -> sqlx::Result<PgPool> {
    let options = options.application_name("netmon-server command");
    // Not by the pool, which tries a socket that refuses again and again: a command says at once
    // what is wrong.
    let first = timeout(PATIENCE, PgConnection::connect_with(&options));
    let first = first.await.unwrap_or(Err(sqlx::Error::PoolTimedOut))?;
    let _ = first.close().await;
    Ok(PgPoolOptions::new()
        .max_connections(4)
        .acquire_timeout(PATIENCE)
        .connect_lazy_with(options))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_directory_without_a_server_is_named_with_the_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config {
            data_dir: dir.path().to_owned(),
            ..Config::default()
        };
        let message = open(&config).await.unwrap_err().to_string();
        assert!(message.contains("no netmon-server runs on"), "{message}");
        assert!(message.contains("--data-dir"), "{message}");
    }
}
