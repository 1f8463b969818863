//! NTP exchanges: one row each.

mod columns;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netmon_common::wire::{
    ClockState, NtpAssociation, NtpExchange, NtpMatch, NtpPacket, NtpVantage,
};

pub(super) use columns::TARGET;

use super::{
    Invalid, Series, interfaces,
    invalid::{at_most, fit},
    observed::Observed,
    rows::{Origin, Rows, Window},
    sightings,
};

/// Longest `null_reason` and kiss code, octets.
const MAX_WORD_BYTES: usize = 64;

/// Most extension fields of a packet: more of four octets do not fit any path.
const MAX_EXTENSIONS: usize = 64;

/// What was checked of an exchange and is needed in its column's type.
#[derive(Clone, Copy, Debug)]
pub(super) struct Checked<'a> {
    pub(super) exchange: &'a NtpExchange,
    /// Unspecified: a kind that a newer agent knows.
    pub(super) matched: NtpMatch,
    pub(super) client: IpAddr,
    pub(super) server: IpAddr,
    /// When the sensor first saw a packet of it, microseconds since 1970.
    pub(super) at_us: i64,
    /// When it saw the response.
    pub(super) answered_us: Option<i64>,
    pub(super) vantage: Option<&'static str>,
    pub(super) answered_from: Option<IpAddr>,
    pub(super) refused_by: Option<IpAddr>,
}

/// Appends every exchange and notes what it says of its client, or names the first that is invalid.
pub(super) fn encode(
    rows: &mut Rows,
    origin: Origin,
    exchanges: &[NtpExchange],
    clock: Option<ClockState>,
) -> Result<(), Invalid> {
    for (ordinal, exchange) in exchanges.iter().enumerate() {
        let checked = Checked::new(exchange, &origin.window)
            .map_err(|invalid| invalid.within(format_args!("exchanges[{ordinal}]")))?;
        columns::row(
            rows.buffer(Series::Exchanges),
            origin,
            ordinal as i32,
            &checked,
            clock,
        );
        rows.touch(Series::Exchanges, checked.at_us, checked.at_us);
        let asked = sightings::seen(rows, &checked);
        rows.observe(Observed::exchange(&checked, asked));
    }
    Ok(())
}

/// The value of the column `match` and of the REST API.
pub(crate) fn match_name(matched: NtpMatch) -> &'static str {
    match matched {
        NtpMatch::Unspecified => "unknown",
        NtpMatch::Basic => "basic",
        NtpMatch::Unanswered => "unanswered",
        NtpMatch::Late => "late",
        NtpMatch::Superseded => "superseded",
        NtpMatch::DuplicateResponse => "duplicate_response",
        NtpMatch::ConflictingResponse => "conflicting_response",
        NtpMatch::OriginMismatch => "origin_mismatch",
        NtpMatch::UnsolicitedResponse => "unsolicited_response",
        NtpMatch::SensorStopped => "sensor_stopped",
        NtpMatch::Interleaved => "interleaved",
        NtpMatch::Weak => "weak",
        NtpMatch::DuplicateRequest => "duplicate_request",
        NtpMatch::Refused => "refused",
        NtpMatch::Symmetric => "symmetric",
        NtpMatch::Broadcast => "broadcast",
    }
}

/// The value of columns `vantage`; `None` if the agent does not say, or says what this server does
/// not know.
pub(super) fn vantage_name(vantage: i32) -> Option<&'static str> {
    match NtpVantage::try_from(vantage) {
        Ok(NtpVantage::Client) => Some("client"),
        Ok(NtpVantage::Server) => Some("server"),
        Ok(NtpVantage::Transit) => Some("transit"),
        Ok(NtpVantage::Unspecified) | Err(_) => None,
    }
}

/// Both addresses of a row, which are of one family.
pub(super) fn addresses(client: &[u8], server: &[u8]) -> Result<(IpAddr, IpAddr), Invalid> {
    let (client, server) = (address("client", client)?, address("server", server)?);
    if client.is_ipv4() == server.is_ipv4() {
        return Ok((client, server));
    }
    let problem = "is not of the client's address family";
    Err(Invalid::new("server", problem))
}

/// The moment of a row: the first of two that are given; 0 stands for none. In microseconds.
pub(super) fn moments(
    window: &Window,
    requested_ns: i64,
    answered_ns: i64,
) -> Result<(i64, Option<i64>), Invalid> {
    let time = |place: &str, ns: i64| match ns {
        0 => Ok(None),
        ns => window.microseconds(place, ns).map(Some),
    };
    let requested_us = time("requested_at_unix_ns", requested_ns)?;
    let answered_us = time("answered_at_unix_ns", answered_ns)?;
    let first = [requested_us, answered_us].into_iter().flatten().min();
    let problem = "is 0, and so is answered_at_unix_ns";
    let first = first.ok_or_else(|| Invalid::new("requested_at_unix_ns", problem))?;
    Ok((first, answered_us))
}

impl<'a> Checked<'a> {
    pub(super) fn new(exchange: &'a NtpExchange, window: &Window) -> Result<Self, Invalid> {
        interfaces::check_name("interface", &exchange.interface)?;
        let matched = NtpMatch::try_from(exchange.r#match).unwrap_or(NtpMatch::Unspecified);
        if exchange.r#match <= 0 {
            let problem = format_args!("{} is not a kind of match", exchange.r#match);
            return Err(Invalid::new("match", problem));
        }
        at_most("vlan", exchange.vlan, 4095)?;
        at_most("inner_vlan", exchange.inner_vlan, 4095)?;
        at_most("client_port", exchange.client_port, 65_535)?;
        at_most("server_port", exchange.server_port, 65_535)?;
        let (client, server) = addresses(&exchange.client, &exchange.server)?;
        for (place, packet) in [
            ("request", &exchange.request),
            ("response", &exchange.response),
        ] {
            if let Some(packet) = packet {
                check_packet(packet).map_err(|invalid| invalid.within(place))?;
            }
        }
        check_word("null_reason", &exchange.null_reason)?;
        check_word("kiss_code", &exchange.kiss_code)?;
        check_judgement(exchange)?;
        let (at_us, answered_us) = moments(
            window,
            exchange.requested_at_unix_ns,
            exchange.answered_at_unix_ns,
        )?;
        let refusal = exchange.refusal.as_ref();
        Ok(Self {
            exchange,
            matched,
            client,
            server,
            at_us,
            answered_us,
            vantage: vantage_name(exchange.vantage),
            answered_from: optional_address("answered_from", &exchange.answered_from)?,
            refused_by: match refusal {
                Some(refusal) => optional_address("refusal.from", &refusal.from)?,
                None => None,
            },
        })
    }
}

fn optional_address(place: &str, octets: &[u8]) -> Result<Option<IpAddr>, Invalid> {
    match octets.is_empty() {
        true => Ok(None),
        false => address(place, octets).map(Some),
    }
}

pub(super) fn address(place: &str, octets: &[u8]) -> Result<IpAddr, Invalid> {
    if let Ok(v4) = <[u8; 4]>::try_from(octets) {
        Ok(Ipv4Addr::from(v4).into())
    } else if let Ok(v6) = <[u8; 16]>::try_from(octets) {
        Ok(Ipv6Addr::from(v6).into())
    } else {
        let problem = format_args!("{} octets, not 4 or 16", octets.len());
        Err(Invalid::new(place, problem))
    }
}

fn check_packet(packet: &NtpPacket) -> Result<(), Invalid> {
    at_most("leap", packet.leap, 3)?;
    at_most("version", packet.version, 7)?;
    at_most("mode", packet.mode, 7)?;
    at_most("stratum", packet.stratum, 255)?;
    at_most("length", packet.length, 65_535)?;
    at_most("ttl", packet.ttl, 255)?;
    at_most("mac_length", packet.mac_length.unwrap_or(0), 65_535)?;
    for (place, exponent) in [("poll", packet.poll), ("precision", packet.precision)] {
        if i8::try_from(exponent).is_err() {
            let problem = format_args!("{exponent} is not -128 to 127");
            return Err(Invalid::new(place, problem));
        }
    }
    Ok(())
}

/// The numbers that the sensor derived.
fn check_judgement(exchange: &NtpExchange) -> Result<(), Invalid> {
    let largest =
        |place: &str, value: Option<u64>| fit::<i64, _>(place, value.unwrap_or(0)).map(drop);
    largest("offset_error_ns", exchange.offset_error_ns)?;
    largest("root_distance_ns", exchange.root_distance_ns)?;
    fit::<i32, _>("flags", exchange.flags)?;
    at_most("answered_from_port", exchange.answered_from_port, 65_535)?;
    for (place, types) in [
        ("request_extensions", &exchange.request_extensions),
        ("response_extensions", &exchange.response_extensions),
    ] {
        if types.len() > MAX_EXTENSIONS {
            let problem = format_args!("{} are more than {MAX_EXTENSIONS}", types.len());
            return Err(Invalid::new(place, problem));
        }
        for kind in types {
            at_most(place, *kind, 65_535)?;
        }
    }
    if let Some(refusal) = &exchange.refusal {
        at_most("refusal.icmp_type", refusal.icmp_type, 255)?;
        at_most("refusal.icmp_code", refusal.icmp_code, 255)?;
    }
    match &exchange.association {
        Some(association) => check_association(association),
        None => Ok(()),
    }
}

fn check_association(association: &NtpAssociation) -> Result<(), Invalid> {
    at_most("association.reach", association.reach, 255)?;
    at_most("association.samples", association.samples, 255)?;
    for (place, value) in [
        ("association.interval_ns", Some(association.interval_ns)),
        ("association.p95_deviation_ns", association.p95_deviation_ns),
        ("association.jitter_ns", association.jitter_ns),
    ] {
        fit::<i64, _>(place, value.unwrap_or(0))?;
    }
    Ok(())
}

fn check_word(place: &str, word: &str) -> Result<(), Invalid> {
    if word.len() <= MAX_WORD_BYTES && word.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(());
    }
    let problem = format_args!("is not a word of at most {MAX_WORD_BYTES} printable characters");
    Err(Invalid::new(place, problem))
}

/// A raw NTP timestamp, or another unsigned number, as the bit pattern its column holds.
pub(super) fn bits(value: u64) -> i64 {
    value as i64
}
