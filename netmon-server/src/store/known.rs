//! Which batches an agent need not send again.

use std::collections::BTreeMap;

use netmon_common::wire::{Kind, StreamState};
use sqlx::PgConnection;

use super::{Store, StoreError, attempt};
use crate::agent_id::AgentId;

/// Batches looked up for one agent at once; of more it hears when it sends them again.
const MAX_BATCHES: i64 = 10_000;

/// Batches of a stream that have been stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The run of the agent.
    pub epoch: u64,
    /// What they carry.
    pub kind: Kind,
    /// Every batch up to this one; 0: nothing is known.
    pub through: u64,
    /// Some beyond what the agent holds to be settled.
    pub sequences: Vec<u64>,
}

/// The streams an agent speaks of, as columns.
struct Streams {
    agent: i64,
    epochs: Vec<i64>,
    kinds: Vec<i16>,
    through: Vec<i64>,
}

impl Store {
    /// Looks up which batches are stored beyond those that the agent holds to be settled. Refused
    /// ones are left out: the agent is to hear of them one by one.
    ///
    /// # Errors
    /// As [`Store::commit_group`].
    pub async fn known(
        &self,
        agent: AgentId,
        streams: &[StreamState],
    ) -> Result<Vec<Known>, StoreError> {
        let streams = Streams::new(agent, streams);
        if streams.epochs.is_empty() {
            return Ok(Vec::new());
        }
        attempt(async {
            let mut connection = self.pool.acquire().await?;
            let mut known: BTreeMap<(i64, i16), Known> = BTreeMap::new();
            for (epoch, kind, through) in floors(&mut connection, &streams).await? {
                entry(&mut known, epoch, kind).through = through.unsigned_abs();
            }
            for (epoch, kind, sequence) in sequences(&mut connection, &streams).await? {
                let sequences = &mut entry(&mut known, epoch, kind).sequences;
                sequences.push(sequence.unsigned_abs());
            }
            Ok(known.into_values().collect())
        })
        .await
    }
}

impl Streams {
    fn new(agent: AgentId, states: &[StreamState]) -> Self {
        let mut streams = Self {
            agent: agent.to_bigint(),
            epochs: Vec::new(),
            kinds: Vec::new(),
            through: Vec::new(),
        };
        for state in states {
            let numbers = (
                i64::try_from(state.epoch),
                i64::try_from(state.settled_through),
            );
            if let (Ok(epoch), Ok(through)) = numbers {
                streams.epochs.push(epoch);
                streams.kinds.push(state.kind() as i16);
                streams.through.push(through);
            }
        }
        streams
    }
}

fn entry(known: &mut BTreeMap<(i64, i16), Known>, epoch: i64, kind: i16) -> &mut Known {
    known.entry((epoch, kind)).or_insert_with(|| Known {
        epoch: epoch.unsigned_abs(),
        kind: Kind::try_from(i32::from(kind)).unwrap_or_default(),
        through: 0,
        sequences: Vec::new(),
    })
}

/// Floors above what is settled, unless one of the batches below was refused.
async fn floors(
    connection: &mut PgConnection,
    streams: &Streams,
) -> sqlx::Result<Vec<(i64, i16, i64)>> {
    sqlx::query_as(
        "SELECT f.epoch, f.kind, f.through
         FROM unnest($2::int8[], $3::int2[], $4::int8[]) AS s (epoch, kind, through)
         JOIN ingest_floors f ON f.epoch = s.epoch AND f.kind = s.kind AND f.through > s.through
         WHERE f.agent_id = $1 AND NOT EXISTS (
             SELECT FROM ingest_refusals r
             WHERE r.agent_id = $1 AND r.epoch = s.epoch AND r.kind = s.kind
               AND r.sequence > s.through AND r.sequence <= f.through)",
    )
    .bind(streams.agent)
    .bind(&streams.epochs)
    .bind(&streams.kinds)
    .bind(&streams.through)
    .fetch_all(connection)
    .await
}

async fn sequences(
    connection: &mut PgConnection,
    streams: &Streams,
) -> sqlx::Result<Vec<(i64, i16, i64)>> {
    sqlx::query_as(
        "SELECT l.epoch, l.kind, l.sequence
         FROM unnest($2::int8[], $3::int2[], $4::int8[]) AS s (epoch, kind, through)
         JOIN ingest_ledger l ON l.epoch = s.epoch AND l.kind = s.kind AND l.sequence > s.through
         WHERE l.agent_id = $1 AND l.row_count IS NOT NULL
         ORDER BY l.epoch, l.kind, l.sequence LIMIT $5",
    )
    .bind(streams.agent)
    .bind(&streams.epochs)
    .bind(&streams.kinds)
    .bind(&streams.through)
    .bind(MAX_BATCHES)
    .fetch_all(connection)
    .await
}
