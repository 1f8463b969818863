//! A node as it is stored and as it is shown.

use std::net::IpAddr;

use serde::Serialize;
use sqlx::{PgPool, types::ipnetwork::IpNetwork};
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::super::{
    names::Language,
    place::{Place, Places},
};
use crate::api::problem::Problem;

/// An address that took part in a botnet.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = BotnetNode)]
pub struct Node {
    #[schema(value_type = String, example = "192.0.2.1")]
    pub address: IpAddr,
    /// Nodes are numbered in the order in which they came, with gaps.
    pub id: i64,
    #[serde(flatten)]
    pub place: Place,
    #[serde(with = "time::serde::rfc3339")]
    pub first_seen: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub last_seen: OffsetDateTime,
    /// Sightings since the first.
    pub communications: i64,
}

/// The columns of a node's row.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct NodeRow {
    pub ip: IpNetwork,
    pub node_id: i64,
    pub first_seen: OffsetDateTime,
    pub last_seen: OffsetDateTime,
    pub communications: i64,
    pub place_id: i32,
}

impl NodeRow {
    pub const COLUMNS: &str =
        "n.ip, n.node_id, n.first_seen, n.last_seen, n.communications, n.place_id";
}

impl Node {
    pub const HEAD: [&str; 11] = [
        "address",
        "id",
        "country",
        "country_name",
        "province",
        "province_name",
        "city",
        "city_name",
        "first_seen",
        "last_seen",
        "communications",
    ];

    /// Rows with the names of their places.
    pub async fn named(
        database: &PgPool,
        places: &Places,
        rows: Vec<NodeRow>,
        language: Language,
    ) -> Result<Vec<Self>, Problem> {
        let ids = rows.iter().map(|row| row.place_id);
        places.read(database, ids).await?;
        let node = |row: NodeRow| Self {
            address: row.ip.ip(),
            id: row.node_id,
            place: places.place(row.place_id, language),
            first_seen: row.first_seen,
            last_seen: row.last_seen,
            communications: row.communications,
        };
        Ok(rows.into_iter().map(node).collect())
    }
}
