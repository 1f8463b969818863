//! What one NTP exchange says of its client and its server.

use std::net::IpAddr;

use netmon_common::wire::{NtpAssociation, NtpMatch, NtpPacket};

use super::{
    exchanges::Checked,
    folds::{CheckedFold, MATCH},
    names::Name,
    rows::Rows,
};

/// One exchange, or several that the agent counted together, as far as a client or server is concerned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sighting {
    pub(super) interface: Name,
    pub(super) client: IpAddr,
    pub(super) server: IpAddr,
    pub(super) at_us: i64,
    pub(super) client_port: i32,
    pub(super) server_port: i32,
    pub(super) request_version: Option<i16>,
    pub(super) vantage: Option<&'static str>,
    pub(super) association: Option<NtpAssociation>,
    /// The newest response.
    pub(super) answer: Option<Answer>,
    /// When the first exchange was seen; `at_us` is that of the newest, as everything above.
    pub(super) first_us: i64,
    /// Exchanges that begin with a request.
    pub(super) requests: i64,
    pub(super) answered: i64,
    pub(super) kisses: i64,
    /// The newest kiss-o'-death, and when it came.
    pub(super) kiss: Option<(Kiss, i64)>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub(super) at_us: i64,
    pub(super) packet: NtpPacket,
    pub(super) response_time_ns: Option<i64>,
    pub(super) server_processing_ns: Option<i64>,
    pub(super) network_delay_ns: Option<i64>,
    pub(super) offset_ns: Option<i64>,
    pub(super) offset_error_ns: Option<i64>,
    pub(super) client_to_server_ns: Option<i64>,
    pub(super) root_distance_ns: Option<i64>,
}

/// A kiss code (RFC 5905, section 7.4): up to four printable characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kiss([u8; 4]);

impl Kiss {
    /// The code of a kiss-o'-death; `None` for any other response.
    pub fn of(response: &NtpPacket) -> Option<Self> {
        let octets = response.reference_id.to_be_bytes();
        let printable = octets.iter().take_while(|octet| octet.is_ascii_graphic());
        let length = printable.count();
        let padded = octets[length..].iter().all(|octet| *octet == 0);
        let is_kiss = (response.mode, response.stratum) == (4, 0) && length > 0 && padded;
        is_kiss.then_some(Self(octets))
    }

    /// A code of one to four printable characters.
    pub(super) fn parse(code: &str) -> Option<Self> {
        let mut octets = [0; 4];
        let place = octets.get_mut(..code.len())?;
        place.copy_from_slice(code.as_bytes());
        let is_code = !code.is_empty() && code.bytes().all(|octet| octet.is_ascii_graphic());
        is_code.then_some(Self(octets))
    }

    /// The code, such as `RATE`.
    pub fn as_str(&self) -> &str {
        let text = std::str::from_utf8(&self.0).unwrap_or_default();
        text.trim_end_matches('\0')
    }
}

impl Answer {
    fn of(checked: &Checked<'_>) -> Option<Self> {
        let exchange = checked.exchange;
        let (packet, at_us) = exchange.response.zip(checked.answered_us)?;
        Some(Self {
            at_us,
            packet,
            response_time_ns: exchange.response_time_ns,
            server_processing_ns: exchange.server_processing_ns,
            network_delay_ns: exchange.network_delay_ns,
            offset_ns: exchange.offset_ns,
            offset_error_ns: exchange.offset_error_ns.map(u64::cast_signed),
            client_to_server_ns: exchange.client_to_server_ns,
            root_distance_ns: exchange.root_distance_ns.map(u64::cast_signed),
        })
    }

    fn kiss(&self) -> Option<Kiss> {
        Kiss::of(&self.packet)
    }
}

/// Notes what an exchange says of its client and its server; gives whether it is between two that
/// deal with each other.
///
/// Responses nobody asked for are left out: whoever sends them chooses their addresses, and must
/// neither create clients nor change what is known of one.
pub(super) fn seen(rows: &mut Rows, checked: &Checked<'_>) -> bool {
    let sighting = sighting(rows, checked);
    rows.sightings.extend(sighting);
    sighting.is_some()
}

/// The same of exchanges that were counted together: all are of the sort of the newest.
pub(super) fn seen_folded(rows: &mut Rows, checked: &CheckedFold<'_>) -> bool {
    let Some(newest) = sighting(rows, &checked.newest) else {
        return false;
    };
    let late = checked
        .of(MATCH)
        .filter(|(n, _)| *n == NtpMatch::Late as i64);
    let late: i32 = late.map(|(_, count)| count).sum();
    let answered = checked.answered.as_ref();
    rows.sightings.push(Sighting {
        answer: answered.map_or(newest.answer, Answer::of),
        first_us: checked.first_us,
        requests: i64::from(checked.exchanges - late),
        answered: checked.answered_count.into(),
        kisses: checked.kisses.into(),
        kiss: checked.kiss,
        ..newest
    });
    true
}

fn sighting(rows: &mut Rows, checked: &Checked<'_>) -> Option<Sighting> {
    let exchange = checked.exchange;
    let begins_with_request = match checked.matched {
        NtpMatch::Basic
        | NtpMatch::Interleaved
        | NtpMatch::Weak
        | NtpMatch::Unanswered
        | NtpMatch::Superseded
        | NtpMatch::SensorStopped
        | NtpMatch::Refused => true,
        // The packet that it names was seen.
        NtpMatch::Symmetric if exchange.request.is_some() => true,
        // Its request was counted as unanswered when the time-out came.
        NtpMatch::Late => false,
        _ => return None,
    };
    let answer = Answer::of(checked);
    let kiss = answer.and_then(|answer| answer.kiss().zip(Some(answer.at_us)));
    Some(Sighting {
        interface: rows.names.insert(&exchange.interface),
        client: checked.client,
        server: checked.server,
        at_us: checked.at_us,
        client_port: exchange.client_port as i32,
        server_port: exchange.server_port as i32,
        request_version: exchange.request.map(|packet| packet.version as i16),
        vantage: checked.vantage,
        association: exchange.association,
        answer,
        first_us: checked.at_us,
        requests: begins_with_request.into(),
        answered: answer.is_some().into(),
        kisses: kiss.is_some().into(),
        kiss,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_printable_codes_of_servers_at_stratum_0_are_kisses() {
        for (mode, stratum, id, kiss) in [
            (4, 0, *b"RATE", Some("RATE")),
            (4, 0, *b"X1\0\0", Some("X1")),
            (4, 0, [0; 4], None),
            (4, 0, *b"A\0B\0", None),
            (4, 0, [0x7f, 0, 0, 1], None),
            (4, 1, *b"RATE", None),
            (3, 0, *b"INIT", None),
        ] {
            let packet = NtpPacket {
                mode,
                stratum,
                reference_id: u32::from_be_bytes(id),
                ..NtpPacket::default()
            };
            let found = Kiss::of(&packet);
            assert_eq!(found.as_ref().map(Kiss::as_str), kiss, "{id:?}");
            let parsed = kiss.map(|kiss| Kiss::parse(kiss).unwrap());
            assert_eq!(parsed, found);
        }
        for code in ["", "RATES", "RA\0", "\u{e9}"] {
            assert_eq!(Kiss::parse(code), None, "{code:?}");
        }
    }
}
