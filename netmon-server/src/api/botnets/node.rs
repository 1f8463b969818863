//! One node of a family: all that is known of it, and its removal.

pub mod communications;
mod seen_by;
mod span;
pub mod timeline;

use std::net::IpAddr;

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use sqlx::{PgPool, types::ipnetwork::IpNetwork};
use utoipa::{IntoParams, ToSchema};

use self::seen_by::{Port, SeenBy, Traffic};
use super::{
    family::{self, Found},
    names::Language,
    nodes::{Node, NodeRow},
};
use crate::{
    api::{
        Api,
        extract::{Parameters, Segments},
        problem::Problem,
    },
    store::botnets::{FamilyId, NodeSelection},
};

/// All that is known of a node.
#[derive(Serialize, ToSchema)]
#[schema(as = BotnetNodeDetail)]
pub struct Detail {
    family: String,
    #[serde(flatten)]
    node: Node,
    /// By which geo files it was located.
    located_by: Option<String>,
    /// Sightings that are not past retention; the sources, ports and traffic are those of these.
    kept_communications: i64,
    /// Who saw it, the most often first.
    sources: Vec<SeenBy>,
    /// Its ports, by number; of an hour of a source sixteen are kept.
    ports: Vec<Port>,
    /// Ports of watched hosts that it talked to, as agents saw.
    local_ports: Vec<Port>,
    #[serde(flatten)]
    traffic: Traffic,
}

/// What was removed.
#[derive(Serialize, ToSchema)]
#[schema(as = BotnetNodeRemoved)]
pub struct Removed {
    family: String,
    #[schema(value_type = String, example = "192.0.2.1")]
    address: IpAddr,
    /// Rows of communications that went with it.
    communications: u64,
}

/// A node's place in the path.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct NodeSegments {
    /// Name or alias.
    #[param(example = "mozi")]
    family: String,
    #[param(example = "192.0.2.1")]
    ip: String,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct AddressSegment {
    #[param(example = "192.0.2.1")]
    pub ip: String,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DetailParameters {
    /// Language of names: `en` or `zh`.
    lang: Option<String>,
}

/// One node, with who saw it, its ports, and what agents measured.
#[utoipa::path(
    get,
    path = "/api/v1/botnets/{family}/nodes/{ip}",
    tag = "botnets",
    operation_id = "show_botnet_node",
    params(NodeSegments, DetailParameters),
    responses((status = 200, description = "The node", body = Detail))
)]
pub async fn show(
    State(api): State<Api>,
    Segments(segments): Segments<NodeSegments>,
    Parameters(parameters): Parameters<DetailParameters>,
) -> Result<Json<Detail>, Problem> {
    let language = Language::parse(parameters.lang.as_deref(), Language::English)?;
    let address = address(&segments.ip)?;
    let Found { id, name } = family::find(&api.database, &segments.family).await?;
    let database = &api.database;
    let (row, located_by) = find(database, id, address).await?;
    let seen = seen_by::read(database, id, address).await?;
    let mut nodes = Node::named(database, &api.places, vec![row], language).await?;
    let node = nodes.pop().ok_or(Problem::UnknownNode(address))?;
    Ok(Json(Detail {
        family: name,
        node,
        located_by,
        kept_communications: seen.communications,
        sources: seen.sources,
        ports: seen.ports,
        local_ports: seen.local_ports,
        traffic: seen.traffic,
    }))
}

/// Removes a node with its communications; statistics follow in the same transaction.
///
/// It is a node again when it is seen again.
#[utoipa::path(
    delete,
    path = "/api/v1/botnets/{family}/nodes/{ip}",
    tag = "botnets",
    operation_id = "remove_botnet_node",
    params(NodeSegments),
    responses((status = 200, description = "What was removed", body = Removed))
)]
pub async fn remove(
    State(api): State<Api>,
    Segments(segments): Segments<NodeSegments>,
) -> Result<Json<Removed>, Problem> {
    let address = address(&segments.ip)?;
    let Found { id, name } = family::find(&api.database, &segments.family).await?;
    let selection = NodeSelection::Addresses(vec![address]);
    let removed = api.botnets.delete_nodes(FamilyId::from(id), &selection);
    let removed = removed.await?;
    if removed.nodes == 0 {
        return Err(Problem::UnknownNode(address));
    }
    tracing::info!(family = name, %address, "a botnet node was removed over the API");
    Ok(Json(Removed {
        family: name,
        address,
        communications: removed.communications,
    }))
}

/// The address at the end of a path; an IPv4 address mapped into IPv6 is the IPv4 address.
pub fn address(text: &str) -> Result<IpAddr, Problem> {
    let address: Result<IpAddr, _> = text.parse();
    address
        .map(|address| address.to_canonical())
        .map_err(|_| Problem::InvalidPath(format!("{text:?} is not an IP address")))
}

/// The node, and by what it was located.
async fn find(
    database: &PgPool,
    family: i64,
    address: IpAddr,
) -> Result<(NodeRow, Option<String>), Problem> {
    #[derive(sqlx::FromRow)]
    struct Located {
        #[sqlx(flatten)]
        node: NodeRow,
        located_by: Option<String>,
    }
    let query = format!(
        "SELECT {}, (SELECT description FROM botnet_geo_editions edition
                     WHERE edition.edition_id = n.edition_id) AS located_by
         FROM botnet_nodes n WHERE n.family_id = $1 AND n.ip = $2",
        NodeRow::COLUMNS
    );
    let found: Option<Located> = sqlx::query_as(&query)
        .bind(family)
        .bind(IpNetwork::from(address))
        .fetch_optional(database)
        .await?;
    let found = found.ok_or(Problem::UnknownNode(address))?;
    Ok((found.node, found.located_by))
}
