//! When a node was seen, by hour or by day.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, types::ipnetwork::IpNetwork};
use time::{Duration, OffsetDateTime};
use utoipa::{IntoParams, ToSchema};

use super::{
    super::family::{self, Found},
    NodeSegments, address, find,
    seen_by::Traffic,
    span,
};
use crate::api::{
    Api,
    extract::{Parameters, Segments},
    problem::Problem,
};

/// Most points of an answer.
const MAX_POINTS: i128 = 10_000;

/// When a node was seen, and how often.
#[derive(Serialize, ToSchema)]
#[schema(as = BotnetTimeline)]
pub struct Timeline {
    family: String,
    #[schema(value_type = String, example = "192.0.2.1")]
    address: std::net::IpAddr,
    #[serde(with = "time::serde::rfc3339")]
    from: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    to: OffsetDateTime,
    #[schema(inline)]
    step: Step,
    /// In order of time. Hours and days in which it was not seen are absent.
    items: Vec<Point>,
    /// Always null: there is one page.
    next_cursor: Option<String>,
}

/// An hour or a day.
#[derive(Serialize, ToSchema, FromRow)]
#[schema(as = BotnetTimelinePoint)]
pub struct Point {
    /// Its beginning.
    #[serde(with = "time::serde::rfc3339")]
    at: OffsetDateTime,
    /// Sightings.
    communications: i64,
    /// How many sources saw it.
    sources: i64,
    #[sqlx(flatten)]
    #[serde(flatten)]
    traffic: Traffic,
}

/// How long a point is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = BotnetTimelineStep)]
pub enum Step {
    Hour,
    /// From midnight to midnight, UTC.
    Day,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TimelineParameters {
    /// Hours that begin at this time or later; 90 days before `to` by default.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<String>,
    /// Hours that begin before this time; now by default.
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<String>,
    /// `hour` or `day` (default).
    step: Option<String>,
}

/// When a node was seen, by hour or by day.
#[utoipa::path(
    get,
    path = "/api/v1/botnets/{family}/nodes/{ip}/timeline",
    tag = "botnets",
    operation_id = "show_botnet_timeline",
    params(NodeSegments, TimelineParameters),
    responses((status = 200, description = "The points", body = Timeline))
)]
pub async fn show(
    State(api): State<Api>,
    Segments(segments): Segments<NodeSegments>,
    Parameters(parameters): Parameters<TimelineParameters>,
) -> Result<Json<Timeline>, Problem> {
    let address = address(&segments.ip)?;
    let step = Step::parse(parameters.step.as_deref())?;
    let now = OffsetDateTime::now_utc();
    let range = span::parse(parameters.from.as_deref(), parameters.to.as_deref(), now)?;
    let points =
        i128::from((range.to - range.from).whole_seconds() / step.length().whole_seconds());
    if points > MAX_POINTS {
        return Err(Problem::TooManyPoints {
            points,
            limit: MAX_POINTS,
        });
    }
    let Found { id, name } = family::find(&api.database, &segments.family).await?;
    find(&api.database, id, address).await?;
    let items = sqlx::query_as(
        "SELECT date_trunc($5, bucket, 'UTC') AS at, sum(count)::bigint AS communications,
                count(DISTINCT source_id) AS sources,
                sum(inbound_packets)::bigint AS inbound_packets,
                sum(inbound_bytes)::bigint AS inbound_bytes,
                sum(outbound_packets)::bigint AS outbound_packets,
                sum(outbound_bytes)::bigint AS outbound_bytes
         FROM botnet_communications
         WHERE family_id = $1 AND ip = $2 AND bucket >= $3 AND bucket < $4
         GROUP BY at ORDER BY at",
    )
    .bind(id)
    .bind(IpNetwork::from(address))
    .bind(range.from)
    .bind(range.to)
    .bind(step.name())
    .persistent(false)
    .fetch_all(&api.database)
    .await?;
    Ok(Json(Timeline {
        family: name,
        address,
        from: range.from,
        to: range.to,
        step,
        items,
        next_cursor: None,
    }))
}

impl Step {
    fn parse(text: Option<&str>) -> Result<Self, Problem> {
        match text {
            Some("hour") => Ok(Self::Hour),
            None | Some("day") => Ok(Self::Day),
            Some(_) => Err(Problem::parameter("step", "it must be hour or day")),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }

    fn length(self) -> Duration {
        match self {
            Self::Hour => Duration::HOUR,
            Self::Day => Duration::DAY,
        }
    }
}
