//! Tables of packets and what the pairing makes of them.

use netmon_common::ntp::NtpTimestamp;

use super::*;
use crate::ntp::{
    Identifier,
    packet::example::{MS, S, client, request, response},
};

const LIMITS: Limits = Limits {
    timeout: Duration::from_secs(5),
    max_pending: 100,
};

/// A pairing that has run for long.
fn pairing(limits: Limits) -> Pairing {
    let mut pairing = Pairing::new(limits, 0);
    pairing.blind = Blind::until(0);
    pairing
}

fn observe(pairing: &mut Pairing, packet: Packet<Time>, found: &mut Vec<Exchange>) {
    let mut emit = |exchange| found.push(exchange);
    pairing.expire(packet.captured_at_ns, &mut emit);
    if packet.content.header.mode == netmon_common::ntp::Mode::Server {
        pairing.response(packet, &mut emit);
    } else if pairing.is_copy(&packet) {
        emit(Exchange::of_request(Match::DuplicateRequest, packet));
    } else {
        pairing.request(packet, false, &mut emit);
    }
}

/// What the pairing says to these packets, with a final look at 60 s.
fn exchanges(packets: impl IntoIterator<Item = Packet<Time>>) -> Vec<Exchange> {
    let mut pairing = pairing(LIMITS);
    let mut found = Vec::new();
    for packet in packets {
        observe(&mut pairing, packet, &mut found);
    }
    pairing.expire(60 * S, &mut |exchange| found.push(exchange));
    found
}

fn kinds(packets: impl IntoIterator<Item = Packet<Time>>) -> Vec<Match> {
    exchanges(packets).iter().map(|found| found.kind).collect()
}

/// Where a packet says something else.
fn but(mut packet: Packet<Time>, change: impl FnOnce(&mut Packet<Time>)) -> Packet<Time> {
    change(&mut packet);
    packet.sealed()
}

#[test]
fn a_response_answers_the_request_it_names() {
    let packets = [
        request(0, 1, 7),
        request(MS, 2, 8),
        response(2 * MS, 2, 8),
        response(3 * MS, 1, 7),
    ];
    assert_eq!(kinds(packets), [Match::Basic, Match::Basic]);
}

#[test]
fn versions_need_not_be_equal() {
    let other = but(response(MS, 1, 7), |packet| {
        packet.content.header.version = 3
    });
    assert_eq!(kinds([request(0, 1, 7), other]), [Match::Basic]);
}

#[test]
fn an_interleaved_response_names_what_the_client_received() {
    let asked = but(request(0, 1, 7), |packet| {
        packet.content.header.origin_timestamp = NtpTimestamp(20);
        packet.content.header.receive_timestamp = NtpTimestamp(21);
    });
    assert_eq!(kinds([asked, response(MS, 1, 21)]), [Match::Interleaved]);
    assert_eq!(kinds([asked, response(MS, 1, 7)]), [Match::Basic]);
    // Without an origin timestamp of its own the request is not interleaved.
    let random = but(asked, |packet| {
        packet.content.header.origin_timestamp = NtpTimestamp(0);
    });
    assert_eq!(
        kinds([random, response(MS, 1, 21)]),
        [Match::OriginMismatch, Match::Unanswered]
    );
}

#[test]
fn zeros_are_paired_in_their_order_for_two_seconds() {
    let zeros = [
        request(0, 1, 0),
        but(request(S, 1, 0), |packet| packet.content.header.poll = 4),
        response(S + MS, 1, 0),
        but(response(S + 2 * MS, 1, 0), |packet| {
            packet.content.header.poll = 4
        }),
    ];
    let found = exchanges(zeros);
    let asked_at: Vec<_> = found
        .iter()
        .map(|found| (found.kind, found.request.unwrap().captured_at_ns))
        .collect();
    assert_eq!(asked_at, [(Match::Weak, 0), (Match::Weak, S)]);
    let slow = [request(0, 1, 0), response(2 * S + 1, 1, 0)];
    assert_eq!(kinds(slow), [Match::OriginMismatch, Match::Unanswered]);
}

#[test]
fn zeros_stay_weak_when_the_client_has_asked_again() {
    let mut pairing = pairing(LIMITS);
    let mut found = Vec::new();
    let mut emit = |exchange: Exchange| found.push(exchange.kind);
    let asked = pairing.request(request(0, 1, 0), false, &mut emit).unwrap();
    pairing.supersede(asked);
    pairing.request(request(S, 1, 0), false, &mut emit).unwrap();
    pairing.response(response(S + MS, 1, 0), &mut emit);
    assert_eq!(found, [Match::Weak]);
}

#[test]
fn a_constant_is_paired_oldest_first_and_a_cookie_newest_first() {
    let answered_at = |cookie: u64| {
        let found = exchanges([
            request(0, 1, cookie),
            request(10 * MS, 1, cookie),
            response(20 * MS, 1, cookie),
        ]);
        found[0].request.unwrap().captured_at_ns
    };
    assert_eq!(answered_at(0x83aa_7e80_0000_0000), 0);
    assert_eq!(answered_at(0x83aa_7e80_1234_5678), 10 * MS);
}

#[test]
fn a_request_without_a_response_is_unanswered_once() {
    assert_eq!(kinds([request(0, 1, 7)]), [Match::Unanswered]);
}

#[test]
fn a_response_after_the_timeout_is_late() {
    let packets = [request(0, 1, 7), response(5 * S + MS, 1, 7)];
    assert_eq!(kinds(packets), [Match::Unanswered, Match::Late]);
}

#[test]
fn a_response_is_late_also_where_time_has_gone_back() {
    // Two captures, one behind the other, the later one first.
    let packets = [
        request(3600 * S, 1, 6),
        request(0, 2, 7),
        response(6 * S, 2, 7),
    ];
    let expected = [Match::Unanswered, Match::Late, Match::Unanswered];
    let mut pairing = pairing(LIMITS);
    let mut found = Vec::new();
    for packet in packets {
        observe(&mut pairing, packet, &mut found);
    }
    pairing.expire(3700 * S, &mut |exchange| found.push(exchange));
    let kinds: Vec<_> = found.iter().map(|found| found.kind).collect();
    assert_eq!(kinds, expected);
}

#[test]
fn a_second_response_is_a_duplicate_or_a_conflict() {
    let first = response(MS, 1, 7);
    let again = Packet {
        captured_at_ns: 2 * MS,
        ..first
    };
    let packets = [request(0, 1, 7), first, again, response(3 * MS, 1, 7)];
    let found = exchanges(packets);
    let kinds: Vec<_> = found.iter().map(|found| found.kind).collect();
    let expected = [
        Match::Basic,
        Match::DuplicateResponse,
        Match::ConflictingResponse,
    ];
    assert_eq!(kinds, expected);
    assert!(found.iter().all(|found| found.request.is_some()));
}

#[test]
fn a_response_that_names_no_request_is_told_apart() {
    assert_eq!(kinds([response(0, 1, 7)]), [Match::UnsolicitedResponse]);
    let packets = [request(0, 1, 7), response(MS, 1, 8), response(2 * MS, 1, 7)];
    assert_eq!(kinds(packets), [Match::Basic, Match::OriginMismatch]);
    let zero = [request(0, 1, 7), response(MS, 1, 0)];
    assert_eq!(kinds(zero), [Match::OriginMismatch, Match::Unanswered]);
}

#[test]
fn a_response_that_overtook_its_request_waits_for_it() {
    let swapped = |after_ns: u64| {
        let mut response = response(2 * MS, 1, 7);
        response.captured_at_ns = 2 * MS;
        // Its stamp is earlier, but it comes later.
        let request = request(MS, 1, 7);
        let mut pairing = pairing(LIMITS);
        let mut found = Vec::new();
        observe(&mut pairing, response, &mut found);
        pairing.expire(after_ns, &mut |exchange| found.push(exchange));
        observe(&mut pairing, request, &mut found);
        found.iter().map(|found| found.kind).collect::<Vec<_>>()
    };
    assert_eq!(swapped(50 * MS), [Match::Basic]);
    assert_eq!(swapped(102 * MS), [Match::UnsolicitedResponse]);
    // One that was seen before its request was sent does not answer it.
    let packets = [response(MS, 1, 7), request(2 * MS, 1, 7)];
    assert_eq!(
        kinds(packets),
        [Match::UnsolicitedResponse, Match::Unanswered]
    );
}

#[test]
fn an_answer_to_a_question_asked_again_is_superseded() {
    let packets = [
        request(0, 1, 7),
        request(2 * S, 1, 8),
        response(2 * S + MS, 1, 7),
        response(2 * S + 2 * MS, 1, 8),
    ];
    assert_eq!(kinds(packets), [Match::Superseded, Match::Basic]);
}

#[test]
fn one_request_seen_twice_is_one_request() {
    let first = request(0, 1, 7);
    let again = Packet {
        captured_at_ns: MS,
        ..first
    };
    let packets = [first, again, response(2 * MS, 1, 7)];
    assert_eq!(kinds(packets), [Match::DuplicateRequest, Match::Basic]);
}

#[test]
fn other_vlans_are_other_conversations() {
    let elsewhere = but(response(MS, 1, 7), |packet| packet.scope.vlans = [100, 0]);
    assert_eq!(
        kinds([request(0, 1, 7), elsewhere]),
        [Match::UnsolicitedResponse, Match::Unanswered]
    );
}

#[test]
fn an_answer_may_come_by_another_interface_or_from_another_address() {
    let by = but(response(MS, 1, 7), |packet| packet.scope.ifindex = 9);
    let found = exchanges([request(0, 1, 7), by]);
    assert_eq!(found[0].kind, Match::Basic);
    assert!(found[0].remarks.other_interface && !found[0].remarks.other_address);
    let from = but(response(MS, 1, 7), |packet| {
        packet.source = ([192, 0, 2, 99], 123).into();
    });
    let found = exchanges([request(0, 1, 7), from]);
    assert_eq!(found[0].kind, Match::Basic);
    assert!(found[0].remarks.other_address);
    assert_eq!(found[0].server, ([192, 0, 2, 2], 123).into());
    // The same timestamp in two requests names neither.
    let twin = but(request(MS, 1, 7), |packet| {
        packet.destination = ([192, 0, 2, 3], 123).into();
    });
    let packets = [request(0, 1, 7), twin, but(from, |_| {})];
    assert_eq!(kinds(packets)[0], Match::UnsolicitedResponse);
}

#[test]
fn an_answer_without_the_clients_identifier_is_forged() {
    let asked = but(request(0, 1, 7), |packet| {
        packet.content.identifier = Identifier::Present(5);
    });
    let with = |identifier| {
        let answer = but(response(MS, 1, 7), |packet| {
            packet.content.identifier = identifier;
        });
        exchanges([asked, answer])
    };
    assert_eq!(with(Identifier::Present(5))[0].kind, Match::Basic);
    let forged = &with(Identifier::Present(6))[0];
    assert_eq!(forged.kind, Match::OriginMismatch);
    assert!(forged.remarks.identifier_mismatch);
    assert_eq!(with(Identifier::Absent)[0].kind, Match::OriginMismatch);
}

fn refusal(at_ns: u64, port: u16, transmit: Option<u64>) -> Packet<Refusal> {
    response(at_ns, port, 0).with(Refusal {
        kind: 3,
        code: 3,
        sender: client(port),
        receiver: ([192, 0, 2, 2], 123).into(),
        is_of_request: true,
        transmit: transmit.map(NtpTimestamp),
    })
}

#[test]
fn a_refusal_ends_the_wait_of_the_request_that_it_quotes() {
    for (quoted, refused_at) in [(Some(7), 0), (Some(8), MS * 10), (None, MS * 10)] {
        let mut pairing = pairing(LIMITS);
        let mut found = Vec::new();
        observe(&mut pairing, request(0, 1, 7), &mut found);
        observe(&mut pairing, request(10 * MS, 1, 8), &mut found);
        pairing.refusal(refusal(11 * MS, 1, quoted), &mut |exchange| {
            found.push(exchange)
        });
        pairing.expire(60 * S, &mut |exchange| found.push(exchange));
        let kinds: Vec<_> = found.iter().map(|found| found.kind).collect();
        assert_eq!(kinds, [Match::Refused, Match::Unanswered]);
        assert_eq!(found[0].request.unwrap().captured_at_ns, refused_at);
    }
    let mut pairing = pairing(LIMITS);
    pairing.refusal(refusal(0, 1, Some(7)), &mut |_| panic!("nothing waits"));
    assert_eq!(pairing.tally().unpaired_refusals, 1);
}

#[test]
fn a_flood_from_one_network_takes_a_part_of_the_table() {
    let mut pairing = pairing(LIMITS);
    let mut found = Vec::new();
    for port in 0..1000 {
        observe(&mut pairing, request(0, port, 7), &mut found);
    }
    assert_eq!(
        (pairing.remembered(), pairing.tally().prefix_full),
        (25, 975)
    );
    pairing.expire(200 * S, &mut |exchange| found.push(exchange));
    assert_eq!((pairing.remembered(), pairing.memory.longest()), (0, 0));
    assert_eq!(found.len(), 25);
}

#[test]
fn a_flood_from_everywhere_pushes_out_the_oldest() {
    let mut pairing = pairing(LIMITS);
    let mut found = Vec::new();
    for number in 0..1000_u32 {
        let packet = but(request(u64::from(number), 1, 7), |packet| {
            packet.source.set_ip((number << 8).to_be_bytes().into());
        });
        observe(&mut pairing, packet, &mut found);
        assert!(pairing.memory.longest() <= 100);
    }
    assert_eq!((pairing.remembered(), pairing.tally().evicted), (100, 900));
    // Who was pushed out may get an answer that fits nothing: that accuses nobody.
    let answer = but(response(2000, 1, 7), |packet| {
        packet.destination.set_ip((5_u32 << 8).to_be_bytes().into());
    });
    observe(&mut pairing, answer, &mut found);
    assert_eq!(pairing.tally().unpaired_responses, 1);
    assert!(found.is_empty());
}

#[test]
fn answered_requests_make_room_for_new_ones() {
    let mut pairing = pairing(LIMITS);
    let mut found = Vec::new();
    // Ten a second: more than the table holds in a minute, fewer than in a time-out.
    for port in 0..1000 {
        let at_ns = u64::from(port) * 100 * MS;
        observe(&mut pairing, request(at_ns, port, 7), &mut found);
        observe(&mut pairing, response(at_ns + MS, port, 7), &mut found);
    }
    assert!(found.iter().all(|found| found.kind == Match::Basic));
    assert_eq!(found.len(), 1000);
    assert_eq!(pairing.tally(), Tally::default());
    assert!(pairing.memory.longest() <= 100);
}

#[test]
fn a_busy_path_that_is_answered_stays_paired() {
    let mut pairing = pairing(Limits {
        max_pending: 10_000,
        ..LIMITS
    });
    let mut found = Vec::new();
    for transmit in 1..=2000 {
        observe(
            &mut pairing,
            request(transmit * 10 * MS, 1, transmit),
            &mut found,
        );
        observe(
            &mut pairing,
            response((transmit * 10 + 1) * MS, 1, transmit),
            &mut found,
        );
    }
    assert!(found.iter().all(|found| found.kind == Match::Basic));
    assert_eq!(found.len(), 2000);
}

#[test]
fn a_response_whose_request_may_have_been_missed_accuses_nobody() {
    let mut pairing = Pairing::new(LIMITS, S);
    let mut found = Vec::new();
    observe(&mut pairing, response(S + MS, 1, 7), &mut found);
    assert_eq!(pairing.tally().unpaired_responses, 1);
    observe(&mut pairing, response(6 * S + MS, 1, 7), &mut found);
    assert!(found.is_empty());
    assert_eq!(pairing.held(), 1);
    pairing.expire(7 * S, &mut |exchange| found.push(exchange));
    assert_eq!(found[0].kind, Match::UnsolicitedResponse);
}

#[test]
fn one_path_cannot_take_the_whole_table() {
    let mut pairing = pairing(Limits {
        max_pending: 10_000,
        ..LIMITS
    });
    let mut found = Vec::new();
    for transmit in 1..=1000 {
        observe(
            &mut pairing,
            request(transmit * 10 * MS, 1, transmit),
            &mut found,
        );
    }
    let waits = pairing.remembered();
    assert!(waits <= 8, "{waits}");
    let tally = pairing.tally();
    let accounted = waits as u64 + tally.evicted + tally.path_full + found.len() as u64;
    assert!(accounted >= 1000, "{accounted} {tally:?}");
    assert!(pairing.memory.longest() <= 256);
}

#[test]
fn requests_that_wait_when_the_sensor_stops_are_reported() {
    let mut pairing = pairing(LIMITS);
    let mut found = Vec::new();
    observe(&mut pairing, request(0, 1, 7), &mut found);
    pairing.stop(&mut |exchange| found.push(exchange));
    let kinds: Vec<_> = found.iter().map(|found| found.kind).collect();
    assert_eq!(kinds, [Match::SensorStopped]);
}

fn at_interface(ifindex: u32, packet: Packet<Time>) -> Packet<Time> {
    but(packet, |packet| packet.scope.ifindex = ifindex)
}

#[test]
fn an_interface_may_have_a_time_out_of_its_own() {
    let mut pairing = pairing(LIMITS);
    let tap = Tap {
        namespace: 0,
        ifindex: 9,
    };
    pairing.set_timeouts(HashMap::from([(tap, Duration::from_millis(200))]));
    let mut found = Vec::new();
    for packet in [
        request(0, 1, 7),
        at_interface(9, request(MS, 2, 8)),
        at_interface(9, response(300 * MS, 2, 8)),
        response(300 * MS, 1, 7),
    ] {
        observe(&mut pairing, packet, &mut found);
    }
    let kinds: Vec<_> = found.iter().map(|exchange| exchange.kind).collect();
    assert_eq!(kinds, [Match::Unanswered, Match::Late, Match::Basic]);
}

#[test]
fn what_waits_where_no_more_is_to_be_seen_ends_once() {
    let mut pairing = pairing(LIMITS);
    let mut found = Vec::new();
    for packet in [
        request(0, 1, 7),
        at_interface(9, request(MS, 2, 8)),
        at_interface(9, request(2 * MS, 3, 9)),
        at_interface(9, response(3 * MS, 3, 9)),
        at_interface(9, response(4 * MS, 4, 10)),
    ] {
        observe(&mut pairing, packet, &mut found);
    }
    found.clear();
    let stays = |scope: Scope, _: SocketAddr, _: SocketAddr| scope.ifindex != 9;
    for _ in 0..2 {
        pairing.withdraw(stays, &mut |exchange| found.push(exchange));
    }
    let kinds: Vec<_> = found.iter().map(|exchange| exchange.kind).collect();
    // What was held has been seen before.
    assert_eq!(kinds, [Match::UnsolicitedResponse, Match::SensorStopped]);
    assert_eq!((pairing.remembered(), pairing.held()), (1, 0));
    found.clear();
    // The same paths again, while the queues still name the requests of before.
    observe(&mut pairing, at_interface(9, request(S, 2, 11)), &mut found);
    observe(
        &mut pairing,
        at_interface(9, response(S + MS, 2, 11)),
        &mut found,
    );
    pairing.expire(500 * S, &mut |exchange| found.push(exchange));
    let kinds: Vec<_> = found.iter().map(|exchange| exchange.kind).collect();
    assert_eq!(kinds, [Match::Basic, Match::Unanswered]);
    assert_eq!(pairing.remembered(), 0);
    assert_eq!(pairing.memory.longest(), 0);
}

#[test]
fn a_response_to_what_was_asked_before_an_interface_was_looked_at_accuses_nobody() {
    let mut pairing = pairing(LIMITS);
    let packet = at_interface(9, response(S, 1, 7));
    pairing.begin(packet.scope.tap(), S - MS);
    let mut found = Vec::new();
    observe(&mut pairing, packet, &mut found);
    observe(&mut pairing, response(S + MS, 2, 8), &mut found);
    pairing.expire(60 * S, &mut |exchange| found.push(exchange));
    assert_eq!(found.len(), 1);
    assert_eq!(
        (found[0].kind, found[0].scope.ifindex),
        (Match::UnsolicitedResponse, 1)
    );
    assert_eq!(pairing.tally().unpaired_responses, 1);
}
