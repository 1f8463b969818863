//! Tables of packets and what the pairing makes of them.

use std::net::SocketAddr;

use netmon_common::{
    counters::Direction,
    ntp::{Header, NtpTimestamp},
};

use super::*;
use crate::ntp::Scope;

const MS: u64 = 1_000_000;
const LIMITS: Limits = Limits {
    timeout: Duration::from_secs(5),
    max_pending: 100,
};

fn packet(mode: Mode, at_ms: u64, port: u16, origin: u64, transmit: u64) -> Packet {
    let client: SocketAddr = ([192, 0, 2, 1], port).into();
    let server: SocketAddr = ([192, 0, 2, 2], 123).into();
    let (source, destination) = if mode == Mode::Client {
        (client, server)
    } else {
        (server, client)
    };
    Packet {
        scope: Scope {
            ifindex: 1,
            vlans: [0; 2],
        },
        direction: Direction::Egress,
        captured_at_ns: at_ms * MS,
        captured_at_unix_ns: (at_ms * MS) as i64,
        source,
        destination,
        header: Header {
            leap: 0,
            version: 4,
            mode,
            stratum: 1,
            poll: 0,
            precision: 0,
            root_delay: 0,
            root_dispersion: 0,
            reference_id: 0,
            reference_timestamp: NtpTimestamp(0),
            origin_timestamp: NtpTimestamp(origin),
            receive_timestamp: NtpTimestamp(5),
            transmit_timestamp: NtpTimestamp(transmit),
        },
        length: 48,
        ttl: 64,
        nts: false,
        frame: 0,
    }
}

fn request(at_ms: u64, port: u16, transmit: u64) -> Packet {
    packet(Mode::Client, at_ms, port, 0, transmit)
}

fn response(at_ms: u64, port: u16, origin: u64) -> Packet {
    packet(Mode::Server, at_ms, port, origin, 99)
}

/// What the pairing says to these packets, with a final look at 60 s. It has run for long.
fn kinds(packets: impl IntoIterator<Item = Packet>) -> Vec<Match> {
    let mut pairing = Pairing::new(LIMITS, 0);
    pairing.blind_until_ns = 0;
    let mut kinds = Vec::new();
    for packet in packets {
        pairing.expire(packet.captured_at_ns, |exchange| kinds.push(exchange.kind));
        kinds.extend(pairing.observe(packet).map(|exchange| exchange.kind));
    }
    pairing.expire(60_000 * MS, |exchange| kinds.push(exchange.kind));
    kinds
}

#[test]
fn a_response_answers_the_request_it_names() {
    let packets = [
        request(0, 1, 7),
        request(1, 2, 8),
        response(2, 2, 8),
        response(3, 1, 7),
    ];
    assert_eq!(kinds(packets), [Match::Basic, Match::Basic]);
}

#[test]
fn a_request_without_a_response_is_unanswered_once() {
    assert_eq!(kinds([request(0, 1, 7)]), [Match::Unanswered]);
}

#[test]
fn a_response_after_the_timeout_is_late() {
    let packets = [request(0, 1, 7), response(5_001, 1, 7)];
    assert_eq!(kinds(packets), [Match::Unanswered, Match::Late]);
}

#[test]
fn a_second_response_is_a_duplicate_or_a_conflict() {
    let mut other = response(3, 1, 7);
    other.header.receive_timestamp = NtpTimestamp(6);
    let packets = [
        request(0, 1, 7),
        response(1, 1, 7),
        response(2, 1, 7),
        other,
    ];
    assert_eq!(
        kinds(packets),
        [
            Match::Basic,
            Match::DuplicateResponse,
            Match::ConflictingResponse
        ]
    );
}

#[test]
fn a_response_that_names_no_request_is_told_apart() {
    assert_eq!(kinds([response(0, 1, 7)]), [Match::UnsolicitedResponse]);
    let packets = [request(0, 1, 7), response(1, 1, 8), response(2, 1, 7)];
    assert_eq!(kinds(packets), [Match::OriginMismatch, Match::Basic]);
    let zero = [request(0, 1, 0), response(1, 1, 0)];
    assert_eq!(kinds(zero), [Match::OriginMismatch, Match::Unanswered]);
}

#[test]
fn an_answer_to_a_question_asked_again_is_superseded() {
    let packets = [
        request(0, 1, 7),
        request(2_000, 1, 8),
        response(2_500, 1, 7),
        response(2_600, 1, 8),
    ];
    assert_eq!(kinds(packets), [Match::Superseded, Match::Basic]);
}

#[test]
fn one_request_seen_twice_is_one_request() {
    let packets = [request(0, 1, 7), request(1, 1, 7), response(2, 1, 7)];
    assert_eq!(kinds(packets), [Match::Basic]);
}

#[test]
fn other_interfaces_and_vlans_are_other_conversations() {
    let mut elsewhere = response(1, 1, 7);
    elsewhere.scope.vlans = [100, 0];
    assert_eq!(
        kinds([request(0, 1, 7), elsewhere]),
        [Match::UnsolicitedResponse, Match::Unanswered]
    );
}

#[test]
fn a_flood_of_requests_does_not_grow_the_table() {
    let mut pairing = Pairing::new(LIMITS, 0);
    for port in 0..1000 {
        pairing.observe(request(0, port, 7));
    }
    assert_eq!(
        (pairing.remembered(), pairing.tally().untracked_requests),
        (100, 900)
    );
    let mut unanswered = 0;
    pairing.expire(200_000 * MS, |_| unanswered += 1);
    assert_eq!((pairing.remembered(), pairing.memory.paths()), (0, 0));
    assert!(pairing.memory.queued() == 0);
    assert!(unanswered > 0);
}

#[test]
fn answered_requests_make_room_for_new_ones() {
    let mut pairing = Pairing::new(LIMITS, 0);
    // Ten a second: more than the table holds in a minute, fewer than in a time-out.
    for port in 0..1000 {
        let at_ms = u64::from(port) * 100;
        pairing.expire(at_ms * MS, |_| panic!("nothing is unanswered"));
        pairing.observe(request(at_ms, port, 7));
        let answer = pairing.observe(response(at_ms + 1, port, 7));
        assert_eq!(
            answer.map(|exchange| exchange.kind),
            Some(Match::Basic),
            "{port}"
        );
    }
    assert_eq!(pairing.tally().untracked_requests, 0);
    assert!(pairing.memory.queued() <= 100 && pairing.memory.paths() <= 100);
}

#[test]
fn a_busy_path_that_is_answered_stays_paired() {
    let mut pairing = Pairing::new(
        Limits {
            max_pending: 10_000,
            ..LIMITS
        },
        0,
    );
    for transmit in 1..=2000 {
        pairing.observe(request(transmit * 10, 1, transmit));
        let answer = pairing.observe(response(transmit * 10 + 1, 1, transmit));
        assert_eq!(
            answer.map(|exchange| exchange.kind),
            Some(Match::Basic),
            "{transmit}"
        );
    }
}

#[test]
fn a_response_whose_request_may_have_been_missed_accuses_nobody() {
    let mut pairing = Pairing::new(LIMITS, 1000 * MS);
    assert!(pairing.observe(response(1500, 1, 7)).is_none());
    assert_eq!(pairing.tally().unpaired_responses, 1);
    assert!(pairing.observe(response(6001, 1, 7)).is_some());
}

#[test]
fn one_path_cannot_take_the_whole_table() {
    let mut pairing = Pairing::new(
        Limits {
            max_pending: 10_000,
            ..LIMITS
        },
        0,
    );
    for transmit in 1..=1000 {
        pairing.observe(request(transmit * 10, 1, transmit));
    }
    assert_eq!(pairing.remembered(), 8);
    assert_eq!(pairing.tally().evicted_requests, 248);
    assert_eq!(pairing.tally().untracked_requests, 744);
    assert_eq!(pairing.memory.queued(), 256);
}

#[test]
fn requests_that_wait_when_the_sensor_stops_are_reported() {
    let mut pairing = Pairing::new(LIMITS, 0);
    pairing.observe(request(0, 1, 7));
    let mut kinds = Vec::new();
    pairing.stop(|exchange| kinds.push(exchange.kind));
    assert_eq!(kinds, [Match::SensorStopped]);
}
