//! NTP servers: one row per server that was asked, folded from exchanges and updated in place.

use std::{net::IpAddr, sync::LazyLock};

use ipnetwork::IpNetwork;
use sqlx::PgConnection;

use super::{
    StoreError,
    error::counted,
    exchanges::bits,
    names::Names,
    sightings::{Answer, Kiss, Sighting},
    upsert::Shape,
};

/// What a transaction knows of a server.
#[derive(Debug)]
pub(super) struct Server<'a> {
    agent: i64,
    interface: &'a str,
    server: IpAddr,
    port: i32,
    first_us: i64,
    last_us: i64,
    requests: i64,
    answered: i64,
    kisses: i64,
    /// The newest response.
    answer: Option<Answer>,
    /// The newest kiss-o'-death, and when it came.
    kiss: Option<(Kiss, i64)>,
}

/// Folds sightings, each with its agent, into servers in the order of their keys, in which every
/// transaction locks them.
pub(super) fn fold<'a>(names: &'a Names, mut sightings: Vec<(i64, &Sighting)>) -> Vec<Server<'a>> {
    let key = |(agent, s): &(i64, &Sighting)| (*agent, names.get(s.interface), s.server);
    // Stable: of two at the same time the later in its batch counts.
    sightings.sort_by(|a, b| key(a).cmp(&key(b)));
    let alike = sightings.chunk_by(|a, b| key(a) == key(b));
    alike
        .map(|of_server| {
            let (agent, interface, server) = key(&of_server[0]);
            let mut folded = Server {
                agent,
                interface,
                server,
                port: 0,
                first_us: i64::MAX,
                last_us: i64::MIN,
                requests: 0,
                answered: 0,
                kisses: 0,
                answer: None,
                kiss: None,
            };
            for (_, sighting) in of_server {
                folded.add(sighting);
            }
            folded
        })
        .collect()
}

impl Server<'_> {
    fn add(&mut self, sighting: &Sighting) {
        self.requests += i64::from(sighting.begins_with_request);
        self.first_us = self.first_us.min(sighting.at_us);
        if sighting.at_us >= self.last_us {
            (self.last_us, self.port) = (sighting.at_us, sighting.server_port);
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
    servers: &[Server<'_>],
) -> Result<(), StoreError> {
    if servers.is_empty() {
        return Ok(());
    }
    let each = Columns(servers);
    let done = sqlx::query(&UPSERT)
        .bind(each.server(|s| s.agent))
        .bind(each.server(|s| s.interface))
        .bind(each.server(|s| IpNetwork::from(s.server)))
        .bind(each.server(|s| s.port))
        .bind(each.answer(|a| a.packet.version as i16))
        .bind(each.answer(|a| a.packet.leap as i16))
        .bind(each.answer(|a| a.packet.stratum as i16))
        .bind(each.answer(|a| a.packet.poll as i16))
        .bind(each.answer(|a| a.packet.precision as i16))
        .bind(each.answer(|a| i64::from(a.packet.root_delay)))
        .bind(each.answer(|a| i64::from(a.packet.root_dispersion)))
        .bind(each.answer(|a| i64::from(a.packet.reference_id)))
        .bind(each.answer(|a| bits(a.packet.reference_timestamp)))
        .bind(each.server(|s| s.answer.and_then(|a| a.response_time_ns)))
        .bind(each.server(|s| s.answer.and_then(|a| a.server_processing_ns)))
        .bind(each.server(|s| s.answer.and_then(|a| a.offset_ns)))
        .bind(each.server(|s| s.answer.and_then(|a| a.root_distance_ns)))
        .bind(each.answer(|a| a.packet.nts))
        .bind(each.server(|s| s.kiss.map(|(kiss, _)| kiss.as_str().to_owned())))
        .bind(each.server(|s| s.first_us))
        .bind(each.server(|s| s.last_us))
        .bind(each.answer(|a| a.at_us))
        .bind(each.server(|s| s.kiss.map(|(_, at_us)| at_us)))
        .bind(each.server(|s| s.requests))
        .bind(each.server(|s| s.answered))
        .bind(each.server(|s| s.kisses))
        .execute(connection)
        .await
        .map_err(StoreError::of_rows)?;
    counted("ntp_servers", servers.len() as u64, done.rows_affected())
}

/// One array per column.
struct Columns<'a>(&'a [Server<'a>]);

impl<'a> Columns<'a> {
    fn server<T>(&self, column: impl Fn(&Server<'a>) -> T) -> Vec<T> {
        self.0.iter().map(column).collect()
    }

    fn answer<T>(&self, column: impl Fn(&Answer) -> T) -> Vec<Option<T>> {
        let answers = self.0.iter().map(|server| server.answer.as_ref());
        answers.map(|answer| answer.map(&column)).collect()
    }
}
