//! One NTP exchange.

use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::kind::Match;
use crate::api::{
    columns::{Address, Agent, NtpTimestamp, ReferenceId, ShortSeconds, UnixNanoseconds},
    range,
};

/// One NTP request, its response, or both. Header fields are the response's unless they are named
/// after the request; what a missing packet would have said is null.
#[derive(Serialize, ToSchema, sqlx::FromRow)]
pub struct NtpExchange {
    #[sqlx(rename = "agent_id")]
    #[schema(inline)]
    agent: Agent,
    agent_alias: String,
    /// When the sensor first saw a packet of it.
    #[serde(with = "time::serde::rfc3339")]
    at: OffsetDateTime,
    #[serde(skip)]
    epoch: i64,
    #[serde(skip)]
    sequence: i64,
    #[serde(skip)]
    ordinal: i32,
    interface: String,
    /// Outer VLAN identifier; 0 = none.
    vlan: i32,
    /// Inner VLAN identifier; 0 = none.
    inner_vlan: i32,
    #[schema(value_type = Match)]
    r#match: String,
    #[schema(inline)]
    client: Address,
    client_port: i32,
    #[schema(inline)]
    server: Address,
    server_port: i32,
    /// When the sensor saw the request, by its clock; null if it did not.
    #[sqlx(rename = "requested_at_ns")]
    #[schema(inline)]
    requested_at: Option<UnixNanoseconds>,
    /// When the sensor saw the response, by its clock; null if it did not.
    #[sqlx(rename = "answered_at_ns")]
    #[schema(inline)]
    answered_at: Option<UnixNanoseconds>,
    request_version: Option<i16>,
    version: Option<i16>,
    mode: Option<i16>,
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
    #[schema(inline)]
    request_transmit_timestamp: Option<NtpTimestamp>,
    /// UDP payload, octets.
    request_length: Option<i32>,
    response_length: Option<i32>,
    /// IPv4 TTL or IPv6 hop limit.
    request_ttl: Option<i16>,
    response_ttl: Option<i16>,
    /// From request to response at the sensor.
    response_time_ns: Option<i64>,
    /// From receive to transmit timestamp, by the server's clock.
    server_processing_ns: Option<i64>,
    network_delay_ns: Option<i64>,
    /// How far the server's clock is ahead of the sensor's.
    offset_ns: Option<i64>,
    client_to_server_ns: Option<i64>,
    /// Why a derived value is null.
    null_reason: Option<String>,
    /// Whether the sensor's clock was synchronised; null if it did not say.
    clock_synchronised: Option<bool>,
}

impl NtpExchange {
    /// The columns of `ntp_exchanges e` it is read from.
    pub const COLUMNS: &str = "e.agent_id, e.at, e.epoch, e.sequence, e.ordinal, e.interface, \
         e.vlan, e.inner_vlan, e.match, e.client, e.client_port, e.server, e.server_port, \
         e.requested_at_ns, e.answered_at_ns, e.request_version, e.version, e.mode, e.leap, e.stratum, e.poll, \
         e.\"precision\", e.root_delay, e.root_dispersion, e.reference_id, e.reference_timestamp, \
         e.origin_timestamp, e.receive_timestamp, e.transmit_timestamp, \
         e.request_transmit_timestamp, e.request_length, e.response_length, e.request_ttl, \
         e.response_ttl, e.response_time_ns, e.server_processing_ns, e.network_delay_ns, \
         e.offset_ns, e.client_to_server_ns, e.null_reason, e.clock_synchronised";

    /// What orders it among others: time (µs since 1970), agent, epoch, sequence, ordinal.
    pub fn key(&self) -> (i64, i64, i64, i64, i32) {
        (
            range::unix_us(self.at),
            self.agent.0,
            self.epoch,
            self.sequence,
            self.ordinal,
        )
    }
}
