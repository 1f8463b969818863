//! NTP clients: one row per client and server, folded from exchanges and updated in place.

use std::{net::IpAddr, sync::LazyLock};

use ipnetwork::IpNetwork;
use netmon_common::wire::{NtpMatch, NtpPacket};
use sqlx::PgConnection;

use super::{
    StoreError,
    error::counted,
    exchanges::{Checked, bits},
    names::{Name, Names},
    rows::Rows,
};

/// What one exchange says of a client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sighting {
    interface: Name,
    client: IpAddr,
    server: IpAddr,
    at_us: i64,
    client_port: i32,
    server_port: i32,
    request_version: Option<i16>,
    begins_with_request: bool,
    answer: Option<Answer>,
}

#[derive(Clone, Copy, Debug)]
struct Answer {
    at_us: i64,
    packet: NtpPacket,
    response_time_ns: Option<i64>,
    offset_ns: Option<i64>,
}

/// What a transaction knows of a client.
#[derive(Debug)]
pub(super) struct Client<'a> {
    agent: i64,
    interface: &'a str,
    newest: Sighting,
    first_us: i64,
    session_count: i64,
    answered_count: i64,
    /// The newest response.
    answer: Option<Answer>,
}

/// Notes what an exchange says of its client.
///
/// Responses nobody asked for are left out: whoever sends them chooses their addresses, and must
/// neither create clients nor change what is known of one.
pub(super) fn seen(rows: &mut Rows, checked: &Checked<'_>) {
    let begins_with_request = match checked.matched {
        NtpMatch::Basic | NtpMatch::Unanswered | NtpMatch::Superseded | NtpMatch::SensorStopped => {
            true
        }
        // Its request was counted as unanswered when the time-out came.
        NtpMatch::Late => false,
        _ => return,
    };
    let exchange = checked.exchange;
    let answered = exchange.response.zip(checked.answered_us);
    let sighting = Sighting {
        interface: rows.names.insert(&exchange.interface),
        client: checked.client,
        server: checked.server,
        at_us: checked.at_us,
        client_port: exchange.client_port as i32,
        server_port: exchange.server_port as i32,
        request_version: exchange.request.map(|packet| packet.version as i16),
        begins_with_request,
        answer: answered.map(|(packet, at_us)| Answer {
            at_us,
            packet,
            response_time_ns: exchange.response_time_ns,
            offset_ns: exchange.offset_ns,
        }),
    };
    rows.clients.push(sighting);
}

/// Folds sightings, each with its agent, into clients in the order of their keys, in which every
/// transaction locks them.
pub(super) fn fold<'a>(names: &'a Names, mut sightings: Vec<(i64, &Sighting)>) -> Vec<Client<'a>> {
    let key = |(agent, s): &(i64, &Sighting)| (*agent, names.get(s.interface), s.client, s.server);
    // Stable: of two at the same time the later in its batch counts.
    sightings.sort_by(|a, b| key(a).cmp(&key(b)));
    let mut clients: Vec<Client<'a>> = Vec::new();
    for (agent, sighting) in sightings {
        match clients.last_mut() {
            Some(last) if last.is_of(agent, names.get(sighting.interface), sighting) => {
                last.add(sighting);
            }
            _ => clients.push(Client::new(agent, names.get(sighting.interface), sighting)),
        }
    }
    clients
}

impl<'a> Client<'a> {
    fn new(agent: i64, interface: &'a str, sighting: &Sighting) -> Self {
        Self {
            agent,
            interface,
            newest: *sighting,
            first_us: sighting.at_us,
            session_count: sighting.begins_with_request.into(),
            answered_count: sighting.answer.is_some().into(),
            answer: sighting.answer,
        }
    }

    fn is_of(&self, agent: i64, interface: &str, sighting: &Sighting) -> bool {
        (self.agent, self.newest.client, self.newest.server)
            == (agent, sighting.client, sighting.server)
            && self.interface == interface
    }

    fn add(&mut self, sighting: &Sighting) {
        self.session_count += i64::from(sighting.begins_with_request);
        self.answered_count += i64::from(sighting.answer.is_some());
        self.first_us = self.first_us.min(sighting.at_us);
        if sighting.at_us >= self.newest.at_us {
            self.newest = *sighting;
        }
        if let Some(answer) = sighting.answer
            && self.answer.is_none_or(|known| answer.at_us >= known.at_us)
        {
            self.answer = Some(answer);
        }
    }
}

/// Columns of the newest exchange, with their types.
const NEWEST: &[(&str, &str)] = &[
    ("client_port", "int4"),
    ("server_port", "int4"),
    ("request_version", "int2"),
];

/// Columns of the newest response.
const ANSWER: &[(&str, &str)] = &[
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
];

/// Counts add up, times widen, and values are replaced only by newer ones: batches may come in any
/// order.
static UPSERT: LazyLock<String> = LazyLock::new(|| {
    let time =
        |column: &str| format!("timestamptz 'epoch' + r.{column} * interval '1 microsecond'");
    let columns: Vec<_> = NEWEST.iter().chain(ANSWER).collect();
    let names = columns
        .iter()
        .map(|(name, _)| *name)
        .collect::<Vec<_>>()
        .join(", ");
    let values = columns
        .iter()
        .map(|(name, _)| format!("r.{name}"))
        .collect::<Vec<_>>()
        .join(", ");
    // $1 to $4 are the key.
    let arrays = columns
        .iter()
        .enumerate()
        .map(|(index, (_, kind))| format!("${}::{kind}[]", index + 5))
        .collect::<Vec<_>>()
        .join(", ");
    let next = columns.len() + 5;
    let tail = (next..next + 5)
        .map(|n| format!("${n}::int8[]"))
        .collect::<Vec<_>>()
        .join(", ");
    let replace = |name: &str, newer: &str| {
        format!("{name} = CASE WHEN {newer} THEN EXCLUDED.{name} ELSE c.{name} END")
    };
    let newest = NEWEST
        .iter()
        .map(|(n, _)| replace(n, "EXCLUDED.last_seen >= c.last_seen"));
    let newer_answer = "EXCLUDED.last_answered >= coalesce(c.last_answered, '-infinity')";
    let answer = ANSWER.iter().map(|(n, _)| replace(n, newer_answer));
    let replaced = newest.chain(answer).collect::<Vec<_>>().join(",\n    ");
    format!(
        "INSERT INTO ntp_clients AS c (agent_id, interface, client, server, {names},
            first_seen, last_seen, last_answered, session_count, answered_count)
        SELECT r.agent_id, r.interface, r.client, r.server, {values},
            {first}, {last}, {answered}, r.session_count, r.answered_count
        FROM unnest($1::int8[], $2::text[], $3::inet[], $4::inet[], {arrays}, {tail})
          AS r (agent_id, interface, client, server, {names},
                first_us, last_us, answered_us, session_count, answered_count)
        ON CONFLICT (agent_id, interface, client, server) DO UPDATE SET
            {replaced},
            first_seen = least(c.first_seen, EXCLUDED.first_seen),
            last_seen = greatest(c.last_seen, EXCLUDED.last_seen),
            last_answered = greatest(c.last_answered, EXCLUDED.last_answered),
            session_count = c.session_count + EXCLUDED.session_count,
            answered_count = c.answered_count + EXCLUDED.answered_count",
        first = time("first_us"),
        last = time("last_us"),
        answered = time("answered_us"),
    )
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
    let done = sqlx::query(&UPSERT)
        .bind(each.client(|c| c.agent))
        .bind(each.client(|c| c.interface))
        .bind(each.client(|c| IpNetwork::from(c.newest.client)))
        .bind(each.client(|c| IpNetwork::from(c.newest.server)))
        .bind(each.client(|c| c.newest.client_port))
        .bind(each.client(|c| c.newest.server_port))
        .bind(each.client(|c| c.newest.request_version))
        .bind(each.answer(|a| a.packet.version as i16))
        .bind(each.answer(|a| a.packet.leap as i16))
        .bind(each.answer(|a| a.packet.stratum as i16))
        .bind(each.answer(|a| a.packet.poll as i16))
        .bind(each.answer(|a| a.packet.precision as i16))
        .bind(each.answer(|a| i64::from(a.packet.root_delay)))
        .bind(each.answer(|a| i64::from(a.packet.root_dispersion)))
        .bind(each.answer(|a| i64::from(a.packet.reference_id)))
        .bind(each.answer(|a| bits(a.packet.reference_timestamp)))
        .bind(each.answer(|a| bits(a.packet.origin_timestamp)))
        .bind(each.answer(|a| bits(a.packet.receive_timestamp)))
        .bind(each.answer(|a| bits(a.packet.transmit_timestamp)))
        .bind(each.answer(|a| a.packet.length as i32))
        .bind(each.client(|c| c.answer.and_then(|a| a.response_time_ns)))
        .bind(each.client(|c| c.answer.and_then(|a| a.offset_ns)))
        .bind(each.client(|c| c.first_us))
        .bind(each.client(|c| c.newest.at_us))
        .bind(each.answer(|a| a.at_us))
        .bind(each.client(|c| c.session_count))
        .bind(each.client(|c| c.answered_count))
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

    fn answer<T>(&self, column: impl Fn(&Answer) -> T) -> Vec<Option<T>> {
        self.0
            .iter()
            .map(|client| client.answer.as_ref().map(&column))
            .collect()
    }
}
