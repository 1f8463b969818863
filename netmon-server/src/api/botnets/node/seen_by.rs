//! Who saw a node, at which ports, and what agents measured.

use std::net::IpAddr;

use serde::Serialize;
use sqlx::{PgPool, types::ipnetwork::IpNetwork};
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::super::source::{join_source, source_columns};
use crate::api::problem::Problem;

/// Most sources of an answer, and most ports.
const MAX_ITEMS: i64 = 1000;

/// A source that saw the node.
#[derive(Serialize, ToSchema, sqlx::FromRow)]
#[schema(as = BotnetNodeSource)]
pub struct SeenBy {
    /// `log`, `agent` or `repair`.
    #[sqlx(rename = "source_kind")]
    kind: String,
    /// Of a log: as its sender names it. Of an agent: its alias.
    #[sqlx(rename = "source")]
    name: String,
    /// The agent's id.
    #[schema(example = "0123456789abcdef")]
    agent: Option<String>,
    /// Sightings.
    communications: i64,
    #[serde(with = "time::serde::rfc3339")]
    first_seen: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    last_seen: OffsetDateTime,
}

/// A port.
#[derive(Serialize, ToSchema, sqlx::FromRow)]
#[schema(as = BotnetPort)]
pub struct Port {
    port: i32,
    /// Hours in which it was seen.
    hours: i64,
}

/// What agents measured between the node and the hosts they run on; null: nothing was measured.
#[derive(Clone, Copy, Debug, Serialize, ToSchema, sqlx::FromRow)]
#[schema(as = BotnetTraffic)]
pub struct Traffic {
    /// From the node.
    pub inbound_packets: Option<i64>,
    pub inbound_bytes: Option<i64>,
    /// To the node.
    pub outbound_packets: Option<i64>,
    pub outbound_bytes: Option<i64>,
}

/// All of it.
pub struct Seen {
    pub communications: i64,
    pub sources: Vec<SeenBy>,
    pub ports: Vec<Port>,
    pub local_ports: Vec<Port>,
    pub traffic: Traffic,
}

/// Sums of a node's communications that are kept.
pub async fn read(database: &PgPool, family: i64, address: IpAddr) -> Result<Seen, Problem> {
    let host = IpNetwork::from(address);
    let sources = sqlx::query_as(concat!(
        "SELECT ",
        source_columns!(),
        ", seen.communications, seen.first_seen, seen.last_seen
         FROM (
             SELECT source_id, sum(count)::bigint AS communications,
                    min(first_seen) AS first_seen, max(last_seen) AS last_seen
             FROM botnet_communications WHERE family_id = $1 AND ip = $2
             GROUP BY source_id
         ) seen ",
        join_source!(),
        "ORDER BY seen.communications DESC, source.kind, source.name LIMIT $3",
    ));
    let sources = sources.bind(family).bind(host).bind(MAX_ITEMS);
    let sources: Vec<SeenBy> = sources.fetch_all(database).await?;
    #[derive(sqlx::FromRow)]
    struct Sums {
        communications: i64,
        #[sqlx(flatten)]
        traffic: Traffic,
    }
    let sums: Sums = sqlx::query_as(
        "SELECT coalesce(sum(count), 0)::bigint AS communications,
                sum(inbound_packets)::bigint AS inbound_packets,
                sum(inbound_bytes)::bigint AS inbound_bytes,
                sum(outbound_packets)::bigint AS outbound_packets,
                sum(outbound_bytes)::bigint AS outbound_bytes
         FROM botnet_communications WHERE family_id = $1 AND ip = $2",
    )
    .bind(family)
    .bind(host)
    .fetch_one(database)
    .await?;
    Ok(Seen {
        communications: sums.communications,
        sources,
        ports: ports(database, "ports", family, host).await?,
        local_ports: ports(database, "local_ports", family, host).await?,
        traffic: sums.traffic,
    })
}

async fn ports(
    database: &PgPool,
    column: &'static str,
    family: i64,
    host: IpNetwork,
) -> Result<Vec<Port>, Problem> {
    let query = format!(
        "SELECT port, count(DISTINCT bucket) AS hours
         FROM botnet_communications CROSS JOIN LATERAL unnest({column}) AS port
         WHERE family_id = $1 AND ip = $2
         GROUP BY port ORDER BY port LIMIT $3"
    );
    let ports = sqlx::query_as(&query).bind(family).bind(host);
    Ok(ports.bind(MAX_ITEMS).fetch_all(database).await?)
}
