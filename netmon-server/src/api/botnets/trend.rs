//! History by day: how many nodes were seen, how many were new, how often.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use time::{Date, Duration, OffsetDateTime, macros::format_description};
use utoipa::{IntoParams, ToSchema};

use super::{
    family::{self, FamilySegment},
    place::PlaceFilter,
};
use crate::api::{
    Api,
    extract::{Parameters, Segments},
    file::{self, Format},
    problem::Problem,
};

/// Most days of an answer, and how many there are unless it is said.
const MAX_DAYS: i64 = 1100;
const DEFAULT_DAYS: i64 = 30;

time::serde::format_description!(day, Date, "[year]-[month]-[day]");

/// A family's history.
#[derive(Serialize, ToSchema)]
#[schema(as = BotnetTrend)]
pub struct Trend {
    family: String,
    #[serde(with = "day")]
    #[schema(value_type = String, format = Date)]
    from: Date,
    /// The first day after.
    #[serde(with = "day")]
    #[schema(value_type = String, format = Date)]
    to: Date,
    /// In order of time. A day on which nothing was seen is absent, and so is one that is not over.
    items: Vec<Day>,
    /// Always null: there is one page.
    next_cursor: Option<String>,
}

/// A day (UTC).
#[derive(Serialize, ToSchema, sqlx::FromRow)]
#[schema(as = BotnetDay)]
pub struct Day {
    #[serde(with = "day")]
    #[schema(value_type = String, format = Date)]
    day: Date,
    /// Nodes that were seen.
    nodes: i64,
    /// Of these, seen for the first time.
    new_nodes: i64,
    /// Sightings.
    communications: i64,
    /// Sightings of the day came, or went, since this was counted: it is to be counted again.
    due: bool,
}

impl Day {
    const HEAD: [&str; 5] = ["day", "nodes", "new_nodes", "communications", "due"];
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TrendParameters {
    /// The first day; 30 days before `to` by default.
    #[param(value_type = Option<String>, format = Date, example = "2026-11-01")]
    from: Option<String>,
    /// The first day after; today by default.
    #[param(value_type = Option<String>, format = Date, example = "2026-12-01")]
    to: Option<String>,
    /// In this country (ISO 3166-1), or `unknown`.
    country: Option<String>,
    /// In this province (ISO 3166-2), or `unknown`.
    province: Option<String>,
    /// In this city, by code, or `unknown`.
    city: Option<String>,
    /// `json`, `csv` or `ndjson`: the items only.
    format: Option<String>,
}

/// A family's nodes, new nodes and communications by day.
#[utoipa::path(
    get,
    path = "/api/v1/botnets/{family}/statistics/trend",
    tag = "botnets",
    operation_id = "show_botnet_trend",
    params(FamilySegment, TrendParameters),
    responses((status = 200, description = "The days", body = Trend))
)]
pub async fn show(
    State(api): State<Api>,
    Segments(FamilySegment { family }): Segments<FamilySegment>,
    Parameters(parameters): Parameters<TrendParameters>,
) -> Result<Response, Problem> {
    let (from, to) = parameters.days(OffsetDateTime::now_utc().date())?;
    let format = Format::parse(parameters.format.as_deref())?;
    let filter = PlaceFilter::parse(
        parameters.country.as_deref(),
        parameters.province.as_deref(),
        parameters.city.as_deref(),
    )?;
    let family = family::find(&api.database, &family).await?;
    let items: Vec<Day> = sqlx::query_as(
        "SELECT day, sum(nodes)::bigint AS nodes, sum(new_nodes)::bigint AS new_nodes,
                sum(communications)::bigint AS communications,
                EXISTS (SELECT FROM botnet_days_due due
                        WHERE due.family_id = $1 AND due.day = days.day) AS due
         FROM botnet_days days
         WHERE family_id = $1 AND day >= $2 AND day < $3
           AND ($4 OR place_id IN (
               SELECT place_id FROM botnet_places
               WHERE ($5::text IS NULL OR country = $5) AND ($6::text IS NULL OR province = $6)
                 AND ($7::text IS NULL OR city = $7)))
         GROUP BY day ORDER BY day",
    )
    .bind(family.id)
    .bind(from)
    .bind(to)
    .bind(filter.is_any())
    .bind(&filter.country)
    .bind(&filter.province)
    .bind(&filter.city)
    .fetch_all(&api.database)
    .await?;
    if format != Format::Json {
        let name = format!("botnet-{}-trend", family.name);
        return Ok(file::respond(&name, format, &Day::HEAD, None, items));
    }
    let trend = Trend {
        family: family.name,
        from,
        to,
        items,
        next_cursor: None,
    };
    Ok(Json(trend).into_response())
}

impl TrendParameters {
    fn days(&self, today: Date) -> Result<(Date, Date), Problem> {
        let to = match &self.to {
            Some(text) => parse("to", text)?,
            None => today,
        };
        let from = match &self.from {
            Some(text) => parse("from", text)?,
            None => to.saturating_sub(Duration::days(DEFAULT_DAYS)),
        };
        match (to - from).whole_days() {
            days if days < 1 => Err(Problem::parameter("from", "it must lie before to")),
            days if days > MAX_DAYS => Err(Problem::parameter(
                "from",
                "it must be at most 1100 days before to; ask for one part after the other",
            )),
            _ => Ok((from, to)),
        }
    }
}

fn parse(name: &'static str, text: &str) -> Result<Date, Problem> {
    let date = Date::parse(text, format_description!("[year]-[month]-[day]"));
    let date = date
        .ok()
        .filter(|date| (1970..=9999).contains(&date.year()));
    date.ok_or_else(|| Problem::parameter(name, "it must be a day, like 2026-11-20"))
}

#[cfg(test)]
mod tests {
    use time::macros::date;

    use super::*;

    fn days(from: Option<&str>, to: Option<&str>) -> Result<(Date, Date), Problem> {
        let parameters = TrendParameters {
            from: from.map(str::to_owned),
            to: to.map(str::to_owned),
            country: None,
            province: None,
            city: None,
            format: None,
        };
        parameters.days(date!(2026 - 11 - 21))
    }

    #[test]
    fn thirty_days_up_to_today_are_the_default() {
        let expected = (date!(2026 - 10 - 22), date!(2026 - 11 - 21));
        assert_eq!(days(None, None).unwrap(), expected);
    }

    #[test]
    fn what_are_no_days_is_refused() {
        for (from, to) in [
            (Some("yesterday"), None),
            (Some("2026-11-21"), None),
            (Some("2026-11-20T00:00:00Z"), None),
            (Some("2026-02-30"), Some("2026-03-30")),
            (Some("2020-01-01"), None),
            (None, Some("")),
            (Some("1969-12-31"), Some("1970-01-02")),
        ] {
            assert!(days(from, to).is_err(), "{from:?} {to:?}");
        }
    }
}
