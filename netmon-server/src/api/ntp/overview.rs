//! What there is of NTP in all: by interface, of the service, and whether it is well.

use axum::{Json, extract::State};
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::{
    api::{Api, columns::Agent, problem::Problem},
    metrics::{Lane, Table},
};

/// What was seen on one interface of one agent.
#[derive(Serialize, ToSchema, sqlx::FromRow)]
pub struct NtpInterface {
    #[sqlx(rename = "agent_id")]
    #[schema(inline)]
    agent: Agent,
    agent_alias: String,
    interface: String,
    /// Addresses that asked.
    clients: i64,
    servers: i64,
    /// Exchanges that began with a request.
    session_count: i64,
    answered_count: i64,
    kiss_count: i64,
    #[serde(with = "time::serde::rfc3339")]
    first_seen: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    last_seen: OffsetDateTime,
}

/// Every interface on which NTP was seen.
#[derive(Serialize, ToSchema)]
pub struct NtpInterfaces {
    items: Vec<NtpInterface>,
}

/// What this server did since its start.
#[derive(Serialize, ToSchema)]
pub struct NtpService {
    /// Exchanges, and questions of modes 6 and 7, that came; whatever came twice is in it twice.
    total_received: u64,
    /// Those that are stored.
    total_processed: u64,
    /// Batches of them that wait for a writer.
    queue_size: u64,
    /// Batches of any kind that can never be stored.
    processing_errors: u64,
    /// Rows added: one for each that is stored, or for several that an agent counted together.
    total_inserted: u64,
    /// Rows of clients and servers added or updated in place.
    total_updated: u64,
}

/// Whether exchanges can be stored and read.
#[derive(Serialize, ToSchema)]
pub struct NtpHealth {
    /// `healthy`; otherwise the answer is a problem.
    #[schema(example = "healthy")]
    status: &'static str,
    /// When any client was seen last; null: never.
    #[serde(with = "time::serde::rfc3339::option")]
    last_seen: Option<OffsetDateTime>,
    queue_size: u64,
}

/// What was seen on each interface.
#[utoipa::path(
    get,
    path = "/api/v1/ntp/interfaces",
    tag = "ntp",
    operation_id = "list_ntp_interfaces",
    responses((status = 200, description = "All interfaces", body = NtpInterfaces))
)]
pub async fn interfaces(State(api): State<Api>) -> Result<Json<NtpInterfaces>, Problem> {
    let items = sqlx::query_as(
        "SELECT s.agent_id, a.alias AS agent_alias, s.interface, c.clients, s.servers,
                s.session_count, s.answered_count, s.kiss_count, s.first_seen, s.last_seen
         FROM (SELECT agent_id, interface, count(*) AS servers,
                      sum(request_count)::int8 AS session_count,
                      sum(answered_count)::int8 AS answered_count,
                      sum(kiss_count)::int8 AS kiss_count,
                      min(first_seen) AS first_seen, max(last_seen) AS last_seen
               FROM ntp_servers GROUP BY agent_id, interface) s
         JOIN agents a USING (agent_id)
         CROSS JOIN LATERAL (
             SELECT count(*) AS clients FROM (
                 SELECT DISTINCT client FROM ntp_clients c
                 WHERE c.agent_id = s.agent_id AND c.interface = s.interface) d) c
         ORDER BY s.agent_id, s.interface LIMIT 10000",
    )
    .fetch_all(&api.database)
    .await?;
    Ok(Json(NtpInterfaces { items }))
}

/// The same, at the path that earlier programs call.
#[utoipa::path(
    get,
    path = "/api/ntp/history/interfaces/statistics",
    tag = "ntp",
    operation_id = "list_ntp_history_interfaces",
    responses((status = 200, description = "All interfaces", body = NtpInterfaces))
)]
pub async fn history_interfaces(api: State<Api>) -> Result<Json<NtpInterfaces>, Problem> {
    interfaces(api).await
}

/// What this server did since its start.
#[utoipa::path(
    get,
    path = "/api/v1/ntp/service",
    tag = "ntp",
    operation_id = "show_ntp_service",
    responses((status = 200, description = "Running totals", body = NtpService))
)]
pub async fn service(State(api): State<Api>) -> Json<NtpService> {
    let rows = |table| api.metrics.rows_total(table);
    let whole = rows(Table::Exchanges) + rows(Table::Controls);
    Json(NtpService {
        total_received: api.metrics.ntp.received_total(),
        total_processed: whole + api.metrics.ntp.folded_total(),
        queue_size: queue_size(&api),
        processing_errors: api.metrics.batches_refused(),
        total_inserted: whole + rows(Table::Folds),
        total_updated: rows(Table::Clients) + rows(Table::Servers),
    })
}

/// The same, at the path that earlier programs call.
#[utoipa::path(
    get,
    path = "/api/ntp/history/service/statistics",
    tag = "ntp",
    operation_id = "show_ntp_history_service",
    responses((status = 200, description = "Running totals", body = NtpService))
)]
pub async fn history_service(api: State<Api>) -> Json<NtpService> {
    service(api).await
}

/// Whether exchanges can be stored and read.
#[utoipa::path(
    get,
    path = "/api/v1/ntp/health",
    tag = "ntp",
    operation_id = "show_ntp_health",
    responses((status = 200, description = "They can", body = NtpHealth))
)]
pub async fn health(State(api): State<Api>) -> Result<Json<NtpHealth>, Problem> {
    // Of the servers: they are few, and seen when their clients are.
    let last_seen = sqlx::query_scalar("SELECT max(last_seen) FROM ntp_servers")
        .fetch_one(&api.database)
        .await?;
    Ok(Json(NtpHealth {
        status: "healthy",
        last_seen,
        queue_size: queue_size(&api),
    }))
}

/// The same, at the path that earlier programs call.
#[utoipa::path(
    get,
    path = "/api/ntp/history/health",
    tag = "ntp",
    operation_id = "show_ntp_history_health",
    responses((status = 200, description = "They can", body = NtpHealth))
)]
pub async fn history_health(api: State<Api>) -> Result<Json<NtpHealth>, Problem> {
    health(api).await
}

fn queue_size(api: &Api) -> u64 {
    let waiting = api.metrics.writers.queued(Lane::Exchanges);
    waiting.max(0).unsigned_abs()
}
