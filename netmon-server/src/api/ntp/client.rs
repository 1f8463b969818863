//! One NTP client.

use std::net::IpAddr;

use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::api::columns::{Address, Agent, NtpTimestamp, ReferenceId, ShortSeconds};

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
    /// From receive to transmit timestamp, by the server's clock.
    server_processing_ns: Option<i64>,
    network_delay_ns: Option<i64>,
    /// From transmit to receive timestamp, where both are times of clocks that agree.
    client_to_server_ns: Option<i64>,
    offset_ns: Option<i64>,
    /// The offset is right within this, as far as the path is concerned.
    offset_error_ns: Option<i64>,
    /// What the server may be wrong by: half its root delay, and its root dispersion.
    root_distance_ns: Option<i64>,
    /// Whether it was by Network Time Security.
    nts: Option<bool>,
    /// Where the sensor is: `client`, `server` or `transit`.
    vantage: Option<String>,
    /// The last eight requests as bits, the newest first; set = answered in time.
    reach: Option<i16>,
    /// Observed between requests, smoothed.
    interval_ns: Option<i64>,
    /// Good samples that the sensor keeps, at most eight; the next five figures are over them.
    samples: Option<i16>,
    /// Offset of the one with the least delay (RFC 5905, section 10).
    filtered_offset_ns: Option<i64>,
    filtered_delay_ns: Option<i64>,
    median_offset_ns: Option<i64>,
    /// 95 of 100 offsets are within this of the median.
    p95_deviation_ns: Option<i64>,
    /// Root mean square of the differences of successive offsets.
    jitter_ns: Option<i64>,
    /// The newest kiss code, such as `RATE`.
    last_kiss: Option<String>,
    #[serde(with = "time::serde::rfc3339::option")]
    last_kissed: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339")]
    pub first_seen: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub last_seen: OffsetDateTime,
    /// Null if no request of it was ever answered.
    #[serde(with = "time::serde::rfc3339::option")]
    last_answered: Option<OffsetDateTime>,
    /// Exchanges that began with a request.
    pub session_count: i64,
    pub answered_count: i64,
    /// Kisses-o'-death among the answers.
    kiss_count: i64,
}

/// The primary key, which lists are ordered by.
pub type Key = (i64, String, IpAddr, IpAddr);

impl NtpClient {
    /// Its fields, in their order: the head of a table.
    pub const HEAD: &[&str] = &[
        "agent",
        "agent_alias",
        "interface",
        "client",
        "server",
        "client_port",
        "server_port",
        "request_version",
        "version",
        "leap",
        "stratum",
        "poll",
        "precision",
        "root_delay_seconds",
        "root_dispersion_seconds",
        "reference_id",
        "reference_timestamp",
        "origin_timestamp",
        "receive_timestamp",
        "transmit_timestamp",
        "packet_length",
        "response_time_ns",
        "server_processing_ns",
        "network_delay_ns",
        "client_to_server_ns",
        "offset_ns",
        "offset_error_ns",
        "root_distance_ns",
        "nts",
        "vantage",
        "reach",
        "interval_ns",
        "samples",
        "filtered_offset_ns",
        "filtered_delay_ns",
        "median_offset_ns",
        "p95_deviation_ns",
        "jitter_ns",
        "last_kiss",
        "last_kissed",
        "first_seen",
        "last_seen",
        "last_answered",
        "session_count",
        "answered_count",
        "kiss_count",
    ];

    /// The columns of `ntp_clients c`, and of its agent, it is read from.
    pub const COLUMNS: &str = "c.agent_id, a.alias AS agent_alias, c.interface, c.client, c.server, \
         c.client_port, c.server_port, c.request_version, c.version, c.leap, c.stratum, c.poll, \
         c.\"precision\", c.root_delay, c.root_dispersion, c.reference_id, c.reference_timestamp, \
         c.origin_timestamp, c.receive_timestamp, c.transmit_timestamp, c.packet_length, \
         c.response_time_ns, c.server_processing_ns, c.network_delay_ns, c.client_to_server_ns, \
         c.offset_ns, c.offset_error_ns, c.root_distance_ns, c.nts, c.vantage, c.reach, \
         c.interval_ns, c.samples, c.filtered_offset_ns, c.filtered_delay_ns, c.median_offset_ns, \
         c.p95_deviation_ns, c.jitter_ns, c.last_kiss, c.last_kissed, c.first_seen, c.last_seen, \
         c.last_answered, c.session_count, c.answered_count, c.kiss_count";

    /// What orders it among others.
    pub fn key(&self) -> Key {
        (
            self.agent.0,
            self.interface.clone(),
            self.client.0.ip(),
            self.server.0.ip(),
        )
    }
}
