//! The book of runs: `botnet_aggregations`.

use serde::Serialize;
use sqlx::PgConnection;
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::{counts::Drift, rebuild::Rebuilt};
use crate::store::botnets::FamilyId;

/// Runs kept of each family; older ones are forgotten.
pub const KEPT_RUNS: i64 = 1000;

/// Longest text of an error that is kept, characters.
const MAX_ERROR: usize = 1000;

/// Why a run was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = BotnetAggregationTrigger)]
pub enum Trigger {
    /// `netmon-server aggregate once`, or a repair.
    Command,
    /// `netmon-server aggregate daemon`.
    Daemon,
    /// The server's job.
    Job,
    /// A request.
    Api,
    /// Nodes got other places.
    Relocation,
    /// `netmon-server self-test`.
    SelfTest,
}

impl Trigger {
    /// As it stands in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Daemon => "daemon",
            Self::Job => "job",
            Self::Api => "api",
            Self::Relocation => "relocation",
            Self::SelfTest => "self_test",
        }
    }
}

/// What is written down of a run.
pub(super) struct Run<'a> {
    pub(super) family: FamilyId,
    pub(super) trigger: Trigger,
    pub(super) started_at: OffsetDateTime,
    pub(super) finished_at: OffsetDateTime,
    pub(super) outcome: Result<&'a Rebuilt, &'a str>,
}

/// Writes a run down and forgets the oldest beyond [`KEPT_RUNS`].
pub(super) async fn record(connection: &mut PgConnection, run: Run<'_>) -> sqlx::Result<()> {
    let (rebuilt, error) = match run.outcome {
        Ok(rebuilt) => (Some(rebuilt), None),
        Err(error) => (
            None,
            Some(error.chars().take(MAX_ERROR).collect::<String>()),
        ),
    };
    let drift = rebuilt.map_or(Drift::default(), |rebuilt| rebuilt.drift);
    sqlx::query(
        "INSERT INTO botnet_aggregations
             (family_id, trigger, started_at, finished_at, nodes, communications, places,
              drift_places, drift_nodes, drift_communications, active_as_of, error)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
    )
    .bind(run.family)
    .bind(run.trigger.name())
    .bind(run.started_at)
    .bind(run.finished_at)
    .bind(rebuilt.map_or(0, |rebuilt| rebuilt.nodes))
    .bind(rebuilt.map_or(0, |rebuilt| rebuilt.communications))
    .bind(rebuilt.map_or(0, |rebuilt| rebuilt.places))
    .bind(bigint(drift.places))
    .bind(bigint(drift.nodes))
    .bind(bigint(drift.communications))
    .bind(rebuilt.map(|rebuilt| rebuilt.active_as_of))
    .bind(error)
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "DELETE FROM botnet_aggregations
         WHERE family_id = $1 AND run_id <= (
             SELECT run_id FROM botnet_aggregations WHERE family_id = $1
             ORDER BY run_id DESC OFFSET $2 LIMIT 1)",
    )
    .bind(run.family)
    .bind(KEPT_RUNS)
    .execute(connection)
    .await
    .map(drop)
}

fn bigint(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
