//! What all parts of the benchmark work with.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result};
use netmon_lab::Signal;
use sqlx::PgPool;

use crate::{
    identity::{self, Identity},
    options::Options,
    process::{self, Memory},
    site::Site,
    wal,
};

/// A running server, its database, and identities for the largest fleet.
pub struct Bench {
    pub options: Options,
    pub site: Site,
    pub pool: PgPool,
    pub identities: Vec<Identity>,
    /// The server's memory before any agent came.
    pub alone: Memory,
}

impl Bench {
    pub async fn start(options: Options) -> Result<Self> {
        let mut site = Site::new(Path::new(env!("CARGO_BIN_EXE_netmon-server")))?;
        // Sums of what came late are made when a part is over that does not measure them.
        site.set("NETMON_SERVER__ROLLUP__QUIET", "1h");
        // It would read in one part what another has written.
        site.set("NETMON_SERVER__AUDIT__INTERVAL", "0s");
        site.start().await?;
        wal::prepare(&site).await?;
        let directory = site.directory.join("agents");
        let identities =
            identity::issue(&site.data_dir(), &directory, options.most(), options.packet)?;
        let server = site.server_id().context("no server runs")?;
        Ok(Self {
            alone: process::memory(server)?,
            options,
            pool: site.pool(2)?,
            site,
            identities,
        })
    }

    /// Starts the server again with another setting.
    pub async fn restart_with(&mut self, setting: &str, value: &str) -> Result<()> {
        self.site.end(Signal::SIGTERM).await?;
        self.site.set(setting, value);
        self.site.start().await?;
        let server = self.site.server_id().context("no server runs")?;
        self.alone = process::memory(server)?;
        self.pool = self.site.pool(2)?;
        Ok(())
    }

    /// How long a fleet may take to connect, or to hand over.
    pub fn patience(&self) -> Duration {
        Duration::from_secs(120)
    }
}
