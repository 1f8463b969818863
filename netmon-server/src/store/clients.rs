//! NTP clients: one row per client and server, folded from exchanges and updated in place.

use std::{collections::BTreeMap, net::IpAddr, sync::LazyLock};

use ipnetwork::IpNetwork;
use netmon_common::wire::{NtpMatch, NtpPacket};
use sqlx::PgConnection;

use super::{
    exchanges::{Checked, bits},
    rows::Rows,
};

/// Identifies a client within an agent: interface, client and server.
pub(super) type ClientKey = (String, IpAddr, IpAddr);

/// What one batch knows of a client.
#[derive(Debug, Default)]
pub(super) struct Client {
    client_port: i32,
    server_port: i32,
    request_version: Option<i16>,
    first_us: i64,
    last_us: i64,
    session_count: i64,
    answered_count: i64,
    /// The newest response.
    answer: Option<Answer>,
}

#[derive(Clone, Copy, Debug)]
struct Answer {
    at_us: i64,
    packet: NtpPacket,
    response_time_ns: Option<i64>,
    offset_ns: Option<i64>,
}

/// Folds an exchange into its client.
///
/// Responses nobody asked for are left out: whoever sends them chooses their addresses, and must
/// neither create clients nor change what is known of one.
pub(super) fn fold(clients: &mut BTreeMap<ClientKey, Client>, checked: &Checked<'_>) {
    let begins_with_request = match checked.matched {
        NtpMatch::Basic | NtpMatch::Unanswered | NtpMatch::Superseded | NtpMatch::SensorStopped => {
            true
        }
        // Its request was counted as unanswered when the time-out came.
        NtpMatch::Late => false,
        _ => return,
    };
    let exchange = checked.exchange;
    let key = (exchange.interface.clone(), checked.client, checked.server);
    let client = clients.entry(key).or_insert_with(|| Client {
        first_us: checked.at_us,
        last_us: i64::MIN,
        ..Client::default()
    });
    client.session_count += i64::from(begins_with_request);
    client.first_us = client.first_us.min(checked.at_us);
    if checked.at_us >= client.last_us {
        client.last_us = checked.at_us;
        client.client_port = exchange.client_port as i32;
        client.server_port = exchange.server_port as i32;
        client.request_version = exchange.request.map(|packet| packet.version as i16);
    }
    if let (Some(packet), Some(at_us)) = (exchange.response, checked.answered_us) {
        client.answered_count += 1;
        if client.answer.is_none_or(|answer| at_us >= answer.at_us) {
            client.answer = Some(Answer {
                at_us,
                packet,
                response_time_ns: exchange.response_time_ns,
                offset_ns: exchange.offset_ns,
            });
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
    // $1 is the agent, $2 to $4 the key.
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
        SELECT $1, r.interface, r.client, r.server, {values},
            {first}, {last}, {answered}, r.session_count, r.answered_count
        FROM unnest($2::text[], $3::inet[], $4::inet[], {arrays}, {tail})
          AS r (interface, client, server, {names},
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

/// Writes the batch's clients, in the order of their keys.
pub(super) async fn upsert(connection: &mut PgConnection, rows: &Rows) -> sqlx::Result<()> {
    let (keys, clients): (Vec<_>, Vec<_>) = rows.clients.iter().unzip();
    let each = Columns(&clients);
    sqlx::query(&UPSERT)
        .bind(rows.agent.to_bigint())
        .bind(keys.iter().map(|key| key.0.as_str()).collect::<Vec<_>>())
        .bind(
            keys.iter()
                .map(|key| IpNetwork::from(key.1))
                .collect::<Vec<_>>(),
        )
        .bind(
            keys.iter()
                .map(|key| IpNetwork::from(key.2))
                .collect::<Vec<_>>(),
        )
        .bind(each.client(|c| c.client_port))
        .bind(each.client(|c| c.server_port))
        .bind(each.client(|c| c.request_version))
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
        .bind(each.client(|c| c.last_us))
        .bind(each.answer(|a| a.at_us))
        .bind(each.client(|c| c.session_count))
        .bind(each.client(|c| c.answered_count))
        .execute(connection)
        .await?;
    Ok(())
}

/// One array per column.
struct Columns<'a>(&'a [&'a Client]);

impl Columns<'_> {
    fn client<T>(&self, column: impl Fn(&Client) -> T) -> Vec<T> {
        self.0.iter().map(|client| column(client)).collect()
    }

    fn answer<T>(&self, column: impl Fn(&Answer) -> T) -> Vec<Option<T>> {
        self.0
            .iter()
            .map(|client| client.answer.as_ref().map(&column))
            .collect()
    }
}
