//! What exchanges come to, by hour or day: from roll-ups, and from exchanges and folds where these are not
//! made yet.

mod point;

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use sqlx::{PgPool, Postgres, QueryBuilder};
use time::{Duration, OffsetDateTime};
use utoipa::{IntoParams, ToSchema};

use super::filter::{Filter, Wish, values};
use crate::{
    api::{Api, extract::Parameters, problem::Problem, range::Range},
    store::exchanges_sql,
};
use point::{Point, Row};

/// Points of one answer.
const MAX_POINTS: i128 = 10_000;

/// Several values of one parameter are separated by commas.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct StatisticsParameters {
    /// Seen by this agent: id or alias.
    agent: Option<String>,
    /// Seen on this interface.
    interface: Option<String>,
    /// The server's IP address, or a network.
    server: Option<String>,
    /// Length of a point.
    #[param(value_type = Option<Step>)]
    step: Option<String>,
    /// Points that begin at this time or later, rounded down; a day before `to` by default.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<String>,
    /// Exchanges before this time; now by default.
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<String>,
}

/// Length of a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = NtpStep)]
pub enum Step {
    #[serde(rename = "1h")]
    Hour,
    #[serde(rename = "1d")]
    Day,
}

/// All points.
#[derive(Serialize, ToSchema)]
pub struct NtpStatistics {
    step: Step,
    items: Vec<Point>,
    /// Points that end by then come from roll-ups.
    #[serde(with = "time::serde::rfc3339")]
    rolled_through: OffsetDateTime,
}

impl Step {
    fn parse(text: Option<&str>) -> Result<Self, Problem> {
        match text {
            None | Some("1h") => Ok(Self::Hour),
            Some("1d") => Ok(Self::Day),
            Some(_) => Err(Problem::parameter("step", "it must be 1h or 1d")),
        }
    }

    fn length(self) -> Duration {
        match self {
            Self::Hour => Duration::HOUR,
            Self::Day => Duration::DAY,
        }
    }

    /// As date_trunc calls it.
    fn unit(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }

    /// The last beginning of a point up to a time.
    fn floor(self, at: OffsetDateTime) -> OffsetDateTime {
        let seconds = self.length().whole_seconds();
        let floor = at.unix_timestamp().div_euclid(seconds) * seconds;
        OffsetDateTime::from_unix_timestamp(floor).unwrap_or(at)
    }
}

/// Counts of matches, strata, leap indicators, reference ids and kiss codes, and percentiles of response
/// time, server processing and absolute offset.
#[utoipa::path(
    get,
    path = "/api/v1/ntp/statistics",
    tag = "ntp",
    operation_id = "show_ntp_statistics",
    params(StatisticsParameters),
    responses((status = 200, description = "All points of the range", body = NtpStatistics))
)]
pub async fn show(
    State(api): State<Api>,
    Parameters(parameters): Parameters<StatisticsParameters>,
) -> Result<Json<NtpStatistics>, Problem> {
    let step = Step::parse(parameters.step.as_deref())?;
    let range = parameters.range(step)?;
    let wish = Wish {
        agent: values(parameters.agent.as_deref()),
        interface: values(parameters.interface.as_deref()),
        server: values(parameters.server.as_deref()),
        ..Wish::default()
    };
    let filter = wish.filter(&api.database).await?;
    let rolled_through = rolled_through(&api.database).await?;
    let mut query = query(&filter, step, range, rolled_through);
    let rows: Vec<Row> = query.build_query_as().fetch_all(&api.database).await?;
    let items = rows.into_iter().map(|row| Point::new(row, step.length()));
    Ok(Json(NtpStatistics {
        step,
        items: items.collect(),
        rolled_through,
    }))
}

impl StatisticsParameters {
    fn range(&self, step: Step) -> Result<Range, Problem> {
        let now = OffsetDateTime::now_utc();
        let mut range = Range::parse(self.from.as_deref(), self.to.as_deref(), now)?;
        if self.from.is_none() {
            range.from = (range.to - Duration::DAY).max(OffsetDateTime::UNIX_EPOCH);
        }
        range.from = step.floor(range.from);
        let points = i128::from((range.to - range.from).whole_seconds())
            / i128::from(step.length().whole_seconds());
        match points <= MAX_POINTS {
            true => Ok(range),
            false => Err(Problem::TooManyPoints {
                points,
                limit: MAX_POINTS,
            }),
        }
    }
}

/// Hours before this are rolled up, for every agent.
async fn rolled_through(database: &PgPool) -> Result<OffsetDateTime, Problem> {
    let through: Option<OffsetDateTime> = sqlx::query_scalar(
        "SELECT rolled_through FROM rollup_progress WHERE series = 'ntp_exchanges'",
    )
    .fetch_optional(database)
    .await?;
    Ok(through.unwrap_or(OffsetDateTime::UNIX_EPOCH))
}

/// Days up to the one of the watermark, hours up to the watermark, then exchanges and folds of them: a day holds the hours
/// of agents that are ahead of the watermark.
fn query(
    filter: &Filter,
    step: Step,
    range: Range,
    through: OffsetDateTime,
) -> QueryBuilder<'static, Postgres> {
    let days_end = match step {
        Step::Hour => range.from,
        Step::Day => Step::Day
            .floor(through)
            .clamp(range.from, range.to.max(range.from)),
    };
    // A day that the range cuts is not whole.
    let days_end = days_end.min(Step::Day.floor(range.to)).max(range.from);
    let hours_end = Step::Hour.floor(through.min(range.to)).max(days_end);
    let mut query =
        QueryBuilder::new("WITH came AS MATERIALIZED (WITH exchanges AS (SELECT date_trunc('");
    query.push(step.unit());
    query.push("', at, 'UTC') AS slot, e.* FROM ntp_exchanges e WHERE at >= ");
    query
        .push_bind(hours_end)
        .push(" AND at < ")
        .push_bind(range.to);
    filter.push(&mut query, "e");
    query.push("),\n");
    query.push(exchanges_sql!("figures"));
    query.push(exchanges_sql!("joined"));
    query.push("), rolled AS (");
    let mut part = |table: &str, from, to| {
        query.push("SELECT date_trunc('").push(step.unit());
        query.push("', bucket, 'UTC') AS slot, 0::int8 AS agent_id, ''::text AS interface, inet '::' AS server,");
        query.push(exchanges_sql!("columns"));
        query.push("FROM ").push(table).push(" r WHERE bucket >= ");
        query.push_bind(from).push(" AND bucket < ").push_bind(to);
        filter.push(&mut query, "r");
        query.push("\nUNION ALL\n");
    };
    part("ntp_days", range.from, days_end);
    part("ntp_hours", days_end, hours_end);
    query.push("SELECT bucket, 0, '', inet '::',");
    query.push(exchanges_sql!("columns"));
    query.push("FROM came\nUNION ALL\nSELECT date_trunc('");
    query.push(step.unit());
    query.push("', at, 'UTC'), 0, '', inet '::',");
    query.push(exchanges_sql!("fold_columns"));
    query
        .push("FROM ntp_folds f WHERE at >= ")
        .push_bind(hours_end);
    query.push(" AND at < ").push_bind(range.to);
    filter.push(&mut query, "f");
    query.push("),\n");
    query.push(exchanges_sql!("rolled"));
    query.push(exchanges_sql!("joined"));
    query.push("ORDER BY bucket");
    query
}
