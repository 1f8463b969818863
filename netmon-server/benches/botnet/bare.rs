//! What PostgreSQL itself takes: the rows the server stored, by bare COPY BINARY, in the same run.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use sqlx::{Executor as _, PgPool};

use crate::{
    packed::{self, PackedRows, checkpoint},
    site::Site,
};

/// How long nodes and communications took, one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Copied {
    pub connections: usize,
    pub indexes: bool,
    pub took: Duration,
}

/// Copies all nodes and communications there are into tables like theirs: with indexes and without, by
/// one connection and by several.
pub async fn copy(site: &Site, pool: &PgPool, most: usize) -> Result<Vec<Copied>> {
    let mut tables = Vec::new();
    for table in ["botnet_nodes", "botnet_communications"] {
        tables.push((
            table,
            Arc::new(PackedRows::read(pool, &format!("SELECT * FROM {table}")).await?),
        ));
    }
    let mut copied = Vec::new();
    for (connections, indexes) in [(1, true), (most, true), (1, false), (most, false)] {
        let mut took = Duration::ZERO;
        for (table, rows) in &tables {
            took += copy_table(site, table, rows, connections, indexes).await?;
        }
        copied.push(Copied {
            connections,
            indexes,
            took,
        });
    }
    Ok(copied)
}

async fn copy_table(
    site: &Site,
    table: &str,
    rows: &Arc<PackedRows>,
    connections: usize,
    indexes: bool,
) -> Result<Duration> {
    let pool = site.pool(connections as u32)?;
    pool.execute("DROP TABLE IF EXISTS bare_copy").await?;
    let without = if indexes { "" } else { "EXCLUDING INDEXES" };
    let create = format!("CREATE TABLE bare_copy (LIKE {table} INCLUDING ALL {without})");
    pool.execute(create.as_str()).await?;
    checkpoint(site).await?;
    let took = packed::copy_into(&pool, "bare_copy", rows, connections).await?;
    pool.execute("DROP TABLE bare_copy").await?;
    pool.close().await;
    Ok(took)
}
