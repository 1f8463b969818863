//! What PostgreSQL itself takes: the rows the server stored, by bare COPY BINARY, in the same run.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use futures_util::TryStreamExt as _;
use sqlx::{Executor as _, PgPool};
use tokio::task::JoinSet;

use crate::{process, site::Site};

/// Most rows copied: a good part of a window, since a short burst would show what the page cache
/// takes, and not what the disk, checkpoints and a growing table let pass. They are held in memory.
const MOST_ROWS: usize = 800_000;

/// A single round of few rows says little.
const FEW_ROWS: usize = 150_000;
const ROUNDS: usize = 3;

/// The size of the pieces data is sent in, as the server does.
const PIECE: usize = 64 << 10;

const HEADER: usize = 19;

/// Rows in the format of COPY BINARY.
pub struct PackedRows {
    data: Vec<u8>,
    /// Where each row begins, and where the last one ends.
    starts: Vec<usize>,
}

impl PackedRows {
    /// Reads back rows of a table.
    pub async fn read(pool: &PgPool, select: &str) -> Result<Self> {
        let mut connection = pool.acquire().await?;
        let statement = format!("COPY ({select} LIMIT {MOST_ROWS}) TO STDOUT (FORMAT binary)");
        let mut stream = connection.copy_out_raw(&statement).await?;
        let mut data = Vec::new();
        while let Some(piece) = stream.try_next().await? {
            data.extend_from_slice(&piece);
        }
        let mut starts = vec![HEADER];
        while let Some(end) = row_end(&data, *starts.last().unwrap_or(&HEADER)) {
            starts.push(end);
        }
        Ok(Self { data, starts })
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// The rows in so many parts, each complete in itself.
    fn parts(&self, count: usize) -> Vec<Arc<Vec<u8>>> {
        let part = |index: usize| {
            let [from, to] = [index, index + 1].map(|i| self.starts[self.len() * i / count]);
            let mut part = self.data[..HEADER].to_vec();
            part.extend_from_slice(&self.data[from..to]);
            part.extend((-1_i16).to_be_bytes());
            Arc::new(part)
        };
        (0..count).map(part).collect()
    }
}

/// The end of the row that begins at `at`; none for the trailer.
fn row_end(data: &[u8], at: usize) -> Option<usize> {
    let number = |at: usize| -> Option<i32> {
        Some(i32::from_be_bytes(data.get(at..at + 4)?.try_into().ok()?))
    };
    let columns = i16::from_be_bytes(data.get(at..at + 2)?.try_into().ok()?);
    let mut at = at + 2;
    for _ in 0..u16::try_from(columns).ok()? {
        let length = number(at)?;
        at += 4 + usize::try_from(length).unwrap_or(0);
    }
    Some(at)
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
    rows: &PackedRows,
    connections: usize,
) -> Result<Copied> {
    let pool = site.pool(connections as u32)?;
    pool.execute("DROP TABLE IF EXISTS bare_copy").await?;
    let create = format!("CREATE TABLE bare_copy (LIKE {table} INCLUDING ALL)");
    pool.execute(create.as_str()).await?;
    let parts = rows.parts(connections);
    let postmaster = site.postmaster_id()?;
    let (mut rates, mut costs) = (Vec::new(), Vec::new());
    let rounds = if rows.len() < FEW_ROWS { ROUNDS } else { 1 };
    for _ in 0..rounds {
        pool.execute("TRUNCATE bare_copy").await?;
        checkpoint(site).await?;
        // Before the clock starts.
        let mut ready = Vec::new();
        for part in &parts {
            ready.push((pool.acquire().await?, Arc::clone(part)));
        }
        let (began, cpu) = (Instant::now(), process::cpu_with_children(postmaster)?);
        let mut tasks = JoinSet::new();
        for (mut connection, part) in ready {
            tasks.spawn(async move {
                let statement = "COPY bare_copy FROM STDIN (FORMAT binary)";
                let mut copy = connection.copy_in_raw(statement).await?;
                for piece in part.chunks(PIECE) {
                    copy.send(piece).await?;
                }
                copy.finish().await
            });
        }
        let mut stored = 0;
        while let Some(done) = tasks.join_next().await {
            stored += done.context("a copying task panicked")??;
        }
        let took = began.elapsed();
        ensure!(
            stored == rows.len() as u64,
            "COPY took {stored} of {} rows",
            rows.len()
        );
        let used = process::cpu_with_children(postmaster)? - cpu;
        rates.push(stored as f64 / took.as_secs_f64());
        costs.push(used * 10_000.0 / stored as f64);
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

/// Every measurement begins after a checkpoint, so that none pays for what another wrote.
pub async fn checkpoint(site: &Site) -> Result<()> {
    use sqlx::{Connection as _, PgConnection};
    let mut connection = PgConnection::connect_with(&site.options()?.username("postgres")).await?;
    connection.execute("CHECKPOINT").await?;
    connection.close().await?;
    // Its last writes leave the disk alone.
    tokio::time::sleep(Duration::from_millis(200)).await;
    Ok(())
}
