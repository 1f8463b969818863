//! What PostgreSQL itself takes: the rows the server stored, by bare COPY BINARY, in the same run.

use std::sync::Arc;

use anyhow::Result;
use sqlx::{Executor as _, PgPool};

use crate::{
    packed::{self, PackedRows, checkpoint},
    process,
    site::Site,
};

/// Most rows copied: a good part of a window, since a short burst would show what the page cache
/// takes, and not what the disk, checkpoints and a growing table let pass. They are held in memory.
const MOST_ROWS: usize = 800_000;

/// A single round of few rows says little.
const FEW_ROWS: usize = 150_000;
const ROUNDS: usize = 3;

/// Reads back the rows of a query, as many as are copied.
pub async fn rows(pool: &PgPool, select: &str) -> Result<Arc<PackedRows>> {
    let select = format!("{select} LIMIT {MOST_ROWS}");
    Ok(Arc::new(PackedRows::read(pool, &select).await?))
}

/// What a bare COPY came to: the median of a few rounds.
#[derive(Clone, Copy, Debug)]
pub struct Copied {
    /// Rows per second.
    pub rate: f64,
    /// CPU seconds of PostgreSQL.
    pub cpu_per_10k_rows: f64,
}

/// Copies by `connections` at once into a table like `table`.
pub async fn copy(
    site: &Site,
    table: &str,
    rows: &Arc<PackedRows>,
    connections: usize,
) -> Result<Copied> {
    let pool = site.pool(connections as u32)?;
    pool.execute("DROP TABLE IF EXISTS bare_copy").await?;
    let create = format!("CREATE TABLE bare_copy (LIKE {table} INCLUDING ALL)");
    pool.execute(create.as_str()).await?;
    let postmaster = site.postmaster_id()?;
    let (mut rates, mut costs) = (Vec::new(), Vec::new());
    let rounds = if rows.len() < FEW_ROWS { ROUNDS } else { 1 };
    for _ in 0..rounds {
        pool.execute("TRUNCATE bare_copy").await?;
        checkpoint(site).await?;
        let cpu = process::cpu_with_children(postmaster)?;
        let took = packed::copy_into(&pool, "bare_copy", rows, connections).await?;
        let used = process::cpu_with_children(postmaster)? - cpu;
        let stored = rows.len() as f64;
        rates.push(stored / took.as_secs_f64());
        costs.push(used * 10_000.0 / stored);
    }
    pool.execute("DROP TABLE bare_copy").await?;
    pool.close().await;
    rates.sort_by(f64::total_cmp);
    costs.sort_by(f64::total_cmp);
    Ok(Copied {
        rate: rates[rounds / 2],
        cpu_per_10k_rows: costs[rounds / 2],
    })
}
