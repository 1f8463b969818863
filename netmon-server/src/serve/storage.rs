//! The database as the server sees it: managed or external.

use std::sync::Arc;

use sqlx::{PgPool, postgres::PgConnectOptions};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use super::ServeError;
use crate::{
    config::Config,
    database,
    postgres::{Cluster, PostgresError, Supervisor},
};

/// A database that is known and not started yet.
pub(super) enum Storage {
    External(Box<PgConnectOptions>),
    Managed(Arc<Cluster>),
}

/// A database that is started, if it is ours to start.
pub(super) struct Running {
    psql_command: String,
    supervisor: Option<Supervisor>,
}

impl Storage {
    pub(super) async fn open(config: &Config) -> Result<Self, ServeError> {
        if let Some(url) = &config.database.url {
            return Ok(Self::External(Box::new(database::external_options(url)?)));
        }
        let config = config.clone();
        // Runs programs, and waits for a predecessor that is just ending.
        let located = spawn_blocking(move || Cluster::locate(&config)).await;
        Ok(Self::Managed(Arc::new(
            located.unwrap_or(Err(PostgresError::Stopped))?,
        )))
    }

    pub(super) fn options(&self) -> PgConnectOptions {
        match self {
            Self::External(options) => (**options).clone(),
            Self::Managed(cluster) => cluster.connect_options(),
        }
    }

    /// Starts it and waits until it answers and its schema is up to date. What is started is to
    /// be stopped, also if that fails.
    pub(super) async fn start(
        self,
        pool: &PgPool,
        shutdown: &CancellationToken,
    ) -> (Running, Result<(), ServeError>) {
        let mut running = Running {
            psql_command: match &self {
                Self::External(_) => "psql, with database.url".to_owned(),
                Self::Managed(cluster) => cluster.psql_command(),
            },
            supervisor: None,
        };
        let outcome = async {
            if let Self::Managed(cluster) = self {
                let (supervisor, prepared) = Supervisor::start(cluster)?;
                running.supervisor = Some(supervisor);
                tokio::select! {
                    prepared = prepared => prepared.unwrap_or(Err(PostgresError::Stopped))?,
                    () = shutdown.cancelled() => return Err(PostgresError::Stopped.into()),
                }
            }
            Ok(database::make_ready(pool, shutdown).await?)
        }
        .await;
        (running, outcome)
    }
}

impl Running {
    /// The command with which a person looks at the data.
    pub(super) fn psql_command(&self) -> &str {
        &self.psql_command
    }

    /// Stops the database if it is ours, within 13 seconds.
    pub(super) async fn stop(self) {
        if let Some(supervisor) = self.supervisor {
            let _ = spawn_blocking(move || supervisor.stop()).await;
        }
    }
}
