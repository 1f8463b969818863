//! What server and database use while something runs.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use sqlx::PgPool;

use crate::{
    process::{self, Memory},
    site::Site,
    tally::Tally,
};

/// A moment, and what was used and stored up to it.
#[derive(Clone, Copy, Debug)]
struct Mark {
    at: Instant,
    /// Server, PostgreSQL, this process.
    cpu: [f64; 3],
    stored: [u64; 3],
}

/// What happened between two moments.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    pub elapsed: Duration,
    /// CPU seconds of server, PostgreSQL and simulated agents.
    pub cpu: [f64; 3],
    pub batches: u64,
    pub rows: u64,
    pub samples: u64,
    /// The most memory the server had.
    pub memory: Memory,
    /// The most connections of the server that were at work at once.
    pub writers: usize,
}

impl Measured {
    pub fn per_second(&self, count: u64) -> f64 {
        count as f64 / self.elapsed.as_secs_f64()
    }

    /// CPU seconds for 10,000 rows: server, PostgreSQL, simulated agents.
    pub fn cpu_per_10k_rows(&self) -> [f64; 3] {
        self.cpu.map(|s| s * 10_000.0 / self.rows.max(1) as f64)
    }
}

/// Measures for `window`, or until `done`.
pub async fn measure(
    site: &Site,
    pool: &PgPool,
    tally: &Tally,
    window: Duration,
    done: impl Fn() -> bool,
) -> Result<Measured> {
    let begin = mark(site, tally)?;
    let server = site.server_id().context("no server runs")?;
    let (mut memory, mut writers) = (Memory::default(), 0);
    while begin.at.elapsed() < window && !done() {
        let now = process::memory(server)?;
        if now.resident > memory.resident {
            memory = now;
        }
        writers = writers.max(working(pool).await?);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let end = mark(site, tally)?;
    let [batches, rows, samples] = std::array::from_fn(|i| end.stored[i] - begin.stored[i]);
    Ok(Measured {
        elapsed: end.at - begin.at,
        cpu: std::array::from_fn(|i| end.cpu[i] - begin.cpu[i]),
        batches,
        rows,
        samples,
        memory,
        writers,
    })
}

fn mark(site: &Site, tally: &Tally) -> Result<Mark> {
    Ok(Mark {
        at: Instant::now(),
        cpu: [
            process::cpu(site.server_id().context("no server runs")?)?,
            process::cpu_with_children(site.postmaster_id()?)?,
            process::cpu(std::process::id())?,
        ],
        stored: tally.stored(),
    })
}

/// Connections of the server that are within a transaction.
async fn working(pool: &PgPool) -> Result<usize> {
    let sql = "SELECT count(*) FROM pg_stat_activity
               WHERE datname = current_database() AND application_name <> 'fleet'
                 AND state IN ('active', 'idle in transaction')";
    let count: i64 = sqlx::query_scalar(sql).fetch_one(pool).await?;
    Ok(count as usize)
}
