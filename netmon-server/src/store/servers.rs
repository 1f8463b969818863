//! NTP servers: one row per server that was asked, folded from exchanges and updated in place.

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

/// Folds sightings, each with its agent, into servers.
pub(super) fn fold<'a>(names: &'a Names, sightings: Vec<(i64, &Sighting)>) -> Vec<Folded<'a>> {
    fold::fold(names, sightings, |s| s.server)
}

static UPSERT: LazyLock<String> = LazyLock::new(|| {
    let shape = Shape {
        table: "ntp_servers",
        key: &[
            ("agent_id", "int8"),
            ("interface", "text"),
            ("server", "inet"),
        ],
        newest: &[("server_port", "int4")],
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
            ("response_time_ns", "int8"),
            ("server_processing_ns", "int8"),
            ("offset_ns", "int8"),
            ("root_distance_ns", "int8"),
            ("nts", "boolean"),
        ],
        counts: &["request_count", "answered_count", "kiss_count"],
    };
    shape.statement()
});

/// Writes servers, which come in the order of their keys.
pub(super) async fn upsert(
    connection: &mut PgConnection,
    servers: &[Folded<'_>],
) -> Result<(), StoreError> {
    if servers.is_empty() {
        return Ok(());
    }
    let columns = Columns(servers);
    let done = sqlx::query(&UPSERT)
        .bind(columns.each(|s| s.agent))
        .bind(columns.each(|s| s.interface))
        .bind(columns.each(|s| IpNetwork::from(s.newest.server)))
        .bind(columns.each(|s| s.newest.server_port))
        .bind(columns.answer(|a| Some(a.packet.version as i16)))
        .bind(columns.answer(|a| Some(a.packet.leap as i16)))
        .bind(columns.answer(|a| Some(a.packet.stratum as i16)))
        .bind(columns.answer(|a| Some(a.packet.poll as i16)))
        .bind(columns.answer(|a| Some(a.packet.precision as i16)))
        .bind(columns.answer(|a| Some(i64::from(a.packet.root_delay))))
        .bind(columns.answer(|a| Some(i64::from(a.packet.root_dispersion))))
        .bind(columns.answer(|a| Some(i64::from(a.packet.reference_id))))
        .bind(columns.answer(|a| Some(bits(a.packet.reference_timestamp))))
        .bind(columns.answer(|a| a.response_time_ns))
        .bind(columns.answer(|a| a.server_processing_ns))
        .bind(columns.answer(|a| a.offset_ns))
        .bind(columns.answer(|a| a.root_distance_ns))
        .bind(columns.answer(|a| Some(a.packet.nts)))
        .bind(columns.each(|s| s.kiss.map(|(kiss, _)| kiss.as_str().to_owned())))
        .bind(columns.each(|s| s.first_us))
        .bind(columns.each(|s| s.newest.at_us))
        .bind(columns.answer(|a| Some(a.at_us)))
        .bind(columns.each(|s| s.kiss.map(|(_, at_us)| at_us)))
        .bind(columns.each(|s| s.requests))
        .bind(columns.each(|s| s.answered))
        .bind(columns.each(|s| s.kisses))
        .execute(connection)
        .await
        .map_err(StoreError::of_rows)?;
    counted("ntp_servers", servers.len() as u64, done.rows_affected())
}
