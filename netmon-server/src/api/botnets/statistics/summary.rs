//! Totals of one family, or of several together.

use std::collections::HashSet;

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};

use super::{
    super::{
        family::{self, FamilySegment},
        place::PlaceFilter,
    },
    Counts, Level, Order, Row, by_place,
};
use crate::api::{
    Api,
    extract::{Parameters, Segments},
    problem::Problem,
};

/// Totals at this moment.
#[derive(Serialize, ToSchema)]
#[schema(as = BotnetSummary)]
pub struct Summary {
    /// Whose they are.
    families: Vec<String>,
    /// The end of the windows of `active_day`, `active_week` and `active_month`, which are closed
    /// hours: the earliest where families differ; null: not determined yet.
    #[serde(with = "time::serde::rfc3339::option")]
    active_as_of: Option<OffsetDateTime>,
    #[serde(flatten)]
    total: Counts,
    /// Countries with nodes.
    countries: u64,
    /// Provinces with nodes.
    provinces: u64,
    /// Cities with nodes.
    cities: u64,
    /// Nodes whose country is not known.
    nodes_without_country: i64,
    /// Nodes whose province is not known, those without country among them.
    nodes_without_province: i64,
    /// Nodes whose city is not known.
    nodes_without_city: i64,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SummaryParameters {
    /// Names or aliases, separated by commas; all families by default.
    families: Option<String>,
}

/// A family's totals, exact at this moment.
#[utoipa::path(
    get,
    path = "/api/v1/botnets/{family}/statistics",
    tag = "botnets",
    operation_id = "show_botnet_summary",
    params(FamilySegment),
    responses((status = 200, description = "The totals", body = Summary))
)]
pub async fn of_family(
    State(api): State<Api>,
    Segments(FamilySegment { family }): Segments<FamilySegment>,
) -> Result<Json<Summary>, Problem> {
    let family = family::find(&api.database, &family).await?;
    summary(&api.database, &[family]).await
}

/// The totals of several families together.
#[utoipa::path(
    get,
    path = "/api/v1/botnets/statistics",
    tag = "botnets",
    operation_id = "show_botnets_summary",
    params(SummaryParameters),
    responses((status = 200, description = "The totals", body = Summary))
)]
pub async fn of_several(
    State(api): State<Api>,
    Parameters(SummaryParameters { families }): Parameters<SummaryParameters>,
) -> Result<Json<Summary>, Problem> {
    let families = family::several(&api.database, families.as_deref()).await?;
    summary(&api.database, &families).await
}

async fn summary(database: &PgPool, families: &[family::Found]) -> Result<Json<Summary>, Problem> {
    let ids: Vec<i64> = families.iter().map(|family| family.id).collect();
    let everywhere = PlaceFilter::default();
    let found = by_place(database, &ids, Level::Cities, &everywhere, Order::Nodes).await?;
    let distinct = |of: fn(&Row) -> [&str; 3]| {
        let codes = found.rows.iter().map(of);
        let known = codes.filter(|codes| codes.iter().any(|code| !code.is_empty()));
        known.collect::<HashSet<_>>().len() as u64
    };
    let without = |of: fn(&Row) -> &str| {
        let rows = found.rows.iter().filter(|row| of(row).is_empty());
        rows.map(|row| row.nodes).sum()
    };
    Ok(Json(Summary {
        families: families.iter().map(|family| family.name.clone()).collect(),
        active_as_of: found.as_of,
        total: found.total(),
        countries: distinct(|row| [&row.country, "", ""]),
        provinces: distinct(|row| match row.province.as_str() {
            "" => [""; 3],
            province => [&row.country, province, ""],
        }),
        cities: distinct(|row| match row.city.as_str() {
            "" => [""; 3],
            city => [&row.country, &row.province, city],
        }),
        nodes_without_country: without(|row| &row.country),
        nodes_without_province: without(|row| &row.province),
        nodes_without_city: without(|row| &row.city),
    }))
}
