//! What an exchange says about time (RFC 5905 section 8), as seen by the sensor.
//!
//! With T2 and T3 of the server and the sensor's own stamps s1 (request) and s4 (response):
//! processing = T3 − T2, network delay = (s4 − s1) − processing, and the server's clock minus the
//! sensor's = ((T2 − s1) + (T3 − s4)) / 2, right within half the network delay.

use netmon_common::ntp::NtpTimestamp;

use super::{Exchange, Match, Packet};

/// A server that claims to have worked on a request for longer is not believed (chrony's limit).
const MAX_PROCESSING_NS: i64 = 4_000_000_000;
/// Stamps are quantised and a NIC may stamp early: what is missing this little to 0 is 0.
const TOLERANCE_NS: i64 = 50_000;
/// A request's transmit timestamp nearer to the sensor's clock than this is a time, not a cookie.
/// A client whose clock is further off has none to speak of, and random cookies hit so small a
/// window once in four billion.
const DISCLOSED_WITHIN_NS: i64 = 1_000_000_000;
/// The wall clock ran this much differently from the monotonic one between request and response:
/// it was stepped.
const STEP_NS: u64 = 1_000_000;

/// Values in ns; absent where they would mean nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measurement {
    /// From request seen to response seen, monotonic clock.
    pub response_time_ns: Option<i64>,
    /// What the server says it took.
    pub server_processing_ns: Option<i64>,
    /// Sensor to server and back, without the server.
    pub network_delay_ns: Option<i64>,
    /// Server's clock minus sensor's clock.
    pub offset_ns: Option<i64>,
    /// T2 − T1: one-way delay plus the clocks' difference.
    pub client_to_server_ns: Option<i64>,
    /// Why the first absent value is absent; empty when all are there.
    pub null_reason: &'static str,
}

/// Measures one exchange.
pub fn measure(exchange: &Exchange, synchronised: bool) -> Measurement {
    match (exchange.kind, &exchange.request, &exchange.response) {
        (Match::Basic | Match::Superseded | Match::Late, Some(request), Some(response)) => {
            let response_time_ns = elapsed_ns(request, response);
            match times(exchange.kind, request, response, response_time_ns) {
                Ok((processing, delay, offset)) => {
                    let client_to_server = client_to_server(request, response, synchronised);
                    Measurement {
                        response_time_ns: Some(response_time_ns),
                        server_processing_ns: Some(processing),
                        network_delay_ns: Some(delay),
                        offset_ns: Some(offset),
                        client_to_server_ns: client_to_server.ok(),
                        null_reason: client_to_server.err().unwrap_or(""),
                    }
                }
                Err(null_reason) => Measurement {
                    response_time_ns: Some(response_time_ns),
                    null_reason,
                    ..Measurement::default()
                },
            }
        }
        (kind, ..) => Measurement {
            null_reason: kind.name(),
            ..Measurement::default()
        },
    }
}

fn elapsed_ns(request: &Packet, response: &Packet) -> i64 {
    response.captured_at_ns.wrapping_sub(request.captured_at_ns) as i64
}

/// Processing, network delay and offset, or why there are none.
fn times(
    kind: Match,
    request: &Packet,
    response: &Packet,
    response_time_ns: i64,
) -> Result<(i64, i64, i64), &'static str> {
    let header = &response.header;
    let (t2, t3) = (header.receive_timestamp, header.transmit_timestamp);
    if header.is_kiss_of_death() {
        return Err("kod");
    }
    if header.leap == 3 || header.stratum == 0 || header.stratum > 15 {
        return Err("server_unsynchronised");
    }
    if t2.is_zero() || t3.is_zero() {
        return Err("no_server_time");
    }
    if matches!(kind, Match::Superseded | Match::Late) {
        return Err(kind.name());
    }
    let processing = t3.since(t2).to_ns();
    if !(0..=MAX_PROCESSING_NS.min(response_time_ns + TOLERANCE_NS)).contains(&processing) {
        return Err("invalid_server_time");
    }
    let by_wall_clock = response
        .captured_at_unix_ns
        .wrapping_sub(request.captured_at_unix_ns);
    if by_wall_clock.abs_diff(response_time_ns) > STEP_NS {
        return Err("clock_step");
    }
    let s1 = NtpTimestamp::from_unix_ns(request.captured_at_unix_ns);
    let s4 = NtpTimestamp::from_unix_ns(response.captured_at_unix_ns);
    // Halved in 128 bits and raw units, so that nothing overflows and nothing is rounded twice.
    let twice = i128::from(t2.since(s1).0) + i128::from(t3.since(s4).0);
    let offset = ((twice * 1_000_000_000) >> 33) as i64;
    Ok((processing, response_time_ns - processing, offset))
}

fn client_to_server(
    request: &Packet,
    response: &Packet,
    synchronised: bool,
) -> Result<i64, &'static str> {
    let t1 = request.header.transmit_timestamp;
    let s1 = NtpTimestamp::from_unix_ns(request.captured_at_unix_ns);
    let from_sensor_ns = t1.since(s1).to_ns();
    if t1.is_zero() || from_sensor_ns.abs() > DISCLOSED_WITHIN_NS {
        Err("client_cookie")
    } else if request.header.leap == 3 {
        Err("client_unsynchronised")
    } else if !synchronised {
        Err("sensor_unsynchronised")
    } else {
        Ok(response.header.receive_timestamp.since(t1).to_ns())
    }
}

#[cfg(test)]
mod tests {
    use netmon_common::ntp::{Header, Mode};

    use super::*;
    use crate::ntp::Scope;

    const S1_UNIX_NS: i64 = 1_790_000_000_000_000_000;
    const MS: i64 = 1_000_000;

    fn packet(mode: Mode, at_ns: i64) -> Packet {
        Packet {
            scope: Scope {
                ifindex: 1,
                vlans: [0; 2],
            },
            direction: netmon_common::counters::Direction::Egress,
            captured_at_ns: at_ns as u64,
            captured_at_unix_ns: S1_UNIX_NS + at_ns,
            source: ([192, 0, 2, 1], 40_000).into(),
            destination: ([192, 0, 2, 2], 123).into(),
            header: Header {
                leap: 0,
                version: 4,
                mode,
                stratum: 2,
                poll: 6,
                precision: -20,
                root_delay: 0,
                root_dispersion: 0,
                reference_id: 0x0102_0304,
                reference_timestamp: NtpTimestamp(0),
                origin_timestamp: NtpTimestamp(0),
                receive_timestamp: NtpTimestamp(0),
                transmit_timestamp: NtpTimestamp(0x1234_5678_9abc_def0),
            },
            length: 48,
            ttl: 64,
            nts: false,
            frame: 0,
        }
    }

    /// Request at 0, 3 ms to the server, 1 ms there, 7 ms back; the server's clock is 5 ms ahead.
    fn asymmetric() -> Exchange {
        let mut response = packet(Mode::Server, 11 * MS);
        response.header.receive_timestamp = NtpTimestamp::from_unix_ns(S1_UNIX_NS + 8 * MS);
        response.header.transmit_timestamp = NtpTimestamp::from_unix_ns(S1_UNIX_NS + 9 * MS);
        let request = packet(Mode::Client, 0);
        Exchange {
            kind: Match::Basic,
            scope: request.scope,
            client: request.source,
            server: request.destination,
            request: Some(request),
            response: Some(response),
        }
    }

    #[test]
    fn the_formulas_of_rfc_5905_hold() {
        let measured = measure(&asymmetric(), true);
        let near = |value: Option<i64>, expected: i64| value.unwrap().abs_diff(expected) <= 1;
        assert_eq!(measured.response_time_ns, Some(11 * MS));
        assert!(near(measured.server_processing_ns, MS));
        assert!(near(measured.network_delay_ns, 10 * MS));
        assert!(
            near(measured.offset_ns, 5 * MS - 2 * MS),
            "5 ms, less half of 7 - 3 ms"
        );
        assert_eq!(
            (measured.client_to_server_ns, measured.null_reason),
            (None, "client_cookie")
        );
    }

    #[test]
    fn a_client_that_discloses_its_time_gets_a_one_way_value() {
        let mut exchange = asymmetric();
        let t1 = NtpTimestamp::from_unix_ns(S1_UNIX_NS);
        exchange.request.as_mut().unwrap().header.transmit_timestamp = t1;
        let measured = measure(&exchange, true);
        assert!(measured.client_to_server_ns.unwrap().abs_diff(8 * MS) <= 1);
        assert_eq!(measured.null_reason, "");
        assert_eq!(
            measure(&exchange, false).null_reason,
            "sensor_unsynchronised"
        );
    }

    #[test]
    fn what_means_nothing_is_absent_with_its_reason() {
        type Change = fn(&mut Exchange);
        let cases: [(&str, Change); 8] = [
            ("clock_step", |e| {
                e.response.as_mut().unwrap().captured_at_unix_ns += 5 * MS;
            }),
            ("kod", |e| {
                let header = &mut e.response.as_mut().unwrap().header;
                (header.stratum, header.reference_id) = (0, u32::from_be_bytes(*b"RATE"));
            }),
            ("server_unsynchronised", |e| {
                e.response.as_mut().unwrap().header.leap = 3
            }),
            ("server_unsynchronised", |e| {
                e.response.as_mut().unwrap().header.stratum = 16
            }),
            ("no_server_time", |e| {
                e.response.as_mut().unwrap().header.receive_timestamp = NtpTimestamp(0);
            }),
            ("invalid_server_time", |e| {
                let header = &mut e.response.as_mut().unwrap().header;
                std::mem::swap(
                    &mut header.receive_timestamp,
                    &mut header.transmit_timestamp,
                );
            }),
            ("superseded", |e| e.kind = Match::Superseded),
            ("late", |e| e.kind = Match::Late),
        ];
        for (reason, change) in cases {
            let mut exchange = asymmetric();
            change(&mut exchange);
            let measured = measure(&exchange, true);
            assert_eq!(measured.null_reason, reason);
            assert_eq!(
                (measured.offset_ns, measured.server_processing_ns),
                (None, None),
                "{reason}"
            );
            assert!(measured.response_time_ns.is_some(), "{reason}");
        }
    }
}
