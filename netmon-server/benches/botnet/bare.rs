//! What PostgreSQL itself takes: the rows the server stored, by bare COPY BINARY, in the same run.

use std::{
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use futures_util::TryStreamExt as _;
use sqlx::{Connection as _, Executor as _, PgConnection, PgPool};
use tokio::task::JoinSet;

use crate::site::Site;

/// The size of the pieces data is sent in, as the server does.
const PIECE: usize = 64 << 10;

const HEADER: usize = 19;

/// Rows in the format of COPY BINARY.
struct PackedRows {
    data: Vec<u8>,
    /// Where each row begins, and where the last one ends.
    starts: Vec<usize>,
}

impl PackedRows {
    /// Reads back a table, in the order in which it lies there.
    async fn read(pool: &PgPool, table: &str) -> Result<Self> {
        let mut connection = pool.acquire().await?;
        let statement = format!("COPY (SELECT * FROM {table}) TO STDOUT (FORMAT binary)");
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

    fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// Where such a part of the rows lies.
    fn part(&self, index: usize, count: usize) -> Range<usize> {
        let [from, to] = [index, index + 1].map(|i| self.starts[self.len() * i / count]);
        from..to
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
        tables.push((table, Arc::new(PackedRows::read(pool, table).await?)));
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
    // Before the clock starts.
    let mut ready = Vec::new();
    for index in 0..connections {
        let part = rows.part(index, connections);
        ready.push((pool.acquire().await?, Arc::clone(rows), part));
    }
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for (mut connection, rows, part) in ready {
        tasks.spawn(async move {
            let statement = "COPY bare_copy FROM STDIN (FORMAT binary)";
            let mut copy = connection.copy_in_raw(statement).await?;
            copy.send(&rows.data[..HEADER]).await?;
            for piece in rows.data[part].chunks(PIECE) {
                copy.send(piece).await?;
            }
            copy.send(&(-1_i16).to_be_bytes()[..]).await?;
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
    pool.execute("DROP TABLE bare_copy").await?;
    pool.close().await;
    Ok(took)
}

/// Every measurement begins after a checkpoint, so that none pays for what another wrote.
pub async fn checkpoint(site: &Site) -> Result<()> {
    let mut connection = PgConnection::connect_with(&site.options()?.username("postgres")).await?;
    connection.execute("CHECKPOINT").await?;
    connection.close().await?;
    // Its last writes leave the disk alone.
    tokio::time::sleep(Duration::from_millis(200)).await;
    Ok(())
}
