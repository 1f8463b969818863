//! Stores rows some of which may be there already: a ledger restored from an older backup than its
//! tables, for example.

use std::collections::HashSet;

use sqlx::{Executor, PgConnection, Row};

use super::{StoreError, commit::copy, error::counted, ledger::Key, target::Target};

/// What was new.
#[derive(Debug)]
pub(super) struct New {
    /// Rows inserted.
    pub(super) rows: u64,
    /// Agent, epoch and sequence of the batches some of whose rows were.
    batches: HashSet<(i64, i64, i64)>,
}

impl New {
    /// Whether a row of the batch was new.
    pub(super) fn has(&self, key: &Key) -> bool {
        self.batches.contains(&(key.agent, key.epoch, key.sequence))
    }
}

/// Takes the rows into a table of the transaction's own, inserts those that are not there, and makes
/// sure that all of them are there afterwards.
pub(super) async fn insert<'a>(
    connection: &mut PgConnection,
    target: &Target,
    sent: u64,
    parts: impl Iterator<Item = &'a [u8]>,
) -> Result<New, StoreError> {
    let Target {
        table,
        columns,
        key,
    } = *target;
    let staging = format!("staging_{table}");
    let create = format!("CREATE TEMP TABLE {staging} (LIKE {table}) ON COMMIT DROP");
    connection.execute(create.as_str()).await?;
    let staged = copy(connection, &target.copy_into(&staging), parts).await;
    counted(table, sent, staged.map_err(StoreError::of_rows)?)?;

    let inserted = sqlx::query(&format!(
        "INSERT INTO {table} ({columns}) SELECT {columns} FROM {staging} ORDER BY {key}
         ON CONFLICT DO NOTHING RETURNING agent_id, epoch, sequence"
    ))
    // The table is another one in the next transaction.
    .persistent(false)
    .fetch_all(&mut *connection)
    .await
    .map_err(StoreError::of_rows)?;

    let there: i64 = sqlx::query_scalar(&format!(
        "SELECT count(*) FROM {staging} JOIN {table} USING ({key})"
    ))
    .persistent(false)
    .fetch_one(connection)
    .await?;
    counted(table, sent, there.unsigned_abs())?;
    let batch =
        |row: &sqlx::postgres::PgRow| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?));
    Ok(New {
        rows: inserted.len() as u64,
        batches: inserted.iter().map(batch).collect::<sqlx::Result<_>>()?,
    })
}
