//! One address across all families.

use std::net::IpAddr;

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use sqlx::types::ipnetwork::IpNetwork;
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};

use super::{
    names::Language,
    node::{self, AddressSegment},
    place::Place,
};
use crate::api::{
    Api,
    extract::{Parameters, Segments},
    problem::Problem,
};

/// What is known of an address.
#[derive(Serialize, ToSchema)]
#[schema(as = BotnetAddress)]
pub struct Address {
    #[schema(value_type = String, example = "192.0.2.1")]
    address: IpAddr,
    /// The families it is a node of, by name; none: it is not known.
    items: Vec<Membership>,
    /// Always null: there is one page.
    next_cursor: Option<String>,
}

/// An address as a node of a family.
#[derive(Serialize, ToSchema)]
#[schema(as = BotnetMembership)]
pub struct Membership {
    family: String,
    /// The node's number in the family.
    id: i64,
    #[serde(flatten)]
    place: Place,
    #[serde(with = "time::serde::rfc3339")]
    first_seen: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    last_seen: OffsetDateTime,
    /// Sightings since the first.
    communications: i64,
}

#[derive(sqlx::FromRow)]
struct Row {
    name: String,
    node_id: i64,
    place_id: i32,
    first_seen: OffsetDateTime,
    last_seen: OffsetDateTime,
    communications: i64,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AddressParameters {
    /// Language of names: `en` or `zh`.
    lang: Option<String>,
}

/// The families that an address is a node of.
///
/// An address that nobody saw is an answer without items, not an error.
#[utoipa::path(
    get,
    path = "/api/v1/addresses/{ip}",
    tag = "botnets",
    operation_id = "show_address",
    params(AddressSegment, AddressParameters),
    responses((status = 200, description = "What is known of it", body = Address))
)]
pub async fn show(
    State(api): State<Api>,
    Segments(AddressSegment { ip }): Segments<AddressSegment>,
    Parameters(parameters): Parameters<AddressParameters>,
) -> Result<Json<Address>, Problem> {
    let address = node::address(&ip)?;
    let language = Language::parse(parameters.lang.as_deref(), Language::English)?;
    // The families one by one, so that the primary key (family_id, ip) finds the rows.
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT family.name, node.node_id, node.place_id, node.first_seen, node.last_seen,
                node.communications
         FROM botnet_nodes node JOIN botnet_families family USING (family_id)
         WHERE node.family_id = ANY (ARRAY(SELECT family_id FROM botnet_families))
           AND node.ip = $1
         ORDER BY family.name",
    )
    .bind(IpNetwork::from(address))
    .fetch_all(&api.database)
    .await?;
    let places = rows.iter().map(|row| row.place_id);
    api.places.read(&api.database, places).await?;
    let items = rows.into_iter().map(|row| Membership {
        family: row.name,
        id: row.node_id,
        place: api.places.place(row.place_id, language),
        first_seen: row.first_seen,
        last_seen: row.last_seen,
        communications: row.communications,
    });
    Ok(Json(Address {
        address,
        items: items.collect(),
        next_cursor: None,
    }))
}
