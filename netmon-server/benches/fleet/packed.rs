//! Rows in the format of COPY BINARY, and copying them back into a table by several connections at once.

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
const PIECE: usize = 128 << 10;

const HEADER: usize = 19;

/// The last writes of a checkpoint leave the disk alone after a moment; memory that was freed goes back
/// to the host of a virtual machine within seconds, and whoever takes it before has it cheap.
pub const REST: Duration = Duration::from_secs(4);

/// Octets that show how long rows are.
const SAMPLE: usize = 1 << 20;

/// Rows in the format of COPY BINARY.
pub struct PackedRows {
    data: Vec<u8>,
    /// Where each row begins, and where the last one ends.
    starts: Vec<usize>,
}

impl PackedRows {
    /// Reads back the rows of a query.
    pub async fn read(pool: &PgPool, select: &str) -> Result<Self> {
        let mut connection = pool.acquire().await?;
        let count = format!("SELECT count(*) FROM ({select}) AS rows");
        let rows: i64 = sqlx::query_scalar(&count)
            .fetch_one(&mut *connection)
            .await?;
        let rows = usize::try_from(rows)?;
        let statement = format!("COPY ({select}) TO STDOUT (FORMAT binary)");
        let mut stream = connection.copy_out_raw(&statement).await?;
        let (mut data, mut starts) = (Vec::new(), vec![HEADER]);
        while let Some(piece) = stream.try_next().await? {
            data.extend_from_slice(&piece);
            if data.len() > SAMPLE && starts.len() == 1 {
                find(&mut starts, &data);
                // The rest at once: what is left behind by growing is memory that was just in use, and
                // in a virtual machine the database would take that at a fraction of the usual price.
                let row = data.len() / (starts.len() - 1).max(1);
                data.reserve_exact(row * rows + row * rows / 8);
            }
        }
        find(&mut starts, &data);
        Ok(Self { data, starts })
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// Where such a part of the rows lies.
    fn part(&self, index: usize, count: usize) -> Range<usize> {
        let [from, to] = [index, index + 1].map(|i| self.starts[self.len() * i / count]);
        from..to
    }
}

/// Adds where the rows begin after those that are known.
fn find(starts: &mut Vec<usize>, data: &[u8]) {
    let mut at = *starts.last().unwrap_or(&HEADER);
    while let Some(end) = row_end(data, at).filter(|end| *end <= data.len()) {
        starts.push(end);
        at = end;
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

/// Copies the rows into `table` by so many connections at once; gives how long that took.
pub async fn copy_into(
    pool: &PgPool,
    table: &str,
    rows: &Arc<PackedRows>,
    connections: usize,
) -> Result<Duration> {
    // Before the clock starts.
    let mut ready = Vec::new();
    for index in 0..connections {
        let part = rows.part(index, connections);
        ready.push((pool.acquire().await?, Arc::clone(rows), part));
    }
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for (mut connection, rows, part) in ready {
        let statement = format!("COPY {table} FROM STDIN (FORMAT binary)");
        tasks.spawn(async move {
            let mut copy = connection.copy_in_raw(&statement).await?;
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
    Ok(took)
}

/// Every measurement begins after a checkpoint and a rest, so that none pays for what another wrote, and
/// none finds ready what another has paid for.
pub async fn checkpoint(site: &Site) -> Result<()> {
    let mut connection = PgConnection::connect_with(&site.options()?.username("postgres")).await?;
    connection.execute("CHECKPOINT").await?;
    connection.close().await?;
    tokio::time::sleep(REST).await;
    Ok(())
}
