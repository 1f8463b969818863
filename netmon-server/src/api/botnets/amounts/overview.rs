//! Families with their totals, at the paths that earlier front ends call.

use std::collections::BTreeMap;

use axum::{Json, extract::State};
use serde::Serialize;
use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::BorrowedFormatItem, macros::format_description};
use utoipa::ToSchema;

use super::{
    super::{
        family::{self, FamilySegment},
        names::Language,
        place::PlaceFilter,
        statistics::{Level, Order, by_place},
    },
    CHINA, country_name, of_world, province_name,
};
use crate::api::{Api, extract::Segments, problem::Problem};

/// Nodes by family in China and in the world.
#[derive(Serialize, ToSchema)]
#[schema(as = BotnetDistribution)]
pub struct Distribution {
    name: String,
    china_amount: i64,
    /// China's among them.
    global_amount: i64,
}

/// Nodes of every family in China and in the world.
#[utoipa::path(
    get,
    path = "/api/botnet-distribution",
    tag = "botnet amounts",
    operation_id = "show_botnet_distribution",
    responses((status = 200, description = "The families", body = Vec<Distribution>))
)]
pub async fn distribution(State(api): State<Api>) -> Result<Json<Vec<Distribution>>, Problem> {
    let mut answer = Vec::new();
    for family in family::several(&api.database, None).await? {
        let rows = of_world(&api.database, &family).await?;
        let china = rows.iter().filter(|row| row.country == CHINA);
        answer.push(Distribution {
            china_amount: china.map(|row| row.nodes).sum(),
            global_amount: rows.iter().map(|row| row.nodes).sum(),
            name: family.name,
        });
    }
    Ok(Json(answer))
}

/// The families there are.
#[utoipa::path(
    get,
    path = "/api/botnet-types",
    tag = "botnet amounts",
    operation_id = "list_botnet_types",
    responses((status = 200, description = "`status` and, in `data`, the families", body = Value))
)]
pub async fn types(State(api): State<Api>) -> Result<Json<Value>, Problem> {
    let rows: Vec<(i64, String, OffsetDateTime)> = sqlx::query_as(
        "SELECT family_id, name, created_at FROM botnet_families ORDER BY created_at, family_id",
    )
    .fetch_all(&api.database)
    .await?;
    let types = rows.into_iter().map(|(id, name, created_at)| {
        json!({
            "id": id,
            "name": name,
            "display_name": capitalised(&name),
            "description": "",
            "created_at": local(created_at),
        })
    });
    let types: Vec<_> = types.collect();
    Ok(Json(json!({ "status": "success", "data": types })))
}

/// A family's nodes by country and by Chinese province, and how many of them are active.
///
/// Active are those seen within 30 days; before that is determined for the first time, all.
#[utoipa::path(
    get,
    path = "/api/node-stats/{family}",
    tag = "botnet amounts",
    operation_id = "show_node_stats",
    params(FamilySegment),
    responses((status = 200, description = "`status` and, in `data`, the numbers", body = Value))
)]
pub async fn node_stats(
    State(api): State<Api>,
    Segments(FamilySegment { family }): Segments<FamilySegment>,
) -> Result<Json<Value>, Problem> {
    let family = family::find(&api.database, &family).await?;
    let anywhere = PlaceFilter::default();
    let (families, level) = ([family.id], Level::Provinces);
    let counted = by_place(&api.database, &families, level, &anywhere, Order::Nodes).await?;
    let total = counted.total();
    let mut countries = BTreeMap::<String, i64>::new();
    let mut provinces = BTreeMap::<String, i64>::new();
    for row in &counted.rows {
        let country = country_name(&row.country, Language::Chinese);
        *countries.entry(country).or_default() += row.nodes;
        if row.country == CHINA {
            let province = province_name(&row.province, Language::Chinese);
            *provinces.entry(province).or_default() += row.nodes;
        }
    }
    let active = total.active_month.unwrap_or(total.nodes);
    // Nodes may have come since.
    let inactive = (total.nodes - active).max(0);
    Ok(Json(json!({
        "status": "success",
        "data": {
            "total_nodes": total.nodes,
            "active_nodes": active,
            "inactive_nodes": inactive,
            "country_distribution": countries,
            "province_distribution": provinces,
            "status_distribution": { "active": active, "inactive": inactive },
            "data_source": "aggregated",
            "last_updated": local(OffsetDateTime::now_utc()),
        },
    })))
}

fn capitalised(name: &str) -> String {
    let mut letters = name.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

/// A time as those front ends read it (UTC).
pub fn local(time: OffsetDateTime) -> String {
    const FORMAT: &[BorrowedFormatItem<'_>] =
        format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    time.format(FORMAT).unwrap_or_default()
}
