//! Batches that can never be stored, kept with the reason.

use std::collections::HashMap;

use netmon_common::wire::Kind;
use sqlx::{PgConnection, Row, postgres::PgRow};
use time::OffsetDateTime;

use super::{
    Committed, Store, StoreError, attempt,
    lease::Lease,
    ledger::{self, Key, Keys},
};
use crate::{
    agent_id::AgentId,
    metrics::{BatchRefusal, Label},
};

/// Refusals of one agent whose messages are kept; of later ones only cause and reason are, so
/// that an agent gone wrong does not fill the disk with copies of one mistake.
const MESSAGES_KEPT: i64 = 100;

/// Longest reason kept, octets.
const MAX_REASON: usize = 500;

/// A verdict against a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The kind of fault.
    pub cause: BatchRefusal,
    /// The row and field, for people.
    pub reason: String,
}

/// A batch to be refused.
#[derive(Clone, Copy, Debug)]
pub struct Refusing<'a> {
    /// Who sent it.
    pub agent: AgentId,
    /// The run of the agent it belongs to.
    pub epoch: u64,
    /// What it carries.
    pub kind: Kind,
    /// Its number within the stream.
    pub sequence: u64,
    /// The kind of fault.
    pub cause: BatchRefusal,
    /// The row and field, for people.
    pub reason: &'a str,
    /// The message as it came, or the part of it that was read.
    pub message: &'a [u8],
}

impl Store {
    /// Keeps the batch as refused, unless it has a verdict already; gives the verdict that stands.
    ///
    /// # Errors
    /// As [`Store::commit`]; [`StoreError::Permanent`] also for a number no table can hold, of
    /// which there is nothing to keep.
    pub async fn refuse(&self, refusing: Refusing<'_>) -> Result<Committed, StoreError> {
        attempt(self.try_refuse(refusing)).await
    }

    async fn try_refuse(&self, refusing: Refusing<'_>) -> Result<Committed, StoreError> {
        let (Ok(epoch), Ok(sequence)) = (
            i64::try_from(refusing.epoch),
            i64::try_from(refusing.sequence),
        ) else {
            return Err(StoreError::Permanent(
                "epoch or sequence does not fit 63 bits".to_owned(),
            ));
        };
        let key = Key {
            agent: refusing.agent.to_bigint(),
            epoch,
            kind: refusing.kind as i16,
            sequence,
        };
        let received_at = OffsetDateTime::now_utc();
        let mut lease = Lease::begin(&self.pool).await?;
        let entered = ledger::enter(lease.connection(), &[(key, None)], received_at).await?;
        let below = ledger::below_floors(lease.connection(), &entered).await?;
        if entered.is_empty() || !below.is_empty() {
            // Else the row written just now would pass for an earlier verdict.
            ledger::withdraw(lease.connection(), &below).await?;
            let mut verdicts = ledger::verdicts(lease.connection(), &[key]).await?;
            lease.roll_back().await?;
            return Ok(verdicts.remove(&key).unwrap_or(Committed::Duplicate));
        }
        let reason = tidy(refusing.reason);
        keep(lease.connection(), key, &refusing, &reason, received_at).await?;
        lease.commit().await?;
        Ok(Committed::Refused(Refused {
            cause: refusing.cause,
            reason,
        }))
    }
}

async fn keep(
    connection: &mut PgConnection,
    key: Key,
    refusing: &Refusing<'_>,
    reason: &str,
    received_at: OffsetDateTime,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO ingest_refusals
             (agent_id, epoch, kind, sequence, cause, reason, message, received_at)
         SELECT $1, $2, $3, $4, $5, $6, CASE WHEN count(*) < $9 THEN $7 ELSE ''::bytea END, $8
         FROM (SELECT FROM ingest_refusals WHERE agent_id = $1 LIMIT $9) AS kept
         ON CONFLICT DO NOTHING",
    )
    .bind(key.agent)
    .bind(key.epoch)
    .bind(key.kind)
    .bind(key.sequence)
    .bind(refusing.cause.name())
    .bind(reason)
    .bind(refusing.message)
    .bind(received_at)
    .bind(MESSAGES_KEPT)
    .execute(connection)
    .await?;
    Ok(())
}

/// The refusals kept for batches.
pub(super) async fn find(
    connection: &mut PgConnection,
    keys: Keys,
) -> sqlx::Result<HashMap<Key, Refused>> {
    let kept = sqlx::query(
        "SELECT agent_id, epoch, kind, sequence, cause, reason FROM ingest_refusals
         WHERE agent_id = ANY ($1) AND epoch = ANY ($2) AND kind = ANY ($3)
           AND sequence = ANY ($4)",
    )
    .bind(keys.agents)
    .bind(keys.epochs)
    .bind(keys.kinds)
    .bind(keys.sequences)
    .fetch_all(connection)
    .await?;
    let refused = |row: &PgRow| {
        let name: String = row.try_get(4)?;
        let cause = BatchRefusal::ALL.iter().find(|cause| cause.name() == name);
        let refused = Refused {
            cause: cause.copied().unwrap_or(BatchRefusal::Malformed),
            reason: row.try_get(5)?,
        };
        Ok((ledger::key(row)?, refused))
    };
    kept.iter().map(refused).collect()
}

/// Stands for a refusal of which only the ledger knows.
pub(super) fn forgotten() -> Refused {
    Refused {
        cause: BatchRefusal::Malformed,
        reason: "refused earlier; the reason is no longer kept".to_owned(),
    }
}

fn tidy(reason: &str) -> String {
    let mut text: String = reason.chars().filter(|c| !c.is_control()).collect();
    text.truncate(text.floor_char_boundary(MAX_REASON));
    text
}
