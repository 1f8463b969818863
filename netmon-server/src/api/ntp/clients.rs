//! NTP clients: one row per client and server, with the newest of what they said.

use std::net::IpAddr;

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use sqlx::{Postgres, QueryBuilder};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};

use crate::api::{
    Api, agents,
    columns::{Address, Agent, NtpTimestamp, ReferenceId, ShortSeconds},
    cursor::Scope,
    extract::Parameters,
    listing::{Listing, Page},
    parameter::address,
    problem::Problem,
    range,
};

/// One client of one server, as one agent saw it on one interface. Ports are those of the newest
/// exchange; header fields, response time and offset are those of the newest response, null before
/// the first.
#[derive(Serialize, ToSchema, sqlx::FromRow)]
pub struct NtpClient {
    #[sqlx(rename = "agent_id")]
    #[schema(inline)]
    agent: Agent,
    agent_alias: String,
    interface: String,
    #[schema(inline)]
    client: Address,
    #[schema(inline)]
    server: Address,
    client_port: i32,
    server_port: i32,
    /// NTP version of the request.
    request_version: Option<i16>,
    /// NTP version of the response.
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
    #[schema(inline)]
    origin_timestamp: Option<NtpTimestamp>,
    #[schema(inline)]
    receive_timestamp: Option<NtpTimestamp>,
    #[schema(inline)]
    transmit_timestamp: Option<NtpTimestamp>,
    /// UDP payload, octets.
    packet_length: Option<i32>,
    response_time_ns: Option<i64>,
    offset_ns: Option<i64>,
    #[serde(with = "time::serde::rfc3339")]
    first_seen: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    last_seen: OffsetDateTime,
    /// Null if no request of it was ever answered.
    #[serde(with = "time::serde::rfc3339::option")]
    last_answered: Option<OffsetDateTime>,
    /// Exchanges that began with a request.
    session_count: i64,
    answered_count: i64,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ClientParameters {
    /// Seen by this agent: id or alias.
    agent: Option<String>,
    /// Seen on this interface.
    interface: Option<String>,
    /// The client's IP address.
    #[param(example = "192.0.2.1")]
    client: Option<String>,
    /// The server's IP address.
    server: Option<String>,
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

/// The primary key, which the list is ordered by.
type Key = (i64, String, IpAddr, IpAddr);

/// NTP clients by agent, interface, client and server.
#[utoipa::path(
    get,
    path = "/api/v1/ntp/clients",
    tag = "ntp",
    operation_id = "list_ntp_clients",
    params(ClientParameters),
    responses((status = 200, description = "A page of the list", body = Listing<NtpClient>))
)]
pub async fn list(
    State(api): State<Api>,
    Parameters(parameters): Parameters<ClientParameters>,
) -> Result<Json<Listing<NtpClient>>, Problem> {
    let page = parameters.page()?;
    let mut query = QueryBuilder::new(SELECT);
    parameters.filter(&mut query)?;
    if let Some(agent) = &parameters.agent {
        let agent = agents::find(&api.database, agent).await?.id();
        query
            .push(" AND c.agent_id = ")
            .push_bind(agent.to_bigint());
    }
    if let Some((agent, interface, client, server)) = &page.after {
        query
            .push(" AND (c.agent_id, c.interface, c.client, c.server) > (")
            .push_bind(*agent)
            .push(", ")
            .push_bind(interface)
            .push(", ")
            .push_bind(Address((*client).into()))
            .push(", ")
            .push_bind(Address((*server).into()))
            .push(")");
    }
    query
        .push(" ORDER BY c.agent_id, c.interface, c.client, c.server LIMIT ")
        .push_bind(page.fetch());
    let rows: Vec<NtpClient> = query.build_query_as().fetch_all(&api.database).await?;
    Ok(Json(page.close(rows, NtpClient::key)))
}

const SELECT: &str = "SELECT c.agent_id, a.alias AS agent_alias, c.interface, c.client, c.server, \
     c.client_port, c.server_port, c.request_version, c.version, c.leap, c.stratum, c.poll, \
     c.\"precision\", c.root_delay, c.root_dispersion, c.reference_id, c.reference_timestamp, \
     c.origin_timestamp, c.receive_timestamp, c.transmit_timestamp, c.packet_length, \
     c.response_time_ns, c.offset_ns, c.first_seen, c.last_seen, c.last_answered, \
     c.session_count, c.answered_count \
     FROM ntp_clients c JOIN agents a USING (agent_id) WHERE true";

impl ClientParameters {
    fn page(&self) -> Result<Page<Key>, Problem> {
        let filters = [
            &self.agent,
            &self.interface,
            &self.client,
            &self.server,
            &self.from,
            &self.to,
        ];
        let scope = Scope::new("ntp_clients", &filters.map(Option::as_deref));
        Page::parse(scope, self.limit.as_deref(), self.cursor.as_deref())
    }

    fn filter<'a>(&'a self, query: &mut QueryBuilder<'a, Postgres>) -> Result<(), Problem> {
        if let Some(interface) = &self.interface {
            query.push(" AND c.interface = ").push_bind(interface);
        }
        if let Some(client) = address("client", self.client.as_deref())? {
            query.push(" AND c.client = ").push_bind(client);
        }
        if let Some(server) = address("server", self.server.as_deref())? {
            query.push(" AND c.server = ").push_bind(server);
        }
        if let Some(from) = &self.from {
            query
                .push(" AND c.last_seen >= ")
                .push_bind(range::time("from", from)?);
        }
        if let Some(to) = &self.to {
            query
                .push(" AND c.last_seen < ")
                .push_bind(range::time("to", to)?);
        }
        Ok(())
    }
}

impl NtpClient {
    fn key(&self) -> Key {
        (
            self.agent.0,
            self.interface.clone(),
            self.client.0.ip(),
            self.server.0.ip(),
        )
    }
}
