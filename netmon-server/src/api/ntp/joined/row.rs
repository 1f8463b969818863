//! A row of `ntp_exchanges` as a sighting.

use netmon_common::wire::NtpFlag;
use sqlx::{FromRow, types::ipnetwork::IpNetwork};
use time::OffsetDateTime;

use crate::{
    api::range,
    ntp::joined::{Clock, Path, Place, Sighting, Vantage},
};

/// What is read of an exchange.
#[derive(FromRow)]
pub struct Row {
    agent_id: i64,
    at: OffsetDateTime,
    epoch: i64,
    sequence: i64,
    ordinal: i32,
    interface: String,
    vlan: i32,
    inner_vlan: i32,
    r#match: String,
    client: IpNetwork,
    client_port: i32,
    server: IpNetwork,
    server_port: i32,
    requested_at_ns: Option<i64>,
    answered_at_ns: Option<i64>,
    origin_timestamp: Option<i64>,
    receive_timestamp: Option<i64>,
    transmit_timestamp: Option<i64>,
    request_transmit_timestamp: Option<i64>,
    request_ttl: Option<i16>,
    response_time_ns: Option<i64>,
    server_processing_ns: Option<i64>,
    offset_ns: Option<i64>,
    offset_error_ns: Option<i64>,
    null_reason: Option<String>,
    clock_synchronised: Option<bool>,
    clock_maximum_error_ns: Option<i64>,
    vantage: Option<String>,
    flags: Option<i32>,
}

impl Row {
    /// The columns of `ntp_exchanges e` it is read from.
    pub const COLUMNS: &str = "e.agent_id, e.at, e.epoch, e.sequence, e.ordinal, e.interface, e.vlan, \
         e.inner_vlan, e.match, e.client, e.client_port, e.server, e.server_port, \
         e.requested_at_ns, e.answered_at_ns, e.origin_timestamp, e.receive_timestamp, \
         e.transmit_timestamp, e.request_transmit_timestamp, e.request_ttl, e.response_time_ns, \
         e.server_processing_ns, e.offset_ns, e.offset_error_ns, e.null_reason, \
         e.clock_synchronised, e.clock_maximum_error_ns, e.vantage, e.flags";
}

impl From<Row> for Sighting {
    fn from(row: Row) -> Self {
        let raw = |timestamp: Option<i64>| timestamp.map_or(0, i64::cast_unsigned);
        let port = |port: i32| u16::try_from(port).unwrap_or(0);
        // Figures of another exchange say nothing of this one.
        let own = row.flags.unwrap_or(0) & NtpFlag::OfPrevious as i32 == 0;
        let cookie = row.request_transmit_timestamp.or(row.origin_timestamp);
        Self {
            key: (
                range::unix_us(row.at),
                row.agent_id,
                row.epoch,
                row.sequence,
                row.ordinal,
            ),
            place: Place {
                agent: row.agent_id,
                interface: row.interface,
                vlans: (row.vlan, row.inner_vlan),
            },
            path: Path {
                client: (row.client.ip(), port(row.client_port)).into(),
                server: (row.server.ip(), port(row.server_port)).into(),
            },
            matched: row.r#match,
            vantage: match row.vantage.as_deref() {
                Some("client") => Vantage::Client,
                Some("server") => Vantage::Server,
                _ => Vantage::Transit,
            },
            clock: match row.clock_synchronised {
                None => Clock::Unknown,
                Some(false) => Clock::Unsynchronised,
                Some(true) => Clock::Synchronised {
                    maximum_error_ns: row.clock_maximum_error_ns.map(i64::unsigned_abs),
                },
            },
            requested_at_ns: row.requested_at_ns,
            answered_at_ns: row.answered_at_ns,
            cookie: raw(cookie),
            receive_timestamp: raw(row.receive_timestamp),
            transmit_timestamp: raw(row.transmit_timestamp),
            response_time_ns: row.response_time_ns,
            server_processing_ns: row.server_processing_ns.filter(|_| own),
            offset_ns: row.offset_ns.filter(|_| own),
            offset_error_ns: row.offset_error_ns.map(i64::unsigned_abs).filter(|_| own),
            clock_stepped: row.null_reason.as_deref() == Some("clock_step"),
            request_ttl: row.request_ttl,
        }
    }
}
