//! The interfaces of an agent.

use axum::{Json, extract::State};
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::{AgentSegment, ListParameters};
use crate::api::{
    Api,
    columns::Mac,
    cursor::Scope,
    extract::{Parameters, Segments},
    listing::{Listing, Page},
    problem::Problem,
};

/// One interface; a name keeps its history when its index changes.
#[derive(Serialize, ToSchema, sqlx::FromRow)]
pub struct Interface {
    name: String,
    ifindex: i64,
    /// Null for an interface without a link-layer address.
    #[schema(inline)]
    mac: Option<Mac>,
    /// Null until the agent has described the interface.
    mtu: Option<i64>,
    /// Null when the link does not say.
    link_speed_bps: Option<i64>,
    /// Whether the sensor was attached when the agent last spoke of it.
    monitored: bool,
    #[serde(with = "time::serde::rfc3339")]
    first_seen: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    last_seen: OffsetDateTime,
}

/// Every interface the agent has ever reported, by name.
#[utoipa::path(
    get,
    path = "/api/v1/agents/{agent}/interfaces",
    tag = "agents",
    operation_id = "list_interfaces",
    params(AgentSegment, ListParameters),
    responses((status = 200, description = "A page of the list", body = Listing<Interface>))
)]
pub async fn list(
    State(api): State<Api>,
    Segments(AgentSegment { agent }): Segments<AgentSegment>,
    Parameters(parameters): Parameters<ListParameters>,
) -> Result<Json<Listing<Interface>>, Problem> {
    let agent = super::find(&api.database, &agent).await?.id();
    let scope = Scope::new("interfaces", &[Some(&agent.to_string())]);
    let page: Page<String> = Page::parse(
        scope,
        parameters.limit.as_deref(),
        parameters.cursor.as_deref(),
    )?;
    let rows: Vec<Interface> = sqlx::query_as(
        "SELECT name, ifindex, mac, nullif(mtu, 0) AS mtu, link_speed_bps, monitored, first_seen, last_seen \
         FROM interfaces WHERE agent_id = $1 AND name > $2 ORDER BY name LIMIT $3",
    )
    .bind(agent.to_bigint())
    // No name is empty, so every name is greater.
    .bind(page.after.as_deref().unwrap_or_default())
    .bind(page.fetch())
    .fetch_all(&api.database)
    .await?;
    Ok(Json(page.close(rows, |interface| interface.name.clone())))
}
