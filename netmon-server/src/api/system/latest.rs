//! The newest reading of a host.

use axum::{Json, extract::State};
use serde::Serialize;
use time::{Duration, OffsetDateTime};
use utoipa::ToSchema;

use super::{
    Parts,
    point::{Cpu, Point},
};
use crate::{
    agent_id::AgentId,
    api::{
        Api,
        agents::{self, AgentSegment},
        extract::Segments,
        problem::Problem,
        range::Range,
        sources::{Plan, Resolution, Source},
    },
};

/// The newest reading of a host that is stored, with everything in it.
#[derive(Serialize, ToSchema)]
pub struct Latest {
    #[schema(value_type = String, example = "0123456789abcdef")]
    agent: AgentId,
    agent_alias: String,
    agent_version: String,
    kernel_release: String,
    /// When the host was read.
    #[serde(with = "time::serde::rfc3339")]
    read_at: OffsetDateTime,
    /// What ratios and rates are taken over; 0 in an agent's first reading, which has none.
    interval_ms: i64,
    #[serde(with = "time::serde::rfc3339::option")]
    booted_at: Option<OffsetDateTime>,
    /// Each core by use.
    cores_by_use: Vec<CoreUse>,
    reading: Point,
}

/// How a core spent its time.
#[derive(Serialize, ToSchema)]
pub struct CoreUse {
    /// The kernel's number.
    core: i16,
    /// Null: it had no time.
    cpu: Option<Cpu>,
}

/// The columns that only readings have.
#[derive(sqlx::FromRow)]
struct Row {
    at: OffsetDateTime,
    interval_us: i64,
    uptime_ms: Option<i64>,
    core: Option<Vec<i16>>,
    core_user: Option<Vec<i32>>,
    core_nice: Option<Vec<i32>>,
    core_system: Option<Vec<i32>>,
    core_idle: Option<Vec<i32>>,
    core_iowait: Option<Vec<i32>>,
    core_irq: Option<Vec<i32>>,
    core_softirq: Option<Vec<i32>>,
    core_steal: Option<Vec<i32>>,
}

/// The newest reading of a host.
///
/// 404 `no_system_data` when there is none as long as single readings are kept.
#[utoipa::path(
    get,
    path = "/api/v1/agents/{agent}/system/latest",
    tag = "system",
    operation_id = "show_latest_system",
    params(AgentSegment),
    responses((status = 200, description = "The newest reading", body = Latest))
)]
pub async fn latest(
    State(api): State<Api>,
    Segments(AgentSegment { agent }): Segments<AgentSegment>,
) -> Result<Json<Latest>, Problem> {
    let agent = agents::find(&api.database, &agent).await?;
    let row: Option<Row> = sqlx::query_as(
        "SELECT at, interval_us, uptime_ms, core, core_user, core_nice, core_system, core_idle, \
         core_iowait, core_irq, core_softirq, core_steal \
         FROM system_stats WHERE agent_id = $1 ORDER BY at DESC LIMIT 1",
    )
    .bind(agent.id().to_bigint())
    .fetch_optional(&api.database)
    .await?;
    let row = row.ok_or(Problem::NoSystemData)?;
    let range = Range {
        from: row.at,
        to: row.at + Duration::MICROSECOND,
    };
    let plan = Plan {
        step_us: 1,
        sources: vec![Source {
            resolution: Resolution::Raw,
            from: range.from,
            to: range.to,
        }],
    };
    let mut points = super::points_of(&api.database, agent.id(), &plan, Parts::ALL).await?;
    let since_boot = row.uptime_ms.map(Duration::milliseconds);
    Ok(Json(Latest {
        agent: agent.id(),
        agent_alias: agent.alias().to_owned(),
        agent_version: agent.agent_version().to_owned(),
        kernel_release: agent.kernel_release().to_owned(),
        read_at: row.at,
        interval_ms: row.interval_us.saturating_add(500) / 1000,
        booted_at: since_boot.and_then(|uptime| row.at.checked_sub(uptime)),
        cores_by_use: row.cores(),
        // Dropped with its day between the two queries.
        reading: points.pop().ok_or(Problem::NoSystemData)?,
    }))
}

impl Row {
    fn cores(&self) -> Vec<CoreUse> {
        let kinds = [
            &self.core_user,
            &self.core_nice,
            &self.core_system,
            &self.core_idle,
            &self.core_iowait,
            &self.core_irq,
            &self.core_softirq,
            &self.core_steal,
        ];
        let core = |(index, core): (usize, &i16)| {
            // Null: no core had any.
            let ticks = kinds.map(|kind| {
                let ticks = kind.as_ref().and_then(|ticks| ticks.get(index));
                ticks.copied().map_or(0, i64::from)
            });
            CoreUse {
                core: *core,
                cpu: Cpu::of(ticks, None),
            }
        };
        self.core.iter().flatten().enumerate().map(core).collect()
    }
}
