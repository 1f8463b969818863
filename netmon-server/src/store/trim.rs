//! Trims the ledger: once every batch of a stream up to a number has its verdict, the number itself,
//! the stream's floor, says the same as all those rows.
//!
//! A floor is raised in one transaction and the rows behind it are deleted in a later one; why that
//! order matters stands in [`super::ledger`].

use std::{collections::BTreeMap, ops::RangeInclusive, time::Duration};

use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;

use super::{Store, StoreError, attempt, lease::Lease, ledger};

/// Rounds closer to each other than this do nothing: the ledger is not to be read all the time.
const APART: time::Duration = time::Duration::minutes(10);

/// Sequence numbers deleted in one transaction, so that each is short.
const DELETED_AT_ONCE: i64 = 20_000;

/// What says that a batch has its verdict outlives the last moment at which the batch could be
/// accepted: by then a batch received now is older than the longest retention and the two days of
/// tolerance of [`super::Window`].
const GRACE: Duration = Duration::from_secs(3 * 86_400);

/// An epoch is its beginning in milliseconds since 1970 times this, and random bits.
const EPOCHS_PER_MS: i64 = 1024;

/// What a round of trimming did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trimmed {
    /// Streams whose floor was raised.
    pub floors: u64,
    /// Ledger rows deleted behind floors.
    pub rows: u64,
    /// Rows deleted of streams, omissions, gaps and refusals that nobody can ask for any more.
    pub forgotten: u64,
}

/// Sequence numbers of one stream, by epoch and kind.
type Ranges = BTreeMap<(i64, i16), Vec<RangeInclusive<i64>>>;

/// Where floors stand and where they rise to, by epoch and kind.
type Floors = BTreeMap<(i64, i16), (i64, i64)>;

impl Store {
    /// Raises the floors over batches whose verdicts are older than `retention.ledger`, deletes the
    /// ledger rows behind them, and everything that is older than the longest retention. Does
    /// nothing if that was done less than ten minutes ago.
    ///
    /// # Errors
    /// As [`Store::commit_group`]; what was done until then stays done.
    pub async fn trim_ledger_once(&self, now: OffsetDateTime) -> Result<Trimmed, StoreError> {
        let last = self.trimmed_at.lock().map_or(None, |at| *at);
        if last.is_some_and(|last| (now - last).abs() < APART) {
            return Ok(Trimmed::default());
        }
        let retention = &self.ageing.retention;
        let mut trimmed = Trimmed::default();
        if let Some(before) = earlier(now, retention.ledger) {
            let agents: Vec<i64> = sqlx::query_scalar("SELECT agent_id FROM agents ORDER BY 1")
                .fetch_all(&self.pool)
                .await?;
            for agent in agents {
                let (floors, rows) = trim(&self.pool, agent, before, now).await?;
                trimmed.floors += floors;
                trimmed.rows += rows;
            }
        }
        if let Some(before) = earlier(now, retention.hours.saturating_add(GRACE)) {
            trimmed.forgotten = forget(&self.pool, before).await?;
        }
        if let Ok(mut at) = self.trimmed_at.lock() {
            *at = Some(now);
        }
        Ok(trimmed)
    }
}

/// Begins a transaction that waits for nobody for long: writers must not queue behind it.
async fn begin(pool: &PgPool) -> sqlx::Result<Lease> {
    let begin = "BEGIN ISOLATION LEVEL READ COMMITTED; \
         SET LOCAL lock_timeout = '2s'; \
         SET LOCAL statement_timeout = '40s'; \
         SET LOCAL idle_in_transaction_session_timeout = '40s'";
    Lease::with(pool, begin).await
}

fn earlier(now: OffsetDateTime, by: Duration) -> Option<OffsetDateTime> {
    now.checked_sub(time::Duration::try_from(by).ok()?)
}

/// Trims the streams of one agent; gives how many floors rose, and how many rows are gone.
async fn trim(
    pool: &PgPool,
    agent: i64,
    before: OffsetDateTime,
    now: OffsetDateTime,
) -> Result<(u64, u64), StoreError> {
    let (settled, floors) = attempt(async {
        let mut lease = begin(pool).await?;
        let settled = settled(lease.connection(), agent, before).await?;
        let floors = floors(lease.connection(), agent, &settled.0, &settled.1).await?;
        raise(lease.connection(), agent, &floors, now).await?;
        lease.commit().await?;
        Ok((settled.0, floors))
    })
    .await?;
    let mut rows = 0;
    for ((epoch, kind), (_, floor)) in &floors {
        let first = settled
            .get(&(*epoch, *kind))
            .and_then(|ranges| ranges.iter().map(|range| *range.start()).min());
        // Only rows of batches with a verdict are there at all.
        let mut from = first.unwrap_or(*floor).min(*floor) - 1;
        while from < *floor {
            let to = from.saturating_add(DELETED_AT_ONCE).min(*floor);
            rows += attempt(delete(pool, (agent, *epoch, *kind), from, to)).await?;
            from = to;
        }
    }
    let rose = floors.values().filter(|(from, to)| from < to).count();
    Ok((rose as u64, rows))
}

/// Numbers whose batches have had their verdict since before a time, as far as ledger rows say so,
/// and those that were reported before it as never to come.
async fn settled(
    connection: &mut PgConnection,
    agent: i64,
    before: OffsetDateTime,
) -> sqlx::Result<(Ranges, Ranges)> {
    let entered: Vec<(i64, i16, i64, i64)> = sqlx::query_as(
        "SELECT epoch, kind, min(sequence), max(sequence)
         FROM (SELECT epoch, kind, sequence,
                      sequence - row_number() OVER (PARTITION BY epoch, kind ORDER BY sequence)
                          AS island
               FROM ingest_ledger WHERE agent_id = $1 AND received_at < $2) AS numbered
         GROUP BY epoch, kind, island",
    )
    .bind(agent)
    .bind(before)
    .fetch_all(&mut *connection)
    .await?;
    let omitted: Vec<(i64, i16, i64, i64)> = sqlx::query_as(
        "SELECT epoch, kind, first_sequence, last_sequence FROM ingest_omissions
         WHERE agent_id = $1 AND reported_at < $2",
    )
    .bind(agent)
    .bind(before)
    .fetch_all(connection)
    .await?;
    Ok((by_stream(entered), by_stream(omitted)))
}

fn by_stream(rows: Vec<(i64, i16, i64, i64)>) -> Ranges {
    let mut ranges = Ranges::new();
    for (epoch, kind, first, last) in rows {
        let of = ranges.entry((epoch, kind)).or_default();
        of.push(first..=last);
    }
    ranges
}

/// The floors of streams that have old ledger rows, where they are to be raised, or where rows lie
/// behind them.
async fn floors(
    connection: &mut PgConnection,
    agent: i64,
    entered: &Ranges,
    omitted: &Ranges,
) -> sqlx::Result<Floors> {
    let streams = entered.keys().map(|(epoch, kind)| ledger::Stream {
        agent,
        epoch: *epoch,
        kind: *kind,
    });
    let known = ledger::floors(connection, streams.clone()).await?;
    let mut floors = BTreeMap::new();
    for stream in streams {
        let key = (stream.epoch, stream.kind);
        let floor = known.get(&stream).copied().unwrap_or(0);
        let ranges = [entered.get(&key), omitted.get(&key)];
        let ranges = ranges.into_iter().flatten().flatten().cloned().collect();
        let raised = raised(floor, ranges);
        if raised > 0 {
            floors.insert(key, (floor, raised));
        }
    }
    Ok(floors)
}

/// How far a floor rises over ranges in any order: up to the first number that none of them holds.
fn raised(floor: i64, mut ranges: Vec<RangeInclusive<i64>>) -> i64 {
    ranges.sort_unstable_by_key(|range| *range.start());
    ranges.iter().fold(floor, |floor, range| {
        if *range.start() <= floor.saturating_add(1) {
            floor.max(*range.end())
        } else {
            floor
        }
    })
}

async fn raise(
    connection: &mut PgConnection,
    agent: i64,
    floors: &Floors,
    now: OffsetDateTime,
) -> sqlx::Result<()> {
    let (mut epochs, mut kinds, mut through) = (Vec::new(), Vec::new(), Vec::new());
    for ((epoch, kind), (_, to)) in floors.iter().filter(|(_, (from, to))| from < to) {
        epochs.push(*epoch);
        kinds.push(*kind);
        through.push(*to);
    }
    if epochs.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO ingest_floors AS f (agent_id, epoch, kind, through, raised_at)
         SELECT $1, epoch, kind, through, $5
         FROM unnest($2::int8[], $3::int2[], $4::int8[]) AS r (epoch, kind, through)
         ON CONFLICT (agent_id, epoch, kind) DO UPDATE SET
             through = greatest(f.through, EXCLUDED.through), raised_at = EXCLUDED.raised_at",
    )
    .bind(agent)
    .bind(epochs)
    .bind(kinds)
    .bind(through)
    .bind(now)
    .execute(connection)
    .await?;
    Ok(())
}

/// Deletes the ledger rows of a stream after one number up to another, in a transaction of its own.
async fn delete(
    pool: &PgPool,
    (agent, epoch, kind): (i64, i64, i16),
    after: i64,
    through: i64,
) -> Result<u64, StoreError> {
    let mut lease = begin(pool).await?;
    let deleted = sqlx::query(
        "DELETE FROM ingest_ledger
         WHERE agent_id = $1 AND epoch = $2 AND kind = $3 AND sequence > $4 AND sequence <= $5",
    )
    .bind(agent)
    .bind(epoch)
    .bind(kind)
    .bind(after)
    .bind(through)
    .execute(lease.connection())
    .await?
    .rows_affected();
    lease.commit().await?;
    Ok(deleted)
}

/// Deletes what concerns batches from before a time, of runs of agents that are over: their data is
/// gone, and a batch of theirs that came now would be refused for its age.
async fn forget(pool: &PgPool, before: OffsetDateTime) -> Result<u64, StoreError> {
    let ms = i64::try_from(before.unix_timestamp_nanos() / 1_000_000).unwrap_or(0);
    let epoch = ms.saturating_mul(EPOCHS_PER_MS);
    let mut forgotten = 0;
    for (table, at) in [
        ("ingest_ledger", "received_at"),
        ("ingest_floors", "raised_at"),
        ("ingest_streams", "reported_at"),
        ("ingest_omissions", "reported_at"),
        ("ingest_refusals", "received_at"),
        ("sensor_gaps", "to_at"),
    ] {
        // The agent's run of today may have begun long ago.
        let statement = format!(
            "DELETE FROM {table} t USING agents a
             WHERE t.agent_id = a.agent_id AND t.epoch < $1 AND t.epoch < a.epoch AND t.{at} < $2"
        );
        forgotten += attempt(async {
            let mut lease = begin(pool).await?;
            let done = sqlx::query(&statement).bind(epoch).bind(before);
            let deleted = done.execute(lease.connection()).await?.rows_affected();
            lease.commit().await?;
            Ok(deleted)
        })
        .await?;
    }
    Ok(forgotten)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_floor_rises_to_the_first_hole() {
        let cases: [(i64, &[RangeInclusive<i64>], i64); 6] = [
            (0, &[], 0),
            (0, &[1..=5], 5),
            (0, &[2..=5], 0),
            (3, &[4..=5, 8..=9, 6..=7, 11..=12], 9),
            (5, &[1..=2, 4..=4], 5),
            (0, &[1..=10, 3..=4, 8..=12, 12..=i64::MAX], i64::MAX),
        ];
        for (floor, ranges, expected) in cases {
            assert_eq!(
                raised(floor, ranges.to_vec()),
                expected,
                "{floor} {ranges:?}"
            );
        }
    }
}
