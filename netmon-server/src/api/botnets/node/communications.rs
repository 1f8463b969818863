//! Communications of a node: by hour and by who saw it, newest first.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, types::ipnetwork::IpNetwork};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};

use super::{
    super::{
        family::{self, Found},
        source::{join_source, source_columns},
    },
    NodeSegments, address, find,
    seen_by::Traffic,
    span,
};
use crate::api::{
    Api,
    cursor::Scope,
    extract::{Parameters, Segments},
    listing::{Listing, Page},
    problem::Problem,
    range::{self, Range},
};

/// Sightings of a node by one source within an hour.
#[derive(Serialize, ToSchema, FromRow)]
#[schema(as = BotnetCommunication)]
pub struct Communication {
    /// The hour's beginning.
    #[serde(with = "time::serde::rfc3339")]
    hour: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    first_seen: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    last_seen: OffsetDateTime,
    /// Sightings.
    communications: i64,
    /// Of these, flows that the node began; null: not by an agent.
    begun_there: Option<i64>,
    /// `log`, `agent` or `repair`.
    source_kind: String,
    /// Of a log: as its sender names it. Of an agent: its alias.
    source: String,
    /// The agent's id.
    #[schema(example = "0123456789abcdef")]
    agent: Option<String>,
    /// The node's, at most sixteen; null: not known.
    ports: Option<Vec<i32>>,
    /// On the watched host's side, at most sixteen; null: not by an agent.
    local_ports: Option<Vec<i32>>,
    #[sqlx(flatten)]
    #[serde(flatten)]
    traffic: Traffic,
    #[serde(skip)]
    source_id: i32,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CommunicationParameters {
    /// Hours that begin at this time or later; 90 days before `to` by default.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<String>,
    /// Hours that begin before this time; now by default.
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<String>,
    /// Most items of a page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
    limit: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Where a page begins: the range of the first page, and the last row.
#[derive(Serialize, Deserialize)]
struct Key {
    from_us: i64,
    to_us: i64,
    hour_us: i64,
    source: i32,
}

/// A node's communications by hour and source, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/botnets/{family}/nodes/{ip}/communications",
    tag = "botnets",
    operation_id = "list_botnet_communications",
    params(NodeSegments, CommunicationParameters),
    responses((status = 200, description = "A page of the list", body = Listing<Communication>))
)]
pub async fn list(
    State(api): State<Api>,
    Segments(segments): Segments<NodeSegments>,
    Parameters(parameters): Parameters<CommunicationParameters>,
) -> Result<Json<Listing<Communication>>, Problem> {
    let address = address(&segments.ip)?;
    let page = parameters.page(&segments)?;
    let range = parameters.range(&page)?;
    let Found { id, .. } = family::find(&api.database, &segments.family).await?;
    find(&api.database, id, address).await?;
    // The first page begins behind everything.
    let (before, source) = match &page.after {
        Some(key) => {
            let hour = range::time_of_unix_us(key.hour_us).ok_or(Problem::InvalidCursor)?;
            (hour, key.source)
        }
        None => (range.to, i32::MAX),
    };
    let rows: Vec<Communication> = sqlx::query_as(concat!(
        "SELECT seen.bucket AS hour, seen.first_seen, seen.last_seen,
                seen.count AS communications, seen.begun_there, seen.ports, seen.local_ports, seen.inbound_packets,
                seen.inbound_bytes, seen.outbound_packets, seen.outbound_bytes, seen.source_id, ",
        source_columns!(),
        " FROM (
             SELECT * FROM botnet_communications
             WHERE family_id = $1 AND ip = $2 AND bucket >= $3 AND bucket < $4
               AND bucket <= $5 AND (bucket, source_id) < ($5, $6)
             ORDER BY bucket DESC, source_id DESC LIMIT $7
         ) seen ",
        join_source!(),
        "ORDER BY seen.bucket DESC, seen.source_id DESC",
    ))
    .bind(id)
    .bind(IpNetwork::from(address))
    .bind(range.from)
    .bind(range.to)
    .bind(before)
    .bind(source)
    .bind(page.fetch())
    .persistent(false)
    .fetch_all(&api.database)
    .await?;
    let (from_us, to_us) = range.unix_us();
    Ok(Json(page.close(rows, |row| Key {
        from_us,
        to_us,
        hour_us: range::unix_us(row.hour),
        source: row.source_id,
    })))
}

impl CommunicationParameters {
    fn page(&self, segments: &NodeSegments) -> Result<Page<Key>, Problem> {
        let filters = [
            Some(segments.family.as_str()),
            Some(segments.ip.as_str()),
            self.from.as_deref(),
            self.to.as_deref(),
        ];
        let scope = Scope::new("botnet_communications", &filters);
        Page::parse(scope, self.limit.as_deref(), self.cursor.as_deref())
    }

    fn range(&self, page: &Page<Key>) -> Result<Range, Problem> {
        match &page.after {
            Some(key) => Range::from_unix_us(key.from_us, key.to_us).ok_or(Problem::InvalidCursor),
            None => span::parse(
                self.from.as_deref(),
                self.to.as_deref(),
                OffsetDateTime::now_utc(),
            ),
        }
    }
}
