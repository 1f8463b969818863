//! What all parts of the benchmark work with.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use nix::sys::statvfs::statvfs;
use sqlx::{Executor as _, PgPool};

use crate::{
    http::Connection,
    options::{Options, Part},
    packed,
    site::Site,
    wal,
};

/// What ten million nodes and everything before them take on disk, with room for PostgreSQL's log.
const NEEDED: u64 = 8 << 30;
/// The same of a million.
const NEEDED_BY_FEWER: u64 = 4 << 30;

/// A running server and its database.
pub struct Bench {
    pub options: Options,
    pub site: Site,
    pub pool: PgPool,
}

impl Bench {
    pub async fn start(options: Options) -> Result<Self> {
        let mut site = Site::new(options.program())?;
        enough_space(&site.directory, &options)?;
        // They would count in one part what another has written.
        site.set("NETMON_SERVER__AUDIT__INTERVAL", "0s");
        site.set("NETMON_SERVER__BOTNETS__AGGREGATE", "0s");
        site.set("NETMON_SERVER__BOTNETS__AUDIT", "0s");
        site.start().await?;
        wal::prepare(&site).await?;
        Ok(Self {
            options,
            pool: site.pool(2)?,
            site,
        })
    }

    /// A connection to the REST interface.
    pub fn connect(&self) -> Result<Connection> {
        Connection::open(self.site.http)
    }

    /// The server's process and the database's.
    pub fn processes(&self) -> Result<[u32; 2]> {
        let server = self.site.server_id().context("no server runs")?;
        Ok([server, self.site.postmaster_id()?])
    }

    /// Leaves no node, no communication and no statistics of any family. Waits for what the server
    /// itself makes of them, such as the history of a day, but not for ever.
    pub async fn empty(&self) -> Result<()> {
        self.pool
            .execute(
                "SET lock_timeout = '60s'; TRUNCATE botnet_nodes, botnet_communications, botnet_chunks, botnet_uploads, \
                 botnet_statistics, botnet_deltas, botnet_active, botnet_days, botnet_days_due, \
                 botnet_aggregations",
            )
            .await?;
        packed::checkpoint(&self.site).await
    }
}

fn enough_space(directory: &Path, options: &Options) -> Result<()> {
    let most = options.sizes().last().map_or(0, |size| size.nodes);
    let large = most > 1_000_000
        && [Part::Rebuild, Part::Queries].map(|part| options.wants(part)) != [false; 2];
    let needed = if large { NEEDED } else { NEEDED_BY_FEWER };
    let stat = statvfs(directory)?;
    let free = stat.blocks_available() * stat.fragment_size();
    ensure!(
        free >= needed,
        "{} has {:.1} GB free and {:.0} GB are needed: set TMPDIR to a directory on a larger disk, or give \
         --max-nodes 1000000",
        directory.display(),
        free as f64 / 1e9,
        needed as f64 / 1e9
    );
    Ok(())
}
