//! NTP clients: one row per client and server, folded from exchanges and updated in place.

use std::sync::LazyLock;

use ipnetwork::IpNetwork;
use netmon_common::wire::NtpAssociation;
use sqlx::PgConnection;

use super::{
    StoreError,
    error::counted,
    exchanges::bits,
    names::Names,
    sightings::{Answer, Kiss, Sighting},
    upsert::Shape,
};

/// What a transaction knows of a client.
#[derive(Debug)]
pub(super) struct Client<'a> {
    agent: i64,
    interface: &'a str,
    newest: Sighting,
    first_us: i64,
    sessions: i64,
    answered: i64,
    kisses: i64,
    /// The newest response.
    answer: Option<Answer>,
    /// The newest kiss-o'-death, and when it came.
    kiss: Option<(Kiss, i64)>,
}

/// Folds sightings, each with its agent, into clients in the order of their keys, in which every
/// transaction locks them.
pub(super) fn fold<'a>(names: &'a Names, mut sightings: Vec<(i64, &Sighting)>) -> Vec<Client<'a>> {
    let key = |(agent, s): &(i64, &Sighting)| (*agent, names.get(s.interface), s.client, s.server);
    // Stable: of two at the same time the later in its batch counts.
    sightings.sort_by(|a, b| key(a).cmp(&key(b)));
    let alike = sightings.chunk_by(|a, b| key(a) == key(b));
    alike
        .map(|of_client| {
            let (agent, first) = of_client[0];
            let mut folded = Client {
                agent,
                interface: names.get(first.interface),
                newest: *first,
                first_us: first.at_us,
                sessions: 0,
                answered: 0,
                kisses: 0,
                answer: None,
                kiss: None,
            };
            for (_, sighting) in of_client {
                folded.add(sighting);
            }
            folded
        })
        .collect()
}

impl Client<'_> {
    fn add(&mut self, sighting: &Sighting) {
        self.sessions += i64::from(sighting.begins_with_request);
        self.first_us = self.first_us.min(sighting.at_us);
        if sighting.at_us >= self.newest.at_us {
            self.newest = *sighting;
        }
        let Some(answer) = sighting.answer else {
            return;
        };
        self.answered += 1;
        if self.answer.is_none_or(|known| answer.at_us >= known.at_us) {
            self.answer = Some(answer);
        }
        if let Some(kiss) = answer.kiss() {
            self.kisses += 1;
            if self.kiss.is_none_or(|(_, at_us)| answer.at_us >= at_us) {
                self.kiss = Some((kiss, answer.at_us));
            }
        }
    }
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
    clients: &[Client<'_>],
) -> Result<(), StoreError> {
    if clients.is_empty() {
        return Ok(());
    }
    let each = Columns(clients);
    let signed = u64::cast_signed;
    let done = sqlx::query(&UPSERT)
        .bind(each.client(|c| c.agent))
        .bind(each.client(|c| c.interface))
        .bind(each.client(|c| IpNetwork::from(c.newest.client)))
        .bind(each.client(|c| IpNetwork::from(c.newest.server)))
        .bind(each.client(|c| c.newest.client_port))
        .bind(each.client(|c| c.newest.server_port))
        .bind(each.client(|c| c.newest.request_version))
        .bind(each.client(|c| c.newest.vantage))
        .bind(each.association(|a| Some(a.reach as i16)))
        .bind(each.association(|a| Some(signed(a.interval_ns)).filter(|ns| *ns != 0)))
        .bind(each.association(|a| Some(a.samples as i16)))
        .bind(each.association(|a| a.filtered_offset_ns))
        .bind(each.association(|a| a.filtered_delay_ns))
        .bind(each.association(|a| a.median_offset_ns))
        .bind(each.association(|a| a.p95_deviation_ns.map(signed)))
        .bind(each.association(|a| a.jitter_ns.map(signed)))
        .bind(each.answer(|a| Some(a.packet.version as i16)))
        .bind(each.answer(|a| Some(a.packet.leap as i16)))
        .bind(each.answer(|a| Some(a.packet.stratum as i16)))
        .bind(each.answer(|a| Some(a.packet.poll as i16)))
        .bind(each.answer(|a| Some(a.packet.precision as i16)))
        .bind(each.answer(|a| Some(i64::from(a.packet.root_delay))))
        .bind(each.answer(|a| Some(i64::from(a.packet.root_dispersion))))
        .bind(each.answer(|a| Some(i64::from(a.packet.reference_id))))
        .bind(each.answer(|a| Some(bits(a.packet.reference_timestamp))))
        .bind(each.answer(|a| Some(bits(a.packet.origin_timestamp))))
        .bind(each.answer(|a| Some(bits(a.packet.receive_timestamp))))
        .bind(each.answer(|a| Some(bits(a.packet.transmit_timestamp))))
        .bind(each.answer(|a| Some(a.packet.length as i32)))
        .bind(each.answer(|a| a.response_time_ns))
        .bind(each.answer(|a| a.offset_ns))
        .bind(each.answer(|a| a.server_processing_ns))
        .bind(each.answer(|a| a.network_delay_ns))
        .bind(each.answer(|a| a.client_to_server_ns))
        .bind(each.answer(|a| a.offset_error_ns))
        .bind(each.answer(|a| a.root_distance_ns))
        .bind(each.answer(|a| Some(a.packet.nts)))
        .bind(each.client(|c| c.kiss.map(|(kiss, _)| kiss.as_str().to_owned())))
        .bind(each.client(|c| c.first_us))
        .bind(each.client(|c| c.newest.at_us))
        .bind(each.answer(|a| Some(a.at_us)))
        .bind(each.client(|c| c.kiss.map(|(_, at_us)| at_us)))
        .bind(each.client(|c| c.sessions))
        .bind(each.client(|c| c.answered))
        .bind(each.client(|c| c.kisses))
        .execute(connection)
        .await
        .map_err(StoreError::of_rows)?;
    counted("ntp_clients", clients.len() as u64, done.rows_affected())
}

/// One array per column.
struct Columns<'a>(&'a [Client<'a>]);

impl<'a> Columns<'a> {
    fn client<T>(&self, column: impl Fn(&Client<'a>) -> T) -> Vec<T> {
        self.0.iter().map(column).collect()
    }

    fn association<T>(&self, column: impl Fn(&NtpAssociation) -> Option<T>) -> Vec<Option<T>> {
        self.client(|client| client.newest.association.as_ref().and_then(&column))
    }

    fn answer<T>(&self, column: impl Fn(&Answer) -> Option<T>) -> Vec<Option<T>> {
        self.client(|client| client.answer.as_ref().and_then(&column))
    }
}
