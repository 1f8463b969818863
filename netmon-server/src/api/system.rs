//! What a host was busy with, in points of a chosen length, and its newest reading.

mod latest;
mod point;

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};

pub use latest::{__path_latest, latest};

use self::point::{Point, PointRow};
use super::{
    Api,
    agents::{self, AgentSegment},
    bandwidth::step::Step,
    extract::{Parameters, Segments},
    problem::Problem,
    range::Range,
    sources::{self, Plan, Resolution, Source},
};
use crate::{
    agent_id::AgentId,
    store::{Series, system_sql},
};

/// What a host was busy with.
#[derive(Serialize, ToSchema)]
pub struct System {
    #[schema(value_type = String, example = "0123456789abcdef")]
    agent: AgentId,
    agent_alias: String,
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
    /// In order of time. A point without readings is absent: a gap is not zero.
    items: Vec<Point>,
    /// Always null: the range is bounded by the points it may have, so there is one page.
    next_cursor: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SystemParameters {
    /// Readings at this time or later; an hour before `to` by default.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<String>,
    /// Readings before this time; now by default.
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<String>,
    /// Length of a point, in whole milliseconds from 500ms on, like `10s` or `1h 30m`. By default
    /// a round length that makes at most 1000 points; more than 10000 are refused. Rounded up to
    /// whole minutes or hours for a range that begins when nothing finer is kept.
    #[param(example = "10s")]
    step: Option<String>,
    /// Lists that each point is to have as well, separated by commas: `cores`, `file_systems`,
    /// `block_devices`, `interfaces`, `temperatures`, `tcp_states`.
    #[param(example = "cores,file_systems")]
    parts: Option<String>,
}

/// The lists a point may have, besides the figures of the whole host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parts([bool; PARTS.len()]);

/// Name in the API; CTE, its SQL, and its columns.
const PARTS: [(&str, &str, &str, &str); 6] = [
    ("tcp_states", "states", system_sql!("states"), "tcp_states"),
    (
        "cores",
        "cores",
        system_sql!("cores"),
        "core, core_ticks, core_busy",
    ),
    (
        "file_systems",
        "mounts",
        system_sql!("mounts"),
        "mount_point, mount_device, mount_type, mount_total, mount_free, mount_available, \
         mount_inodes, mount_inodes_free",
    ),
    (
        "block_devices",
        "devices",
        system_sql!("devices"),
        "device, device_reads, device_writes, device_read_bytes, device_written_bytes, \
         device_busy_ms",
    ),
    (
        "interfaces",
        "interfaces",
        system_sql!("interfaces"),
        "interface, interface_rx_errors, interface_tx_errors, interface_rx_dropped, \
         interface_tx_dropped, interface_overruns, interface_collisions",
    ),
    (
        "temperatures",
        "sensors",
        system_sql!("sensors"),
        "sensor, sensor_max",
    ),
];

impl Parts {
    pub(super) const ALL: Self = Self([true; PARTS.len()]);

    fn parse(text: Option<&str>) -> Result<Self, Problem> {
        let mut parts = Self([false; PARTS.len()]);
        for name in text.into_iter().flat_map(|text| text.split(',')) {
            let part = PARTS.iter().position(|part| part.0 == name);
            let part = part.ok_or_else(|| {
                let names = PARTS.map(|part| part.0).join(", ");
                Problem::parameter("parts", format!("each must be one of {names}"))
            })?;
            parts.0[part] = true;
        }
        Ok(parts)
    }

    /// Whether the list of this name is wanted.
    fn has(self, name: &str) -> bool {
        let part = PARTS.iter().position(|part| part.0 == name);
        part.is_some_and(|part| self.0[part])
    }
}

/// What a host was busy with.
///
/// Sums and averages over all its processors; ask for lists by `parts`.
#[utoipa::path(
    get,
    path = "/api/v1/agents/{agent}/system",
    tag = "system",
    operation_id = "show_system",
    params(AgentSegment, SystemParameters),
    responses((status = 200, description = "Points that hold readings", body = System))
)]
pub async fn show(
    State(api): State<Api>,
    Segments(AgentSegment { agent }): Segments<AgentSegment>,
    Parameters(parameters): Parameters<SystemParameters>,
) -> Result<Json<System>, Problem> {
    let now = OffsetDateTime::now_utc();
    let range = Range::parse(parameters.from.as_deref(), parameters.to.as_deref(), now)?;
    let step = Step::parse(parameters.step.as_deref(), range)?;
    let parts = Parts::parse(parameters.parts.as_deref())?;
    let agent = agents::find(&api.database, &agent).await?;
    let (plan, items) = points(&api.database, agent.id(), range, step.us(), parts).await?;
    Ok(Json(System {
        agent: agent.id(),
        agent_alias: agent.alias().to_owned(),
        from: range.from,
        to: range.to,
        step_ms: plan.step_us.unsigned_abs() / 1000,
        resolution: plan.resolution(),
        sources: plan.sources,
        items,
        next_cursor: None,
    }))
}

/// The points, and the plan that led to them.
async fn points(
    database: &PgPool,
    agent: AgentId,
    range: Range,
    step_us: i64,
    parts: Parts,
) -> Result<(Plan, Vec<Point>), Problem> {
    let tables = (Series::System, Series::SystemMinutes);
    let query = move |plan| async move { points_of(database, agent, &plan, parts).await };
    sources::answer(database, tables, range, step_us, query).await
}

async fn points_of(
    database: &PgPool,
    agent: AgentId,
    plan: &Plan,
    parts: Parts,
) -> Result<Vec<Point>, Problem> {
    let statement = statement(&plan.sources, parts);
    let mut query = sqlx::query_as(&statement)
        .bind(agent.to_bigint())
        .bind(plan.step_us);
    for Source { from, to, .. } in &plan.sources {
        query = query.bind(from).bind(to);
    }
    let rows: Vec<PointRow> = query.fetch_all(database).await?;
    let points = rows.into_iter().map(|row| row.point(plan.step_us, parts));
    Ok(points.collect())
}

/// The statement for the parts of a range; their ends are parameters from $3 on. It names only the
/// tables that are needed, and computes only the lists that are wanted.
fn statement(sources: &[Source], parts: Parts) -> String {
    let source = |(index, source): (usize, &Source)| {
        let (text, table) = match source.resolution {
            Resolution::Raw => (READINGS, Series::System),
            Resolution::Minute => (SUMS, Series::SystemMinutes),
            Resolution::Hour => (SUMS, Series::SystemHours),
        };
        text.replace("{table}", table.table())
            .replace("{from}", &format!("${}", 2 * index + 3))
            .replace("{to}", &format!("${}", 2 * index + 4))
    };
    let sources: Vec<String> = sources.iter().enumerate().map(source).collect();
    let mut statement = format!(
        "WITH source AS NOT MATERIALIZED (\n{}), host AS (\n{})",
        sources.join("    UNION ALL\n"),
        system_sql!("host")
    );
    for ((_, name, sql, columns), wanted) in PARTS.iter().zip(parts.0) {
        let none = format!("SELECT agent_id, slot, {columns} FROM source WHERE false\n");
        let sql = if wanted { sql } else { none.as_str() };
        statement += &format!(", {name} AS (\n{sql})");
    }
    statement + "\n" + system_sql!("joined") + "ORDER BY slot"
}

/// Minutes or hours.
const SUMS: &str = concat!(
    "    SELECT (extract(epoch FROM bucket) * 1000000)::bigint / $2 AS slot, agent_id, bucket,\n",
    system_sql!("columns"),
    "    FROM {table} WHERE agent_id = $1 AND bucket >= {from} AND bucket < {to}\n",
);

const READINGS: &str = concat!(
    "    SELECT (extract(epoch FROM bucket) * 1000000)::bigint / $2 AS slot, agent_id, bucket,\n",
    system_sql!("columns"),
    "    FROM (\n",
    "WITH readings AS (\n",
    "    SELECT * FROM system_stats WHERE agent_id = $1 AND at >= {from} AND at < {to}\n)\n",
    system_sql!("figures"),
    ") figures\n",
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_named_one_by_one() {
        let parts = Parts::parse(Some("cores,temperatures")).unwrap();
        assert!(parts.has("cores") && parts.has("temperatures") && !parts.has("tcp_states"));
        assert_eq!(Parts::parse(None).unwrap(), Parts([false; PARTS.len()]));
        for text in ["", "core", "cores,", "cores, interfaces"] {
            assert!(Parts::parse(Some(text)).is_err(), "{text:?}");
        }
    }
}
