//! One exchange, and what it says.

use netmon_common::ntp::NtpTimestamp;

use super::*;
use crate::ntp::packet::example::{EPOCH_UNIX_NS, MS as MS_U64, request, response};

const MS: i64 = MS_U64 as i64;

/// Request at 0, 3 ms to the server, 1 ms there, 7 ms back; the server's clock is 5 ms ahead.
fn asymmetric() -> Exchange {
    let mut response = response(11 * MS_U64, 40_000, 0x1234_5678_9abc_def0);
    let header = &mut response.content.header;
    header.receive_timestamp = NtpTimestamp::from_unix_ns(EPOCH_UNIX_NS + 8 * MS);
    header.transmit_timestamp = NtpTimestamp::from_unix_ns(EPOCH_UNIX_NS + 9 * MS);
    let request = request(0, 40_000, 0x1234_5678_9abc_def0);
    Exchange::of_pair(Match::Basic, request, response)
}

fn measured(exchange: &Exchange, synchronised: bool, place: &Place) -> Measurement {
    let around = Surroundings {
        synchronised,
        place,
        association: None,
    };
    measure(exchange, around)
}

fn header(exchange: &mut Exchange) -> &mut netmon_common::ntp::Header {
    &mut exchange.response.as_mut().unwrap().content.header
}

fn near(value: Option<i64>, expected: i64) -> bool {
    value.unwrap().abs_diff(expected) <= 1
}

#[test]
fn the_formulas_of_rfc_5905_hold() {
    let measured = measured(&asymmetric(), true, &Place::Unknown);
    assert_eq!(measured.response_time_ns, Some(11 * MS));
    assert!(near(measured.server_processing_ns, MS));
    assert!(near(measured.network_delay_ns, 10 * MS));
    assert!(
        near(measured.offset_ns, 5 * MS - 2 * MS),
        "5 ms, less half of 7 - 3 ms"
    );
    assert_eq!(measured.offset_error_ns, Some(5 * MS_U64));
    assert!(
        near(measured.server_to_sensor_ns, 2 * MS),
        "7 ms, less 5 ms"
    );
    assert_eq!(
        (measured.client_to_server_ns, measured.null_reason),
        (None, "client_cookie")
    );
    assert_eq!(measured.gate, Some(Gate::Good));
    assert_eq!(
        (measured.client_offset_ns, measured.client_delay_ns),
        (None, None)
    );
}

#[test]
fn at_the_client_they_are_what_the_client_sees() {
    let exchange = asymmetric();
    for place in [
        Place::Told(Vantage::Client),
        Place::Own([exchange.client.ip()].into()),
    ] {
        let measured = measured(&exchange, true, &place);
        assert_eq!(measured.vantage, Some(Vantage::Client));
        assert_eq!(measured.client_offset_ns, measured.offset_ns);
        assert_eq!(measured.client_delay_ns, measured.network_delay_ns);
    }
    for place in [Place::Told(Vantage::Server), Place::Told(Vantage::Transit)] {
        assert_eq!(measured(&exchange, true, &place).client_offset_ns, None);
    }
}

#[test]
fn a_client_that_discloses_its_time_gets_a_one_way_value() {
    let mut exchange = asymmetric();
    let t1 = NtpTimestamp::from_unix_ns(EPOCH_UNIX_NS - MS);
    let asked = exchange.request.as_mut().unwrap();
    asked.content.header.transmit_timestamp = t1;
    header(&mut exchange).origin_timestamp = t1;
    let synchronised = measured(&exchange, true, &Place::Unknown);
    assert!(near(synchronised.client_to_server_ns, 9 * MS));
    assert!(near(synchronised.client_clock_ns, -MS));
    assert_eq!(synchronised.null_reason, "");
    let alone = measured(&exchange, false, &Place::Unknown);
    assert_eq!(alone.null_reason, "sensor_unsynchronised");
    assert_eq!(alone.client_to_server_ns, None);
}

#[test]
fn what_means_nothing_is_absent_with_its_reason() {
    type Change = fn(&mut Exchange);
    let cases: [(Gate, Change); 10] = [
        (Gate::ClockStep, |e| {
            e.response.as_mut().unwrap().captured_at_unix_ns += 5 * MS;
        }),
        (Gate::KissOfDeath, |e| {
            let header = header(e);
            (header.stratum, header.reference_id) = (0, u32::from_be_bytes(*b"RATE"));
        }),
        (Gate::ServerUnsynchronised, |e| header(e).leap = 3),
        (Gate::ServerUnsynchronised, |e| header(e).stratum = 16),
        (Gate::NoServerTime, |e| {
            header(e).receive_timestamp = NtpTimestamp(0);
        }),
        (Gate::InvalidServerTime, |e| {
            let header = header(e);
            std::mem::swap(
                &mut header.receive_timestamp,
                &mut header.transmit_timestamp,
            );
        }),
        (Gate::Superseded, |e| e.kind = Match::Superseded),
        (Gate::Late, |e| e.kind = Match::Late),
        (Gate::Weak, |e| e.kind = Match::Weak),
        (Gate::Interleaved, |e| e.kind = Match::Interleaved),
    ];
    for (gate, change) in cases {
        let mut exchange = asymmetric();
        change(&mut exchange);
        let measured = measured(&exchange, true, &Place::Told(Vantage::Client));
        assert_eq!(
            (measured.gate, measured.null_reason),
            (Some(gate), gate.name())
        );
        let values = [
            measured.offset_ns,
            measured.server_processing_ns,
            measured.network_delay_ns,
            measured.client_offset_ns,
            measured.client_to_server_ns,
        ];
        assert_eq!(values, [None; 5], "{gate:?}");
        assert!(measured.response_time_ns.is_some(), "{gate:?}");
        assert_eq!(measured.sample(), None);
    }
}

#[test]
fn a_gate_keeps_what_it_measured_out_of_statistics() {
    type Change = fn(&mut Exchange);
    let cases: [(Gate, Change); 3] = [
        (Gate::RootDistance, |e| header(e).root_dispersion = 16 << 16),
        (Gate::ReferenceInFuture, |e| {
            header(e).reference_timestamp = NtpTimestamp::from_unix_ns(EPOCH_UNIX_NS + 10 * MS);
        }),
        (Gate::Good, |e| {
            header(e).reference_timestamp = NtpTimestamp::from_unix_ns(EPOCH_UNIX_NS - 10 * MS);
        }),
    ];
    for (gate, change) in cases {
        let mut exchange = asymmetric();
        change(&mut exchange);
        let measured = measured(&exchange, true, &Place::Unknown);
        assert_eq!(measured.gate, Some(gate));
        assert!(measured.offset_ns.is_some());
        assert_eq!(measured.sample().is_some(), gate == Gate::Good);
    }
}

#[test]
fn a_server_that_claims_a_little_too_much_is_within_the_tolerance() {
    let claimed = |too_much_ns: i64| {
        let mut exchange = asymmetric();
        let t2 = header(&mut exchange).receive_timestamp;
        let t3 = NtpTimestamp::from_unix_ns(EPOCH_UNIX_NS + 8 * MS + 11 * MS + too_much_ns);
        assert!(t3.since(t2).0 > 0);
        header(&mut exchange).transmit_timestamp = t3;
        measured(&exchange, true, &Place::Unknown)
    };
    let little = claimed(2_000);
    assert!(near(little.network_delay_ns, -2_000));
    assert_eq!(
        (little.gate, little.offset_error_ns),
        (Some(Gate::Good), Some(0))
    );
    assert_eq!(claimed(60_000).gate, Some(Gate::InvalidServerTime));
}

#[test]
fn a_midnight_that_the_leap_indicator_speaks_of_is_marked() {
    let at_midnight = |leap: u8, after_ns: i64| {
        let mut exchange = asymmetric();
        let midnight = (EPOCH_UNIX_NS / DAY_NS + 1) * DAY_NS + after_ns;
        let asked = exchange.request.as_mut().unwrap();
        asked.captured_at_unix_ns = midnight;
        let answered = exchange.response.as_mut().unwrap();
        answered.captured_at_unix_ns = midnight + 11 * MS;
        answered.content.header.leap = leap;
        measured(&exchange, true, &Place::Unknown).is_leap_second
    };
    assert!(at_midnight(1, 500 * MS) && at_midnight(2, -500 * MS));
    assert!(!at_midnight(0, 500 * MS) && !at_midnight(1, 1500 * MS));
}
