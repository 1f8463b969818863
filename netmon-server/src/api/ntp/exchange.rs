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
    /// Where the sensor is: `client`, `server` or `transit`.
    vantage: Option<String>,
    /// The offset is right within this, as far as the path is concerned: half the network delay.
    offset_error_ns: Option<i64>,
    /// What the client measured (RFC 5905's theta and delta), where the sensor is on the client.
    client_offset_ns: Option<i64>,
    client_delay_ns: Option<i64>,
    /// Of a kiss-o'-death, such as `RATE`.
    kiss_code: Option<String>,
    /// Who answered, if not `server`.
    #[schema(inline)]
    answered_from: Option<Address>,
    answered_from_port: Option<i32>,
    /// Whether request or response carries Network Time Security.
    nts: Option<bool>,
    /// Types of the extension fields, in their order; null if there are none.
    request_extensions: Option<Vec<i32>>,
    response_extensions: Option<Vec<i32>>,
    /// Bits: 1 counts in statistics, 2 answered from another address, 4 seen at another interface, 8
    /// figures are of the exchange before (interleaved mode), 16 retry, 32 constant transmit timestamp,
    /// 64 NTS identifier does not match, 128 the client's T4 was recovered, 256 near a leap second,
    /// 512 the transmit timestamp of the request is a time.
    flags: Option<i32>,
    /// What the server may be wrong by: half its root delay, and its root dispersion.
    root_distance_ns: Option<i64>,
    /// The client's clock minus the sensor's, less the way between them.
    client_clock_ns: Option<i64>,
    /// From the response's transmit timestamp to the sensor.
    server_to_sensor_ns: Option<i64>,
    /// ICMP type and code, and who refused the request.
    refusal_type: Option<i16>,
    refusal_code: Option<i16>,
    #[schema(inline)]
    refused_by: Option<Address>,
    /// What the client measured in an earlier exchange, which this request discloses.
    #[sqlx(rename = "view_requested_at_ns")]
    #[schema(inline)]
    view_requested_at: Option<UnixNanoseconds>,
    view_offset_ns: Option<i64>,
    view_delay_ns: Option<i64>,
    /// Octets of key identifier and digest; 0 = no MAC, 4 = a crypto-NAK.
    request_mac_length: Option<i32>,
    response_mac_length: Option<i32>,
    request_key_id: Option<i64>,
    response_key_id: Option<i64>,
    crypto_nak: Option<bool>,
}

impl NtpExchange {
    /// Its fields, in their order: the head of a table.
    pub const HEAD: &[&str] = &[
        "agent",
        "agent_alias",
        "at",
        "interface",
        "vlan",
        "inner_vlan",
        "match",
        "client",
        "client_port",
        "server",
        "server_port",
        "requested_at",
        "answered_at",
        "request_version",
        "version",
        "mode",
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
        "request_transmit_timestamp",
        "request_length",
        "response_length",
        "request_ttl",
        "response_ttl",
        "response_time_ns",
        "server_processing_ns",
        "network_delay_ns",
        "offset_ns",
        "client_to_server_ns",
        "null_reason",
        "clock_synchronised",
        "vantage",
        "offset_error_ns",
        "client_offset_ns",
        "client_delay_ns",
        "kiss_code",
        "answered_from",
        "answered_from_port",
        "nts",
        "request_extensions",
        "response_extensions",
        "flags",
        "root_distance_ns",
        "client_clock_ns",
        "server_to_sensor_ns",
        "refusal_type",
        "refusal_code",
        "refused_by",
        "view_requested_at",
        "view_offset_ns",
        "view_delay_ns",
        "request_mac_length",
        "response_mac_length",
        "request_key_id",
        "response_key_id",
        "crypto_nak",
    ];

    /// The columns of `ntp_exchanges e` it is read from.
    pub const COLUMNS: &str = "e.agent_id, e.at, e.epoch, e.sequence, e.ordinal, e.interface, \
         e.vlan, e.inner_vlan, e.match, e.client, e.client_port, e.server, e.server_port, \
         e.requested_at_ns, e.answered_at_ns, e.request_version, e.version, e.mode, e.leap, e.stratum, e.poll, \
         e.\"precision\", e.root_delay, e.root_dispersion, e.reference_id, e.reference_timestamp, \
         e.origin_timestamp, e.receive_timestamp, e.transmit_timestamp, \
         e.request_transmit_timestamp, e.request_length, e.response_length, e.request_ttl, \
         e.response_ttl, e.response_time_ns, e.server_processing_ns, e.network_delay_ns, \
         e.offset_ns, e.client_to_server_ns, e.null_reason, e.clock_synchronised, e.vantage, \
         e.offset_error_ns, e.client_offset_ns, e.client_delay_ns, e.kiss_code, e.answered_from, \
         e.answered_from_port, e.nts, e.request_extensions, e.response_extensions, e.flags, \
         e.root_distance_ns, e.client_clock_ns, e.server_to_sensor_ns, e.refusal_type, \
         e.refusal_code, e.refused_by, e.view_requested_at_ns, e.view_offset_ns, e.view_delay_ns, \
         e.request_mac_length, e.response_mac_length, e.request_key_id, e.response_key_id, \
         e.crypto_nak";

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
