//! NTP clients: one row per client and server, folded from exchanges and updated in place.

use std::sync::LazyLock;

use ipnetwork::IpNetwork;
use sqlx::PgConnection;

use super::{
    StoreError,
    error::counted,
    exchanges::bits,
    fold::{self, Columns, Folded},
    names::Names,
    sightings::Sighting,
    upsert::Shape,
};

/// Folds sightings, each with its agent, into clients of servers.
pub(super) fn fold<'a>(names: &'a Names, sightings: Vec<(i64, &Sighting)>) -> Vec<Folded<'a>> {
    fold::fold(names, sightings, |s| (s.client, s.server))
}

static UPSERT: LazyLock<String> = LazyLock::new(|| {
    let shape = Shape {
        table: "ntp_clients",
        key: &[
            ("agent_id", "int8"),
            ("interface", "text"),
            ("client", "inet"),
            ("server", "inet"),
        ],
        newest: &[
            ("client_port", "int4"),
            ("server_port", "int4"),
            ("request_version", "int2"),
            ("vantage", "text"),
            ("reach", "int2"),
            ("interval_ns", "int8"),
            ("samples", "int2"),
            ("filtered_offset_ns", "int8"),
            ("filtered_delay_ns", "int8"),
            ("median_offset_ns", "int8"),
            ("p95_deviation_ns", "int8"),
            ("jitter_ns", "int8"),
        ],
        answer: &[
            ("version", "int2"),
            ("leap", "int2"),
            ("stratum", "int2"),
            ("poll", "int2"),
            ("\"precision\"", "int2"),
            ("root_delay", "int8"),
            ("root_dispersion", "int8"),
            ("reference_id", "int8"),
            ("reference_timestamp", "int8"),
            ("origin_timestamp", "int8"),
            ("receive_timestamp", "int8"),
            ("transmit_timestamp", "int8"),
            ("packet_length", "int4"),
            ("response_time_ns", "int8"),
            ("offset_ns", "int8"),
            ("server_processing_ns", "int8"),
            ("network_delay_ns", "int8"),
            ("client_to_server_ns", "int8"),
            ("offset_error_ns", "int8"),
            ("root_distance_ns", "int8"),
            ("nts", "boolean"),
        ],
        counts: &["session_count", "answered_count", "kiss_count"],
    };
    shape.statement()
});

/// Writes clients, which come in the order of their keys.
pub(super) async fn upsert(
    connection: &mut PgConnection,
    clients: &[Folded<'_>],
) -> Result<(), StoreError> {
    if clients.is_empty() {
        return Ok(());
    }
    let columns = Columns(clients);
    let signed = u64::cast_signed;
    let done = sqlx::query(&UPSERT)
        .bind(columns.each(|c| c.agent))
        .bind(columns.each(|c| c.interface))
        .bind(columns.each(|c| IpNetwork::from(c.newest.client)))
        .bind(columns.each(|c| IpNetwork::from(c.newest.server)))
        .bind(columns.each(|c| c.newest.client_port))
        .bind(columns.each(|c| c.newest.server_port))
        .bind(columns.each(|c| c.newest.request_version))
        .bind(columns.each(|c| c.newest.vantage))
        .bind(columns.association(|a| Some(a.reach as i16)))
        .bind(columns.association(|a| Some(signed(a.interval_ns)).filter(|ns| *ns != 0)))
        .bind(columns.association(|a| Some(a.samples as i16)))
        .bind(columns.association(|a| a.filtered_offset_ns))
        .bind(columns.association(|a| a.filtered_delay_ns))
        .bind(columns.association(|a| a.median_offset_ns))
        .bind(columns.association(|a| a.p95_deviation_ns.map(signed)))
        .bind(columns.association(|a| a.jitter_ns.map(signed)))
        .bind(columns.answer(|a| Some(a.packet.version as i16)))
        .bind(columns.answer(|a| Some(a.packet.leap as i16)))
        .bind(columns.answer(|a| Some(a.packet.stratum as i16)))
        .bind(columns.answer(|a| Some(a.packet.poll as i16)))
        .bind(columns.answer(|a| Some(a.packet.precision as i16)))
        .bind(columns.answer(|a| Some(i64::from(a.packet.root_delay))))
        .bind(columns.answer(|a| Some(i64::from(a.packet.root_dispersion))))
        .bind(columns.answer(|a| Some(i64::from(a.packet.reference_id))))
        .bind(columns.answer(|a| Some(bits(a.packet.reference_timestamp))))
        .bind(columns.answer(|a| Some(bits(a.packet.origin_timestamp))))
        .bind(columns.answer(|a| Some(bits(a.packet.receive_timestamp))))
        .bind(columns.answer(|a| Some(bits(a.packet.transmit_timestamp))))
        .bind(columns.answer(|a| Some(a.packet.length as i32)))
        .bind(columns.answer(|a| a.response_time_ns))
        .bind(columns.answer(|a| a.offset_ns))
        .bind(columns.answer(|a| a.server_processing_ns))
        .bind(columns.answer(|a| a.network_delay_ns))
        .bind(columns.answer(|a| a.client_to_server_ns))
        .bind(columns.answer(|a| a.offset_error_ns))
        .bind(columns.answer(|a| a.root_distance_ns))
        .bind(columns.answer(|a| Some(a.packet.nts)))
        .bind(columns.each(|c| c.kiss.map(|(kiss, _)| kiss.as_str().to_owned())))
        .bind(columns.each(|c| c.first_us))
        .bind(columns.each(|c| c.newest.at_us))
        .bind(columns.answer(|a| Some(a.at_us)))
        .bind(columns.each(|c| c.kiss.map(|(_, at_us)| at_us)))
        .bind(columns.each(|c| c.requests))
        .bind(columns.each(|c| c.answered))
        .bind(columns.each(|c| c.kisses))
        .execute(connection)
        .await
        .map_err(StoreError::of_rows)?;
    counted("ntp_clients", clients.len() as u64, done.rows_affected())
}
