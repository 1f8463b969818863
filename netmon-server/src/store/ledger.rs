//! Which batches have a verdict: `ingest_ledger`, and `ingest_floors` below which its rows are gone.
//!
//! A writer enters its batches first ([`enter`]) and looks at the floors in a later statement
//! ([`below_floors`]), which sees everything committed until then. The rows behind a floor are
//! deleted in a transaction that begins after the floor was committed. So whoever enters a batch
//! anew because its row is gone meets the floor.

use std::collections::{BTreeSet, HashMap, HashSet};

use sqlx::{PgConnection, Row};
use time::OffsetDateTime;

use super::{Committed, StoreError, commit::copy, copy::CopyBuffer, error::counted, refusals};

/// What names a batch; in the order of the ledger's key, in which every transaction locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    pub(super) agent: i64,
    pub(super) epoch: i64,
    pub(super) kind: i16,
    pub(super) sequence: i64,
}

/// One kind of batch of one run of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Stream {
    pub(super) agent: i64,
    pub(super) epoch: i64,
    pub(super) kind: i16,
}

impl Key {
    pub(super) fn stream(self) -> Stream {
        Stream {
            agent: self.agent,
            epoch: self.epoch,
            kind: self.kind,
        }
    }
}

/// Writes the ledger rows of batches, which come in the order of their keys, each once. When one of
/// them is there, nothing is written ([`StoreError::BatchesKnown`]) and [`enter`] has to look.
pub(super) async fn enter_new(
    connection: &mut PgConnection,
    batches: &[(Key, Option<i32>)],
    received_at: OffsetDateTime,
) -> Result<HashSet<Key>, StoreError> {
    let received_us = received_at.unix_timestamp_nanos() / 1000;
    let mut rows = CopyBuffer::default();
    for (key, row_count) in batches {
        rows.row(6);
        rows.int8(key.agent);
        rows.int8(key.epoch);
        rows.int2(key.kind);
        rows.int8(key.sequence);
        rows.optional(*row_count, CopyBuffer::int4);
        rows.timestamp(received_us as i64);
    }
    let statement = "COPY ingest_ledger (agent_id, epoch, kind, sequence, row_count, received_at) \
                     FROM STDIN (FORMAT binary)";
    let stored = copy(connection, statement, std::iter::once(rows.all())).await;
    let stored = stored.map_err(StoreError::of_ledger)?;
    counted("ingest_ledger", batches.len() as u64, stored)?;
    Ok(batches.iter().map(|(key, _)| *key).collect())
}

/// Writes the ledger rows of batches, which come in the order of their keys, each once; gives those
/// that had none. A row count of `None` is a refusal.
pub(super) async fn enter(
    connection: &mut PgConnection,
    batches: &[(Key, Option<i32>)],
    received_at: OffsetDateTime,
) -> sqlx::Result<HashSet<Key>> {
    let keys = Keys::of(batches.iter().map(|(key, _)| key));
    let entered = sqlx::query(
        "INSERT INTO ingest_ledger (agent_id, epoch, kind, sequence, row_count, received_at)
         SELECT agent_id, epoch, kind, sequence, row_count, $6
         FROM unnest($1::int8[], $2::int8[], $3::int2[], $4::int8[], $5::int4[])
           AS batch (agent_id, epoch, kind, sequence, row_count)
         ON CONFLICT DO NOTHING
         RETURNING agent_id, epoch, kind, sequence",
    )
    .bind(keys.agents)
    .bind(keys.epochs)
    .bind(keys.kinds)
    .bind(keys.sequences)
    .bind(batches.iter().map(|(_, rows)| *rows).collect::<Vec<_>>())
    .bind(received_at)
    .fetch_all(connection)
    .await?;
    entered.iter().map(key).collect()
}

/// Those of the batches that had their verdict before a floor rose over them.
pub(super) async fn below_floors(
    connection: &mut PgConnection,
    batches: &HashSet<Key>,
) -> sqlx::Result<Vec<Key>> {
    let floors = floors(connection, batches.iter().map(|key| key.stream())).await?;
    let below = |key: &Key| {
        floors
            .get(&key.stream())
            .is_some_and(|f| key.sequence <= *f)
    };
    let mut below: Vec<_> = batches.iter().copied().filter(below).collect();
    below.sort_unstable();
    Ok(below)
}

/// The floors of streams that have one.
pub(super) async fn floors(
    connection: &mut PgConnection,
    streams: impl Iterator<Item = Stream>,
) -> sqlx::Result<HashMap<Stream, i64>> {
    let (mut agents, mut epochs, mut kinds) = <(BTreeSet<_>, BTreeSet<_>, BTreeSet<_>)>::default();
    for stream in streams {
        agents.insert(stream.agent);
        epochs.insert(stream.epoch);
        kinds.insert(stream.kind);
    }
    // Somewhat more than asked for, by comparisons that a distributed database takes anywhere.
    let rows = sqlx::query(
        "SELECT agent_id, epoch, kind, through FROM ingest_floors
         WHERE agent_id = ANY ($1) AND epoch = ANY ($2) AND kind = ANY ($3)",
    )
    .bind(Vec::from_iter(agents))
    .bind(Vec::from_iter(epochs))
    .bind(Vec::from_iter(kinds))
    .fetch_all(connection)
    .await?;
    let floor = |row: &sqlx::postgres::PgRow| {
        let stream = Stream {
            agent: row.try_get(0)?,
            epoch: row.try_get(1)?,
            kind: row.try_get(2)?,
        };
        Ok((stream, row.try_get(3)?))
    };
    rows.iter().map(floor).collect()
}

/// Takes back rows that this transaction entered.
pub(super) async fn withdraw(connection: &mut PgConnection, batches: &[Key]) -> sqlx::Result<()> {
    for key in batches {
        sqlx::query(
            "DELETE FROM ingest_ledger
             WHERE agent_id = $1 AND epoch = $2 AND kind = $3 AND sequence = $4",
        )
        .bind(key.agent)
        .bind(key.epoch)
        .bind(key.kind)
        .bind(key.sequence)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

/// The verdicts earlier attempts left for batches that were not entered now.
pub(super) async fn verdicts(
    connection: &mut PgConnection,
    batches: &[Key],
) -> sqlx::Result<HashMap<Key, Committed>> {
    let keys = Keys::of(batches);
    // A batch whose row is gone by now was below a floor.
    let refused = sqlx::query(
        "SELECT agent_id, epoch, kind, sequence FROM ingest_ledger
         WHERE agent_id = ANY ($1) AND epoch = ANY ($2) AND kind = ANY ($3)
           AND sequence = ANY ($4) AND row_count IS NULL",
    )
    .bind(&keys.agents)
    .bind(&keys.epochs)
    .bind(&keys.kinds)
    .bind(&keys.sequences)
    .fetch_all(&mut *connection)
    .await?;
    let refused: HashSet<Key> = refused.iter().map(key).collect::<sqlx::Result<_>>()?;
    let kept = refusals::find(connection, keys).await?;
    let verdict = |key: &Key| match (kept.get(key), refused.contains(key)) {
        (Some(refusal), _) => Committed::Refused(refusal.clone()),
        (None, true) => Committed::Refused(refusals::forgotten()),
        (None, false) => Committed::Duplicate,
    };
    Ok(batches.iter().map(|key| (*key, verdict(key))).collect())
}

/// The columns of keys.
#[derive(Debug, Default)]
pub(super) struct Keys {
    pub(super) agents: Vec<i64>,
    pub(super) epochs: Vec<i64>,
    pub(super) kinds: Vec<i16>,
    pub(super) sequences: Vec<i64>,
}

impl Keys {
    fn of<'a>(keys: impl IntoIterator<Item = &'a Key>) -> Self {
        let mut columns = Self::default();
        for key in keys {
            columns.agents.push(key.agent);
            columns.epochs.push(key.epoch);
            columns.kinds.push(key.kind);
            columns.sequences.push(key.sequence);
        }
        columns
    }
}

/// The key in a row's first four columns.
pub(super) fn key(row: &sqlx::postgres::PgRow) -> sqlx::Result<Key> {
    Ok(Key {
        agent: row.try_get(0)?,
        epoch: row.try_get(1)?,
        kind: row.try_get(2)?,
        sequence: row.try_get(3)?,
    })
}
