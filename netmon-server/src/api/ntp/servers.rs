//! NTP servers: one row per server that was asked, with the newest of what it said.

use std::net::IpAddr;

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use sqlx::QueryBuilder;
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};

use super::{
    filter::{Wish, push_times, values},
    selection::MAX_COUNT,
};
use crate::api::{
    Api,
    columns::{Address, Agent, NtpTimestamp, ReferenceId, ShortSeconds},
    cursor::Scope,
    extract::Parameters,
    listing::{Listing, Page},
    problem::Problem,
};

/// One server, as one agent saw it on one interface. Header fields, times and offset are those of the
/// newest response, null before the first.
#[derive(Serialize, ToSchema, sqlx::FromRow)]
pub struct NtpServer {
    #[sqlx(rename = "agent_id")]
    #[schema(inline)]
    agent: Agent,
    agent_alias: String,
    interface: String,
    #[schema(inline)]
    server: Address,
    server_port: i32,
    version: Option<i16>,
    leap: Option<i16>,
    stratum: Option<i16>,
    /// Exponent of 2, seconds.
    poll: Option<i16>,
    /// Exponent of 2, seconds.
    precision: Option<i16>,
    #[sqlx(rename = "root_delay")]
    #[schema(inline)]
    root_delay_seconds: Option<ShortSeconds>,
    #[sqlx(rename = "root_dispersion")]
    #[schema(inline)]
    root_dispersion_seconds: Option<ShortSeconds>,
    #[schema(inline)]
    reference_id: Option<ReferenceId>,
    #[schema(inline)]
    reference_timestamp: Option<NtpTimestamp>,
    response_time_ns: Option<i64>,
    server_processing_ns: Option<i64>,
    offset_ns: Option<i64>,
    /// What it may be wrong by: half its root delay, and its root dispersion.
    root_distance_ns: Option<i64>,
    nts: Option<bool>,
    /// The newest kiss code, such as `RATE`.
    last_kiss: Option<String>,
    #[serde(with = "time::serde::rfc3339::option")]
    last_kissed: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339")]
    first_seen: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    last_seen: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    last_answered: Option<OffsetDateTime>,
    request_count: i64,
    answered_count: i64,
    kiss_count: i64,
    /// Clients that the agent saw with it on this interface, counted up to 10,000.
    clients: i64,
}

/// Several values of one parameter are separated by commas.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ServerParameters {
    /// Seen by this agent: id or alias.
    agent: Option<String>,
    /// Seen on this interface.
    interface: Option<String>,
    /// The server's IP address, or a network.
    server: Option<String>,
    stratum: Option<String>,
    version: Option<String>,
    /// Leap indicator, 0 to 3.
    leap: Option<String>,
    /// The newest offset is further from 0 than so many nanoseconds.
    #[param(value_type = Option<u64>)]
    offset_over_ns: Option<String>,
    /// Last seen at this time or later.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<String>,
    /// Last seen before this time.
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<String>,
    /// Most items of a page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
    limit: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// NTP servers by agent, interface and address.
#[utoipa::path(
    get,
    path = "/api/v1/ntp/servers",
    tag = "ntp",
    operation_id = "list_ntp_servers",
    params(ServerParameters),
    responses((status = 200, description = "A page of the list", body = Listing<NtpServer>))
)]
pub async fn list(
    State(api): State<Api>,
    Parameters(parameters): Parameters<ServerParameters>,
) -> Result<Json<Listing<NtpServer>>, Problem> {
    let wish = parameters.wish();
    let scope = Scope::new("ntp_servers", &[Some(&wish.fingerprint())]);
    let limit = parameters.limit.as_deref();
    let page: Page<(i64, String, IpAddr)> =
        Page::parse(scope, limit, parameters.cursor.as_deref())?;
    let filter = wish.filter(&api.database).await?;
    let mut query = QueryBuilder::new(
        "SELECT s.*, a.alias AS agent_alias, n.clients FROM (SELECT * FROM ntp_servers s WHERE true",
    );
    filter.push(&mut query, "s");
    push_times(
        &mut query,
        "s.last_seen",
        wish.from.as_deref(),
        wish.to.as_deref(),
    )?;
    if let Some((agent, interface, server)) = &page.after {
        query.push(" AND (s.agent_id, s.interface, s.server) > (");
        query.push_bind(*agent).push(", ");
        query.push_bind(interface.clone()).push(", ");
        query.push_bind(Address((*server).into())).push(")");
    }
    query.push(" ORDER BY s.agent_id, s.interface, s.server LIMIT ");
    query.push_bind(page.fetch());
    query.push(
        ") s JOIN agents a USING (agent_id) CROSS JOIN LATERAL (SELECT count(*) AS clients FROM (
             SELECT FROM ntp_clients c WHERE c.server = s.server AND c.agent_id = s.agent_id
                 AND c.interface = s.interface LIMIT ",
    );
    query.push_bind(MAX_COUNT);
    query.push(") c) n ORDER BY s.agent_id, s.interface, s.server");
    let rows: Vec<NtpServer> = query.build_query_as().fetch_all(&api.database).await?;
    Ok(Json(page.close(rows, |row| {
        (row.agent.0, row.interface.clone(), row.server.0.ip())
    })))
}

impl ServerParameters {
    fn wish(&self) -> Wish {
        Wish {
            agent: values(self.agent.as_deref()),
            interface: values(self.interface.as_deref()),
            server: values(self.server.as_deref()),
            stratum: values(self.stratum.as_deref()),
            version: values(self.version.as_deref()),
            leap: values(self.leap.as_deref()),
            from: self.from.clone(),
            to: self.to.clone(),
            offset_over_ns: self.offset_over_ns.clone(),
            ..Wish::default()
        }
    }
}
