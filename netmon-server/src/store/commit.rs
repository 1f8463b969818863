//! The one transaction that stores a batch.

use sqlx::{PgConnection, PgPool, Row};
use time::OffsetDateTime;

use super::{
    Refused, Rows, StoreError, agents, bandwidth, clients, copy::CopyBuffer, exchanges, interfaces,
    lease::Lease, ledger::Key, partitions::Partitions, refusals,
};
use crate::metrics::Table;

/// COPY data goes out in pieces of this size, so that a connection's buffer stays small.
const PIECE: usize = 64 << 10;

/// What became of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Committed {
    /// Stored now.
    Stored(RowCounts),
    /// Stored by an earlier attempt.
    Duplicate,
    /// Refused earlier; the first verdict stands.
    Refused(Refused),
}

/// Rows written per table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowCounts {
    /// Frames.
    pub bandwidth: u64,
    /// Exchanges.
    pub exchanges: u64,
    /// Clients inserted or updated.
    pub clients: u64,
    /// Interfaces inserted or updated.
    pub interfaces: u64,
}

impl RowCounts {
    /// The counts by table, for metrics.
    pub fn by_table(self) -> [(Table, u64); 4] {
        [
            (Table::Bandwidth, self.bandwidth),
            (Table::Exchanges, self.exchanges),
            (Table::Clients, self.clients),
            (Table::Interfaces, self.interfaces),
        ]
    }
}

pub(super) async fn commit(
    pool: &PgPool,
    partitions: &Partitions,
    rows: &Rows,
) -> Result<Committed, StoreError> {
    // Before the transaction and on a connection given back: a commit never holds two.
    partitions.ensure(pool, &rows.days).await?;
    let mut lease = Lease::begin(pool).await?;
    // The ledger comes first: a second copy of the batch waits here, holding nothing else, until
    // this transaction ended.
    let received_at = OffsetDateTime::now_utc();
    let key = rows.key;
    if !enter(lease.connection(), key, Some(rows.row_count()), received_at).await? {
        let verdict = verdict(lease.connection(), key).await?;
        lease.roll_back().await?;
        return Ok(verdict);
    }
    let connection = lease.connection();
    copy(connection, bandwidth::COPY, &rows.bandwidth)
        .await
        .map_err(StoreError::of_rows)?;
    copy(connection, exchanges::COPY, &rows.exchanges)
        .await
        .map_err(StoreError::of_rows)?;
    if !rows.interfaces.is_empty() {
        interfaces::upsert(connection, rows)
            .await
            .map_err(StoreError::of_rows)?;
    }
    if !rows.clients.is_empty() {
        clients::upsert(connection, rows)
            .await
            .map_err(StoreError::of_rows)?;
    }
    agents::seen(connection, rows.agent, received_at).await?;
    lease.commit().await?;
    Ok(Committed::Stored(RowCounts {
        bandwidth: rows.bandwidth.rows().into(),
        exchanges: rows.exchanges.rows().into(),
        clients: rows.clients.len() as u64,
        interfaces: rows.interfaces.len() as u64,
    }))
}

/// Writes the ledger row; `false` when there is one. `row_count` is `None` for a refusal.
pub(super) async fn enter(
    connection: &mut PgConnection,
    key: Key,
    row_count: Option<i32>,
    received_at: OffsetDateTime,
) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "INSERT INTO ingest_ledger (agent_id, epoch, kind, sequence, row_count, received_at)
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
    )
    .bind(key.agent)
    .bind(key.epoch)
    .bind(key.kind)
    .bind(key.sequence)
    .bind(row_count)
    .bind(received_at)
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The verdict an earlier attempt left in the ledger.
pub(super) async fn verdict(connection: &mut PgConnection, key: Key) -> sqlx::Result<Committed> {
    let stored = sqlx::query(
        "SELECT row_count IS NOT NULL FROM ingest_ledger
         WHERE agent_id = $1 AND epoch = $2 AND kind = $3 AND sequence = $4",
    )
    .bind(key.agent)
    .bind(key.epoch)
    .bind(key.kind)
    .bind(key.sequence)
    .fetch_one(&mut *connection)
    .await?
    .try_get(0)?;
    if stored {
        return Ok(Committed::Duplicate);
    }
    Ok(Committed::Refused(refusals::find(connection, key).await?))
}

async fn copy(
    connection: &mut PgConnection,
    statement: &str,
    data: &CopyBuffer,
) -> sqlx::Result<()> {
    if data.rows() == 0 {
        return Ok(());
    }
    let mut copy = connection.copy_in_raw(statement).await?;
    for piece in data.bytes().chunks(PIECE) {
        copy.send(piece).await?;
    }
    let stored = copy.finish().await?;
    if stored != u64::from(data.rows()) {
        let reason = format!("COPY stored {stored} of {} rows", data.rows());
        return Err(sqlx::Error::Protocol(reason));
    }
    Ok(())
}
