//! Batches that can never be stored, kept with the reason.

use netmon_common::wire::Kind;
use sqlx::{PgConnection, Row};
use time::OffsetDateTime;

use super::{
    Committed, Store, StoreError, attempt,
    commit::{enter, verdict},
    lease::Lease,
    ledger::Key,
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
        if !enter(lease.connection(), key, None, received_at).await? {
            let verdict = verdict(lease.connection(), key).await?;
            lease.roll_back().await?;
            return Ok(verdict);
        }
        let reason = tidy(refusing.reason);
        sqlx::query(
            "INSERT INTO ingest_refusals (agent_id, epoch, kind, sequence, cause, reason, message,
                                          received_at)
             SELECT $1, $2, $3, $4, $5, $6,
                    CASE WHEN count(*) < $9 THEN $7 ELSE ''::bytea END, $8
             FROM (SELECT FROM ingest_refusals WHERE agent_id = $1 LIMIT $9) AS kept
             ON CONFLICT DO NOTHING",
        )
        .bind(key.agent)
        .bind(key.epoch)
        .bind(key.kind)
        .bind(key.sequence)
        .bind(refusing.cause.name())
        .bind(&reason)
        .bind(refusing.message)
        .bind(received_at)
        .bind(MESSAGES_KEPT)
        .execute(lease.connection())
        .await?;
        lease.commit().await?;
        Ok(Committed::Refused(Refused {
            cause: refusing.cause,
            reason,
        }))
    }
}

/// The refusal kept for a batch.
pub(super) async fn find(connection: &mut PgConnection, key: Key) -> sqlx::Result<Refused> {
    let row = sqlx::query(
        "SELECT cause, reason FROM ingest_refusals
         WHERE agent_id = $1 AND epoch = $2 AND kind = $3 AND sequence = $4",
    )
    .bind(key.agent)
    .bind(key.epoch)
    .bind(key.kind)
    .bind(key.sequence)
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else {
        let reason = "refused earlier; the reason is no longer kept".to_owned();
        return Ok(Refused {
            cause: BatchRefusal::Malformed,
            reason,
        });
    };
    let name: String = row.try_get(0)?;
    let cause = BatchRefusal::ALL
        .iter()
        .copied()
        .find(|cause| cause.name() == name);
    Ok(Refused {
        cause: cause.unwrap_or(BatchRefusal::Malformed),
        reason: row.try_get(1)?,
    })
}

fn tidy(reason: &str) -> String {
    let mut text: String = reason.chars().filter(|c| !c.is_control()).collect();
    text.truncate(text.floor_char_boundary(MAX_REASON));
    text
}
