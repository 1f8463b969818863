//! Families: what there is, with totals; adding, changing and removing them.

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};

use super::{
    counters::COUNTERS,
    family::{self, FamilySegment, Found},
};
use crate::{
    api::{
        Api,
        cursor::Scope,
        extract::{Parameters, Posted, Segments},
        listing::{Listing, Page},
        problem::Problem,
    },
    store::botnets::{FamilyChange, FamilyId},
};

/// A family with its totals at this moment.
#[derive(Serialize, ToSchema, sqlx::FromRow)]
#[schema(as = BotnetFamily)]
pub struct Family {
    name: String,
    /// Other names, which lead to the same family.
    aliases: Vec<String>,
    /// Whether agents watch for its nodes.
    watched: bool,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    /// Addresses that were seen.
    nodes: i64,
    /// Sightings.
    communications: i64,
    /// The end of the windows of `active_day`, `active_week` and `active_month`, which are closed
    /// hours; null: not determined yet.
    #[serde(with = "time::serde::rfc3339::option")]
    active_as_of: Option<OffsetDateTime>,
    /// Nodes seen within 24 hours before.
    active_day: Option<i64>,
    /// Within 7 days.
    active_week: Option<i64>,
    /// Within 30 days.
    active_month: Option<i64>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListParameters {
    /// Most items of a page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
    limit: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// A family that is to be added.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BotnetFamilyToAdd)]
pub struct ToAdd {
    /// 1 to 32 of a-z, 0-9, - and _; capitals become small.
    #[schema(example = "mirai")]
    name: String,
    /// Other names, which no family may have.
    #[serde(default)]
    aliases: Vec<String>,
    /// Whether agents watch for its nodes.
    #[serde(default)]
    watched: bool,
}

/// What is to be changed; what is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BotnetFamilyChange)]
pub struct ToChange {
    /// Another name; the old one leads nowhere then, unless it becomes an alias.
    name: Option<String>,
    /// All aliases.
    aliases: Option<Vec<String>>,
    /// Whether agents watch for its nodes.
    watched: Option<bool>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RemoveParameters {
    /// The family's name once more, since all that is known of it goes.
    confirm: Option<String>,
}

/// A family that is removed.
#[derive(Serialize, ToSchema)]
#[schema(as = BotnetFamilyRemoved)]
pub struct Removed {
    family: String,
    /// Nodes that go with it.
    nodes: i64,
}

/// Families by name, with totals that are exact at this moment.
#[utoipa::path(
    get,
    path = "/api/v1/botnets",
    tag = "botnets",
    operation_id = "list_botnets",
    params(ListParameters),
    responses((status = 200, description = "A page of the list", body = Listing<Family>))
)]
pub async fn list(
    State(api): State<Api>,
    Parameters(parameters): Parameters<ListParameters>,
) -> Result<Json<Listing<Family>>, Problem> {
    let page: Page<String> = Page::parse(
        Scope::new("botnets", &[]),
        parameters.limit.as_deref(),
        parameters.cursor.as_deref(),
    )?;
    let ids: Vec<i64> = sqlx::query_scalar(
        "SELECT family_id FROM botnet_families WHERE name > $1 ORDER BY name LIMIT $2",
    )
    .bind(page.after.as_deref().unwrap_or_default())
    .bind(page.fetch())
    .fetch_all(&api.database)
    .await?;
    let families = with_totals(&api.database, &ids).await?;
    Ok(Json(page.close(families, |family| family.name.clone())))
}

/// One family.
#[utoipa::path(
    get,
    path = "/api/v1/botnets/{family}",
    tag = "botnets",
    operation_id = "show_botnet",
    params(FamilySegment),
    responses((status = 200, description = "The family", body = Family))
)]
pub async fn show(
    State(api): State<Api>,
    Segments(FamilySegment { family }): Segments<FamilySegment>,
) -> Result<Json<Family>, Problem> {
    let found = family::find(&api.database, &family).await?;
    Ok(Json(one(&api.database, found.id, &family).await?))
}

/// Adds a family: logs are taken for it at once.
#[utoipa::path(
    post,
    path = "/api/v1/botnets",
    tag = "botnets",
    operation_id = "add_botnet",
    request_body = ToAdd,
    responses((status = 201, description = "The family", body = Family))
)]
pub async fn add(
    State(api): State<Api>,
    Posted(wanted): Posted<ToAdd>,
) -> Result<Response, Problem> {
    let added = api
        .botnets
        .add_family(&wanted.name, &wanted.aliases, wanted.watched)
        .await?;
    tracing::info!(
        family = added.name,
        "a botnet family was added over the API"
    );
    let family = one(&api.changes, added.id.number(), &added.name).await?;
    let location = format!("/api/v1/botnets/{}", added.name);
    let headers = [(header::LOCATION, location)];
    Ok((StatusCode::CREATED, headers, Json(family)).into_response())
}

/// Changes a family's name, its aliases, or whether agents watch for its nodes.
#[utoipa::path(
    patch,
    path = "/api/v1/botnets/{family}",
    tag = "botnets",
    operation_id = "change_botnet",
    params(FamilySegment),
    request_body = ToChange,
    responses((status = 200, description = "The family as it is now", body = Family))
)]
pub async fn change(
    State(api): State<Api>,
    Segments(FamilySegment { family }): Segments<FamilySegment>,
    Posted(wanted): Posted<ToChange>,
) -> Result<Json<Family>, Problem> {
    let found = family::find(&api.database, &family).await?;
    let change = FamilyChange {
        name: wanted.name,
        aliases: wanted.aliases,
        watched: wanted.watched,
    };
    let id = FamilyId::from(found.id);
    let changed = api.botnets.change_family(id, &change).await?;
    tracing::info!(
        family = changed.name,
        "a botnet family was changed over the API"
    );
    Ok(Json(one(&api.changes, found.id, &family).await?))
}

/// Removes a family with its nodes, communications, statistics and raw lines.
///
/// Nobody finds it any more when this is answered, and its names are free; its rows go in the background.
#[utoipa::path(
    delete,
    path = "/api/v1/botnets/{family}",
    tag = "botnets",
    operation_id = "remove_botnet",
    params(FamilySegment, RemoveParameters),
    responses((status = 202, description = "What goes with it", body = Removed))
)]
pub async fn remove(
    State(api): State<Api>,
    Segments(FamilySegment { family }): Segments<FamilySegment>,
    Parameters(parameters): Parameters<RemoveParameters>,
) -> Result<(StatusCode, Json<Removed>), Problem> {
    let Found { id, name } = family::find(&api.database, &family).await?;
    if parameters.confirm.as_deref() != Some(name.as_str()) {
        let reason = format!(
            "it must be the family's name, {name}, because its nodes, communications and raw lines \
             go with it for good"
        );
        return Err(Problem::parameter("confirm", reason));
    }
    let nodes = one(&api.database, id, &name).await?.nodes;
    api.botnets.delete_family(FamilyId::from(id)).await?;
    tracing::info!(
        family = name,
        nodes,
        "a botnet family was removed over the API"
    );
    let removed = Removed {
        family: name,
        nodes,
    };
    Ok((StatusCode::ACCEPTED, Json(removed)))
}

async fn one(database: &PgPool, id: i64, name: &str) -> Result<Family, Problem> {
    let family = with_totals(database, &[id]).await?.pop();
    family.ok_or_else(|| Problem::UnknownFamily(name.to_owned()))
}

/// Families by name, with what is so at this moment.
async fn with_totals(database: &PgPool, ids: &[i64]) -> Result<Vec<Family>, Problem> {
    // Without a node that is active there is no row of active ones, and only the book of runs says
    // that they were counted.
    let query = format!(
        "SELECT name, aliases, watched, created_at,
                coalesce(nodes, 0) AS nodes, coalesce(communications, 0) AS communications,
                active_as_of,
                CASE WHEN active_as_of IS NOT NULL THEN coalesce(day, 0) END AS active_day,
                CASE WHEN active_as_of IS NOT NULL THEN coalesce(week, 0) END AS active_week,
                CASE WHEN active_as_of IS NOT NULL THEN coalesce(month, 0) END AS active_month
         FROM botnet_families LEFT JOIN (
             SELECT family_id, sum(nodes)::bigint AS nodes,
                    sum(communications)::bigint AS communications, sum(day)::bigint AS day,
                    sum(week)::bigint AS week, sum(month)::bigint AS month, max(as_of) AS as_of
             FROM ({COUNTERS}) counters GROUP BY family_id
         ) totals USING (family_id) CROSS JOIN LATERAL (
             SELECT coalesce(totals.as_of, (
                 SELECT run.active_as_of FROM botnet_aggregations run
                 WHERE run.family_id = botnet_families.family_id AND run.active_as_of IS NOT NULL
                 ORDER BY run.run_id DESC LIMIT 1)) AS active_as_of
         ) determined
         WHERE family_id = ANY ($1) ORDER BY name"
    );
    Ok(sqlx::query_as(&query).bind(ids).fetch_all(database).await?)
}
