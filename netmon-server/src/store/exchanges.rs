//! NTP exchanges: one row each.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netmon_common::wire::{NtpExchange, NtpMatch, NtpPacket};

use super::{
    Invalid, Series, clients,
    copy::CopyBuffer,
    interfaces,
    invalid::at_most,
    rows::{Origin, Rows, Window},
    target::Target,
};

/// The table, and its columns as [`encode`] writes them.
pub(super) const TARGET: Target = Target {
    table: "ntp_exchanges",
    columns: "agent_id, at, epoch, sequence, ordinal, interface, vlan, inner_vlan, match, client, \
              client_port, server, server_port, requested_at_ns, answered_at_ns, request_version, \
              version, mode, leap, stratum, poll, \"precision\", root_delay, root_dispersion, \
              reference_id, reference_timestamp, origin_timestamp, receive_timestamp, \
              transmit_timestamp, request_transmit_timestamp, request_length, response_length, \
              request_ttl, response_ttl, response_time_ns, server_processing_ns, \
              network_delay_ns, offset_ns, client_to_server_ns, null_reason, clock_synchronised",
    key: "agent_id, at, epoch, sequence, ordinal",
};
const COLUMNS: i16 = 41;

/// Longest `null_reason`, octets.
const MAX_REASON_BYTES: usize = 64;

/// What was checked of an exchange and is needed in its column's type.
#[derive(Clone, Copy, Debug)]
pub(super) struct Checked<'a> {
    pub(super) exchange: &'a NtpExchange,
    pub(super) matched: NtpMatch,
    pub(super) client: IpAddr,
    pub(super) server: IpAddr,
    /// When the sensor first saw a packet of it, microseconds since 1970.
    pub(super) at_us: i64,
    /// When it saw the response.
    pub(super) answered_us: Option<i64>,
}

/// Appends every exchange and folds it into its client, or names the first that is invalid.
pub(super) fn encode(
    rows: &mut Rows,
    origin: Origin,
    exchanges: &[NtpExchange],
    clock_synchronised: Option<bool>,
) -> Result<(), Invalid> {
    for (ordinal, exchange) in exchanges.iter().enumerate() {
        let checked = Checked::new(exchange, &origin.window)
            .map_err(|invalid| invalid.within(format_args!("exchanges[{ordinal}]")))?;
        row(
            rows.buffer(Series::Exchanges),
            origin,
            ordinal as i32,
            &checked,
            clock_synchronised,
        );
        rows.touch(Series::Exchanges, checked.at_us, checked.at_us);
        clients::seen(rows, &checked);
    }
    Ok(())
}

/// The value of the column `match` and of the REST API.
pub(super) fn match_name(matched: NtpMatch) -> Option<&'static str> {
    Some(match matched {
        NtpMatch::Unspecified => return None,
        NtpMatch::Basic => "basic",
        NtpMatch::Unanswered => "unanswered",
        NtpMatch::Late => "late",
        NtpMatch::Superseded => "superseded",
        NtpMatch::DuplicateResponse => "duplicate_response",
        NtpMatch::ConflictingResponse => "conflicting_response",
        NtpMatch::OriginMismatch => "origin_mismatch",
        NtpMatch::UnsolicitedResponse => "unsolicited_response",
        NtpMatch::SensorStopped => "sensor_stopped",
    })
}

impl<'a> Checked<'a> {
    fn new(exchange: &'a NtpExchange, window: &Window) -> Result<Self, Invalid> {
        interfaces::check_name("interface", &exchange.interface)?;
        let matched = NtpMatch::try_from(exchange.r#match)
            .ok()
            .filter(|matched| match_name(*matched).is_some())
            .ok_or_else(|| {
                Invalid::new(
                    "match",
                    format_args!("{} is not a kind of match", exchange.r#match),
                )
            })?;
        at_most("vlan", exchange.vlan, 4095)?;
        at_most("inner_vlan", exchange.inner_vlan, 4095)?;
        at_most("client_port", exchange.client_port, 65_535)?;
        at_most("server_port", exchange.server_port, 65_535)?;
        let client = address("client", &exchange.client)?;
        let server = address("server", &exchange.server)?;
        if client.is_ipv4() != server.is_ipv4() {
            return Err(Invalid::new(
                "server",
                "is not of the client's address family",
            ));
        }
        for (place, packet) in [
            ("request", &exchange.request),
            ("response", &exchange.response),
        ] {
            if let Some(packet) = packet {
                check_packet(packet).map_err(|invalid| invalid.within(place))?;
            }
        }
        check_reason(&exchange.null_reason)?;
        let time = |place: &str, ns: i64| match ns {
            0 => Ok(None),
            ns => window.microseconds(place, ns).map(Some),
        };
        let requested_us = time("requested_at_unix_ns", exchange.requested_at_unix_ns)?;
        let answered_us = time("answered_at_unix_ns", exchange.answered_at_unix_ns)?;
        let at_us = [requested_us, answered_us]
            .into_iter()
            .flatten()
            .min()
            .ok_or_else(|| {
                Invalid::new(
                    "requested_at_unix_ns",
                    "is 0, and so is answered_at_unix_ns",
                )
            })?;
        Ok(Self {
            exchange,
            matched,
            client,
            server,
            at_us,
            answered_us,
        })
    }
}

fn address(place: &str, octets: &[u8]) -> Result<IpAddr, Invalid> {
    if let Ok(v4) = <[u8; 4]>::try_from(octets) {
        Ok(Ipv4Addr::from(v4).into())
    } else if let Ok(v6) = <[u8; 16]>::try_from(octets) {
        Ok(Ipv6Addr::from(v6).into())
    } else {
        Err(Invalid::new(
            place,
            format_args!("{} octets, not 4 or 16", octets.len()),
        ))
    }
}

fn check_packet(packet: &NtpPacket) -> Result<(), Invalid> {
    at_most("leap", packet.leap, 3)?;
    at_most("version", packet.version, 7)?;
    at_most("mode", packet.mode, 7)?;
    at_most("stratum", packet.stratum, 255)?;
    at_most("length", packet.length, 65_535)?;
    at_most("ttl", packet.ttl, 255)?;
    for (place, exponent) in [("poll", packet.poll), ("precision", packet.precision)] {
        if i8::try_from(exponent).is_err() {
            return Err(Invalid::new(
                place,
                format_args!("{exponent} is not -128 to 127"),
            ));
        }
    }
    Ok(())
}

fn check_reason(reason: &str) -> Result<(), Invalid> {
    if reason.len() <= MAX_REASON_BYTES && reason.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(());
    }
    let problem = format_args!("is not a word of at most {MAX_REASON_BYTES} printable characters");
    Err(Invalid::new("null_reason", problem))
}

/// A raw NTP timestamp, or another unsigned number, as the bit pattern its column holds.
pub(super) fn bits(value: u64) -> i64 {
    value as i64
}

fn row(
    out: &mut CopyBuffer,
    origin: Origin,
    ordinal: i32,
    checked: &Checked<'_>,
    clock_synchronised: Option<bool>,
) {
    let exchange = checked.exchange;
    let (request, response) = (exchange.request.as_ref(), exchange.response.as_ref());
    let seen = |ns: i64| (ns != 0).then_some(ns);

    out.row(COLUMNS);
    out.int8(origin.key.agent);
    out.timestamp(checked.at_us);
    out.int8(origin.key.epoch);
    out.int8(origin.key.sequence);
    out.int4(ordinal);
    out.text(&exchange.interface);
    out.int4(exchange.vlan as i32);
    out.int4(exchange.inner_vlan as i32);
    out.text(match_name(checked.matched).unwrap_or_default());
    out.inet(checked.client);
    out.int4(exchange.client_port as i32);
    out.inet(checked.server);
    out.int4(exchange.server_port as i32);
    out.optional(seen(exchange.requested_at_unix_ns), CopyBuffer::int8);
    out.optional(seen(exchange.answered_at_unix_ns), CopyBuffer::int8);
    out.optional(request.map(|p| p.version as i16), CopyBuffer::int2);
    out.optional(response.map(|p| p.version as i16), CopyBuffer::int2);
    out.optional(response.map(|p| p.mode as i16), CopyBuffer::int2);
    out.optional(response.map(|p| p.leap as i16), CopyBuffer::int2);
    out.optional(response.map(|p| p.stratum as i16), CopyBuffer::int2);
    out.optional(response.map(|p| p.poll as i16), CopyBuffer::int2);
    out.optional(response.map(|p| p.precision as i16), CopyBuffer::int2);
    out.optional(response.map(|p| p.root_delay.into()), CopyBuffer::int8);
    out.optional(response.map(|p| p.root_dispersion.into()), CopyBuffer::int8);
    out.optional(response.map(|p| p.reference_id.into()), CopyBuffer::int8);
    out.optional(
        response.map(|p| bits(p.reference_timestamp)),
        CopyBuffer::int8,
    );
    out.optional(response.map(|p| bits(p.origin_timestamp)), CopyBuffer::int8);
    out.optional(
        response.map(|p| bits(p.receive_timestamp)),
        CopyBuffer::int8,
    );
    out.optional(
        response.map(|p| bits(p.transmit_timestamp)),
        CopyBuffer::int8,
    );
    out.optional(
        request.map(|p| bits(p.transmit_timestamp)),
        CopyBuffer::int8,
    );
    out.optional(request.map(|p| p.length as i32), CopyBuffer::int4);
    out.optional(response.map(|p| p.length as i32), CopyBuffer::int4);
    out.optional(request.map(|p| p.ttl as i16), CopyBuffer::int2);
    out.optional(response.map(|p| p.ttl as i16), CopyBuffer::int2);
    out.optional(exchange.response_time_ns, CopyBuffer::int8);
    out.optional(exchange.server_processing_ns, CopyBuffer::int8);
    out.optional(exchange.network_delay_ns, CopyBuffer::int8);
    out.optional(exchange.offset_ns, CopyBuffer::int8);
    out.optional(exchange.client_to_server_ns, CopyBuffer::int8);
    let reason = Some(exchange.null_reason.as_str()).filter(|reason| !reason.is_empty());
    out.optional(reason, CopyBuffer::text);
    out.optional(clock_synchronised, CopyBuffer::bool);
}
