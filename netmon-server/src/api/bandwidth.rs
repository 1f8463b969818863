//! What interfaces carried, in points of a chosen length.

mod point;
pub(super) mod step;

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};

use self::{
    point::{Point, PointRow},
    step::Step,
};
use super::{
    Api,
    agents::{self, Agent, AgentSegment},
    extract::{Parameters, Segments},
    problem::Problem,
    range::Range,
    sources::{self, Plan, Resolution, Source},
};
use crate::{
    agent_id::AgentId,
    store::{Series, bandwidth_sums},
};

/// What one interface, or a whole agent, carried.
#[derive(Serialize, ToSchema)]
pub struct Bandwidth {
    #[schema(value_type = String, example = "0123456789abcdef")]
    agent: AgentId,
    agent_alias: String,
    /// Absent when the points are summed over the agent's interfaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    interface: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    from: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    to: OffsetDateTime,
    /// The length of a point: `step`, rounded up where what is finer is not kept any more.
    step_ms: u64,
    /// The coarsest rows that answer.
    resolution: Resolution,
    /// What answers for which part of the range, in order of time. Where what is finer is not kept any
    /// more the ends are rounded outwards, to whole rows.
    sources: Vec<Source>,
    /// In order of time. A point without samples is absent: a gap is not zero.
    items: Vec<Point>,
    /// Always null: the range is bounded by the points it may have, so there is one page.
    next_cursor: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RangeParameters {
    /// Samples that begin at this time or later; an hour before `to` by default.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<String>,
    /// Samples that begin before this time; now by default.
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<String>,
    /// Length of a point, in whole milliseconds from 500ms on, like `10s` or `1h 30m`. By default
    /// a round length that makes at most 1000 points; more than 10000 are refused. Rounded up to
    /// whole minutes or hours for a range that begins when nothing finer is kept.
    #[param(example = "10s")]
    step: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct InterfaceSegments {
    /// Id (16 hexadecimal digits) or alias.
    agent: String,
    /// The interface's name.
    name: String,
}

/// What one interface carried.
#[utoipa::path(
    get,
    path = "/api/v1/agents/{agent}/interfaces/{name}/bandwidth",
    tag = "bandwidth",
    operation_id = "show_interface_bandwidth",
    params(InterfaceSegments, RangeParameters),
    responses((status = 200, description = "Points that hold samples", body = Bandwidth))
)]
pub async fn of_interface(
    State(api): State<Api>,
    Segments(InterfaceSegments { agent, name }): Segments<InterfaceSegments>,
    Parameters(parameters): Parameters<RangeParameters>,
) -> Result<Json<Bandwidth>, Problem> {
    let (range, step) = parameters.parse(OffsetDateTime::now_utc())?;
    let agent = agents::find(&api.database, &agent).await?;
    let known: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM interfaces WHERE agent_id = $1 AND name = $2)",
    )
    .bind(agent.id().to_bigint())
    .bind(&name)
    .fetch_one(&api.database)
    .await?;
    if !known {
        return Err(Problem::UnknownInterface(name));
    }
    let (plan, items) = points(&api.database, agent.id(), &[&name], range, step).await?;
    Ok(Json(Bandwidth::new(agent, Some(name), range, plan, items)))
}

/// What all interfaces of an agent carried together.
///
/// A packet that crosses several monitored
/// interfaces, like a bridge and its port, counts at each.
#[utoipa::path(
    get,
    path = "/api/v1/agents/{agent}/bandwidth",
    tag = "bandwidth",
    operation_id = "show_agent_bandwidth",
    params(AgentSegment, RangeParameters),
    responses((status = 200, description = "Points that hold samples", body = Bandwidth))
)]
pub async fn of_agent(
    State(api): State<Api>,
    Segments(AgentSegment { agent }): Segments<AgentSegment>,
    Parameters(parameters): Parameters<RangeParameters>,
) -> Result<Json<Bandwidth>, Problem> {
    let (range, step) = parameters.parse(OffsetDateTime::now_utc())?;
    let agent = agents::find(&api.database, &agent).await?;
    let names: Vec<String> = sqlx::query_scalar("SELECT name FROM interfaces WHERE agent_id = $1")
        .bind(agent.id().to_bigint())
        .fetch_all(&api.database)
        .await?;
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (plan, items) = points(&api.database, agent.id(), &names, range, step).await?;
    Ok(Json(Bandwidth::new(agent, None, range, plan, items)))
}

impl RangeParameters {
    fn parse(&self, now: OffsetDateTime) -> Result<(Range, Step), Problem> {
        let range = Range::parse(self.from.as_deref(), self.to.as_deref(), now)?;
        Ok((range, Step::parse(self.step.as_deref(), range)?))
    }
}

impl Bandwidth {
    fn new(
        agent: Agent,
        interface: Option<String>,
        range: Range,
        plan: Plan,
        items: Vec<Point>,
    ) -> Self {
        Self {
            agent: agent.id(),
            agent_alias: agent.alias().to_owned(),
            interface,
            from: range.from,
            to: range.to,
            step_ms: plan.step_us.unsigned_abs() / 1000,
            resolution: plan.resolution(),
            sources: plan.sources,
            items,
            next_cursor: None,
        }
    }
}

/// The points, and the plan that led to them.
async fn points(
    database: &PgPool,
    agent: AgentId,
    interfaces: &[&str],
    range: Range,
    step: Step,
) -> Result<(Plan, Vec<Point>), Problem> {
    let tables = (Series::Bandwidth, Series::BandwidthMinutes);
    let query = move |plan| async move { points_of(database, agent, interfaces, &plan).await };
    sources::answer(database, tables, range, step.us(), query).await
}

/// Names the interfaces one by one because the primary keys are (agent_id, interface, time): the
/// range of time then is a range of the index for each.
async fn points_of(
    database: &PgPool,
    agent: AgentId,
    interfaces: &[&str],
    plan: &Plan,
) -> Result<Vec<Point>, Problem> {
    let statement = statement(&plan.sources);
    let mut query = sqlx::query_as(&statement)
        .bind(agent.to_bigint())
        .bind(interfaces)
        .bind(plan.step_us);
    for Source { from, to, .. } in &plan.sources {
        query = query.bind(from).bind(to);
    }
    let rows: Vec<PointRow> = query.fetch_all(database).await?;
    Ok(rows
        .into_iter()
        .map(|row| row.point(plan.step_us))
        .collect())
}

/// The statement for the parts of a range; their ends are parameters from $4 on. It names only the
/// tables that are needed, and its text depends only on which these are.
fn statement(sources: &[Source]) -> String {
    let part = |(index, source): (usize, &Source)| {
        let (text, table) = match source.resolution {
            Resolution::Raw => (SAMPLES, Series::Bandwidth),
            Resolution::Minute => (SUMS, Series::BandwidthMinutes),
            Resolution::Hour => (SUMS, Series::BandwidthHours),
        };
        text.replace("{table}", table.table())
            .replace("{from}", &format!("${}", 2 * index + 4))
            .replace("{to}", &format!("${}", 2 * index + 5))
    };
    let parts: Vec<String> = sources.iter().enumerate().map(part).collect();
    include_str!("bandwidth/points.sql").replace("{sources}", &parts.join("        UNION ALL\n"))
}

const SUMS: &str = include_str!("bandwidth/points_of_sums.sql");

const SAMPLES: &str = concat!(
    include_str!("bandwidth/points_of_samples.sql"),
    bandwidth_sums!(include_str!("bandwidth/points_frames.sql")),
    "        ) samples\n",
);
