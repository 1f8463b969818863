//! What all parts of the benchmark work with.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result};
use sqlx::PgPool;

use crate::{
    identity::{self, Identity},
    options::Options,
    process::{self, Memory},
    site::Site,
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
        site.start().await?;
        let directory = site.directory.join("agents");
        let identities = identity::issue(&site.data_dir(), &directory, options.most())?;
        let server = site.server_id().context("no server runs")?;
        Ok(Self {
            alone: process::memory(server)?,
            options,
            pool: site.pool(2)?,
            site,
            identities,
        })
    }

    /// How long a fleet may take to connect, or to hand over.
    pub fn patience(&self) -> Duration {
        Duration::from_secs(120)
    }
}
