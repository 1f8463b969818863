//! Everything together: histories of packets and what must hold of any.

use std::{collections::HashMap, net::SocketAddr};

use netmon_common::ntp::{Mode, NtpTimestamp};

use super::*;
use crate::ntp::{
    Gate, Vantage,
    packet::example::{EPOCH_UNIX_NS, MS, S, packet, request, response, server},
};

const LIMITS: Limits = Limits {
    timeout: Duration::from_secs(5),
    max_pending: 1000,
    max_associations: 50,
};

fn findings(packets: impl IntoIterator<Item = Packet<Time>>) -> Vec<Finding> {
    // Long before: nothing was missed.
    let mut observer = Observer::new(LIMITS, 0);
    let mut found = Vec::new();
    let mut take = |new| match new {
        Found::Exchange(finding) => found.push(*finding),
        Found::Dialogue(_) => panic!("nobody asked for one"),
    };
    for mut packet in packets {
        packet.captured_at_ns += 100 * S;
        observer.observe(packet.decoded(), &mut take);
    }
    observer.expire(10_000 * S, &mut take);
    found
}

fn kinds(findings: &[Finding]) -> Vec<Match> {
    findings
        .iter()
        .map(|finding| finding.exchange.kind)
        .collect()
}

fn but(mut packet: Packet<Time>, change: impl FnOnce(&mut Packet<Time>)) -> Packet<Time> {
    change(&mut packet);
    packet.sealed()
}

#[test]
fn a_client_that_asks_from_a_new_port_gives_up_the_question_before() {
    let packets = [
        request(0, 1, 7),
        request(2 * S, 2, 8),
        response(2 * S + 500 * MS, 1, 7),
        response(2 * S + 510 * MS, 2, 8),
    ];
    let found = findings(packets);
    assert_eq!(kinds(&found), [Match::Superseded, Match::Basic]);
    assert_eq!(found[0].measured.gate, Some(Gate::Superseded));
    assert_eq!(
        (
            found[0].measured.offset_ns,
            found[0].measured.server_processing_ns
        ),
        (None, None)
    );
    assert!(found[1].exchange.remarks.retry, "2 s instead of 64 s");
}

#[test]
fn others_behind_the_same_address_give_up_nothing() {
    let quick = [
        request(0, 1, 7),
        request(50 * MS, 2, 8),
        response(60 * MS, 1, 7),
        response(70 * MS, 2, 8),
    ];
    assert_eq!(kinds(&findings(quick)), [Match::Basic, Match::Basic]);
    let other = but(request(2 * S, 2, 8), |packet| {
        packet.content.header.version = 3
    });
    let packets = [
        request(0, 1, 7),
        other,
        response(3 * S, 1, 7),
        response(3 * S, 2, 8),
    ];
    assert_eq!(kinds(&findings(packets)), [Match::Basic, Match::Basic]);
}

#[test]
fn running_figures_follow_the_exchanges() {
    let packets = (0..10_u64).flat_map(|n| {
        let asked = request(n * 64 * S, 1, n + 1);
        let answer = response(n * 64 * S + 10 * MS, 1, n + 1);
        [Some(asked), (n != 3).then_some(answer)]
            .into_iter()
            .flatten()
    });
    let found = findings(packets);
    let last = found.last().unwrap().association.unwrap();
    assert_eq!(
        (last.requests, last.unanswered, last.reach),
        (10, 1, 0b1011_1111)
    );
    assert_eq!((last.interval_ns, last.samples), (64 * S, 8));
    // The server's clock is right, all of the delay but a millisecond is before it.
    let offset = last.filtered_offset_ns.unwrap();
    assert!(offset.abs_diff(4 * MS as i64) <= 2, "{offset}");
    assert!(last.jitter_ns.unwrap() <= 2);
}

#[test]
fn an_interleaved_response_completes_the_exchange_before() {
    // Every 16 s: 3 ms there, 1 ms work, 7 ms back; each response says when the one before left.
    let stamp = |at_ns: u64| NtpTimestamp::from_unix_ns(EPOCH_UNIX_NS + at_ns as i64);
    let packets = (0..4_u64).flat_map(|n| {
        let at_ns = n * 16 * S;
        let before_ns = at_ns.wrapping_sub(16 * S);
        let asked = but(request(at_ns, 1, 1000 + n), |packet| {
            let header = &mut packet.content.header;
            if n > 0 {
                header.origin_timestamp = stamp(before_ns + 3 * MS);
                header.receive_timestamp = NtpTimestamp(2000 + n);
            }
        });
        let answer = but(response(at_ns + 11 * MS, 1, 0), |packet| {
            let header = &mut packet.content.header;
            header.receive_timestamp = stamp(at_ns + 3 * MS);
            (header.origin_timestamp, header.transmit_timestamp) = if n > 0 {
                (NtpTimestamp(2000 + n), stamp(before_ns + 4 * MS))
            } else {
                (NtpTimestamp(1000), stamp(at_ns + 4 * MS))
            };
        });
        [asked, answer]
    });
    let found = findings(packets);
    assert_eq!(kinds(&found)[..2], [Match::Basic, Match::Interleaved]);
    for finding in &found {
        let measured = finding.measured;
        let near = |value: Option<i64>, expected: u64| {
            assert!(
                value.unwrap().abs_diff(expected as i64) <= 2,
                "{measured:?}"
            );
        };
        near(measured.response_time_ns, 11 * MS);
        near(measured.server_processing_ns, MS);
        near(measured.network_delay_ns, 10 * MS);
        assert!(measured.offset_ns.unwrap().abs_diff(-2 * MS as i64) <= 2);
        assert_eq!(measured.gate, Some(Gate::Good));
        assert_eq!(
            measured.of_previous,
            finding.exchange.kind == Match::Interleaved
        );
    }
}

#[test]
fn a_client_that_repeats_its_timestamps_discloses_its_own_measurement() {
    // The client's clock is 5 ms behind; the sensor is 1 ms from it.
    let stamp = |at_ns: u64| NtpTimestamp::from_unix_ns(EPOCH_UNIX_NS + at_ns as i64);
    let at_client =
        |at_ns: u64| NtpTimestamp::from_unix_ns(EPOCH_UNIX_NS + at_ns as i64 - 5 * MS as i64);
    let asked = but(request(S, 123, 0), |packet| {
        packet.content.header.transmit_timestamp = at_client(S - MS);
    });
    let answer = but(response(S + 6 * MS, 123, 0), |packet| {
        let header = &mut packet.content.header;
        header.origin_timestamp = at_client(S - MS);
        header.receive_timestamp = stamp(S + 2 * MS);
        header.transmit_timestamp = stamp(S + 3 * MS);
    });
    let next = but(request(65 * S, 123, 0), |packet| {
        let header = &mut packet.content.header;
        header.origin_timestamp = stamp(S + 3 * MS);
        header.receive_timestamp = at_client(S + 7 * MS);
        header.transmit_timestamp = at_client(65 * S - MS);
    });
    let found = findings([asked, answer, next]);
    let view = found[1].client_view.unwrap();
    assert_eq!(view.requested_at_unix_ns, asked.captured_at_unix_ns);
    assert!(view.delay_ns.abs_diff(7 * MS as i64) <= 2, "{view:?}");
    // 5 ms, less half of what is longer on the way back: (3 - 4) / 2.
    assert!(
        view.offset_ns.abs_diff(4 * MS as i64 + 500_000) <= 2,
        "{view:?}"
    );
    assert!(found[0].client_view.is_none());
}

#[test]
fn random_transmit_timestamps_are_never_times() {
    let mut random = Random(1);
    let packets = (0..2000_u64).flat_map(|n| {
        let cookie = random.next();
        [
            request(n * S, 1, cookie),
            response(n * S + 10 * MS, 1, cookie),
        ]
    });
    for finding in findings(packets) {
        let measured = finding.measured;
        assert_eq!(
            (measured.client_clock_ns, measured.client_to_server_ns),
            (None, None)
        );
        assert_eq!(measured.null_reason, "client_cookie");
        assert!(!measured.is_time_disclosed);
    }
}

#[test]
fn a_random_number_is_no_time_because_its_neighbour_sends_times() {
    let cookie = 0x1234_5678_9abc_def0;
    let times = (1..=3).map(|n| {
        but(request(n * MS, 2, 0), |packet| {
            // Ten seconds ahead: known for a time only by being so again and again.
            let sent = packet.captured_at_unix_ns + 10 * S as i64;
            packet.content.header.transmit_timestamp = NtpTimestamp::from_unix_ns(sent);
        })
    });
    let packets = [request(0, 1, cookie)]
        .into_iter()
        .chain(times)
        .chain([response(20 * MS, 1, cookie)]);
    let found = findings(packets);
    assert_eq!(found[0].exchange.kind, Match::Basic);
    assert_eq!(found[0].measured.client_clock_ns, None);
    assert!(!found[0].measured.is_time_disclosed);
}

#[test]
fn peers_have_offset_and_delay_and_no_response_time() {
    let peer = |at_ns: u64, from_server: bool, origin: u64, receive: u64| {
        but(packet(Mode::SymmetricActive, at_ns), |packet| {
            if !from_server {
                (packet.source, packet.destination) = (packet.destination, packet.source);
            }
            let stamp = |at_ns: u64| match at_ns {
                0 => NtpTimestamp(0),
                at_ns => NtpTimestamp::from_unix_ns(EPOCH_UNIX_NS + at_ns as i64),
            };
            let header = &mut packet.content.header;
            header.origin_timestamp = stamp(origin);
            header.receive_timestamp = stamp(receive);
            header.transmit_timestamp = stamp(at_ns);
        })
    };
    let found = findings([
        peer(S, false, 0, 0),
        peer(30 * S, true, S, S + 2 * MS),
        peer(64 * S, false, 30 * S, 30 * S + MS),
    ]);
    assert_eq!(kinds(&found), [Match::Symmetric; 3]);
    assert_eq!(found[0].measured.null_reason, "symmetric");
    let measured = found[1].measured;
    assert_eq!(
        (measured.response_time_ns, measured.gate),
        (None, Some(Gate::Good))
    );
    assert!(measured.network_delay_ns.unwrap().abs_diff(2 * MS as i64) <= 2);
    assert!(found[2].measured.offset_ns.is_some());
}

#[test]
fn a_broadcast_says_only_how_far_its_time_is_from_here() {
    let sent = NtpTimestamp::from_unix_ns(EPOCH_UNIX_NS);
    let broadcast = but(packet(Mode::Broadcast, 3 * MS), |packet| {
        packet.content.header.transmit_timestamp = sent;
    });
    let found = findings([broadcast]);
    assert_eq!(kinds(&found), [Match::Broadcast]);
    let measured = found[0].measured;
    assert!(
        measured
            .server_to_sensor_ns
            .unwrap()
            .abs_diff(3 * MS as i64)
            <= 1
    );
    assert_eq!(
        (measured.offset_ns, measured.null_reason),
        (None, "broadcast")
    );
    assert_eq!(found[0].exchange.server, server());
}

#[test]
fn tables_stay_bounded_under_a_flood_of_strangers() {
    let mut observer = Observer::new(LIMITS, 0);
    for number in 0..5000_u32 {
        let asked = but(request(u64::from(number), 1, 7), |packet| {
            packet
                .source
                .set_ip(number.reverse_bits().to_be_bytes().into());
        });
        observer.observe(asked.decoded(), &mut |_| {});
        let load = observer.load();
        assert!(load.requests <= 1000 && load.tables[0].1 <= 50, "{load:?}");
    }
    assert_eq!(observer.load().tables[0], ("associations", 50, 4950));
}

/// A pseudo-random number generator (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// A few clients, servers and timestamps, so that everything meets everything.
fn any_packet(random: &mut Random, at_ns: u64, number: u64) -> Packet<Time> {
    let modes = [
        Mode::Client,
        Mode::Server,
        Mode::Server,
        Mode::SymmetricActive,
        Mode::Broadcast,
    ];
    let mode = if random.below(10) < 8 {
        modes[random.below(2) as usize]
    } else {
        modes[random.below(5) as usize]
    };
    but(packet(mode, at_ns), |packet| {
        let client: SocketAddr = (
            [192, 0, 2, random.below(3) as u8],
            1000 + random.below(3) as u16,
        )
            .into();
        let server: SocketAddr = ([192, 0, 2, 100 + random.below(2) as u8], 123).into();
        (packet.source, packet.destination) = match mode {
            Mode::Client => (client, server),
            _ => (server, client),
        };
        packet.scope.ifindex = random.below(2) as u32;
        packet.frame = number;
        let header = &mut packet.content.header;
        for field in [
            &mut header.origin_timestamp,
            &mut header.receive_timestamp,
            &mut header.transmit_timestamp,
        ] {
            *field = NtpTimestamp(random.below(5));
        }
        header.stratum = random.below(4) as u8;
    })
}

#[test]
fn every_packet_ends_in_exactly_one_kind_and_an_answer_pairs_at_most_once() {
    for seed in 0..300 {
        let mut random = Random(seed);
        let mut observer = Observer::new(
            Limits {
                max_pending: 20 + random.below(40) as usize,
                ..LIMITS
            },
            0,
        );
        observer.set_place(Place::Told(Vantage::Client));
        let mut found = Vec::new();
        let mut at_ns = 10 * S;
        let (mut requests, mut others) = (0, 0);
        for number in 1..=200 {
            at_ns += random.below(400) * MS;
            // Some are stamped a little before those that came before.
            let stamped_ns = at_ns - random.below(3) * MS;
            let packet = any_packet(&mut random, stamped_ns, number);
            if packet.content.role == Role::Request {
                requests += 1;
            } else {
                others += 1;
            }
            observer.observe(packet.decoded(), &mut |new| found.push(new));
        }
        observer.expire(at_ns, &mut |new| found.push(new));
        observer.stop(&mut |new| found.push(new));
        let (mut asked, mut answered) = (HashMap::new(), HashMap::new());
        for new in &found {
            let Found::Exchange(finding) = new else {
                panic!("nobody asked")
            };
            check(finding);
            let exchange = &finding.exchange;
            let of_request = match exchange.kind {
                // Its request was reported before.
                Match::Late | Match::DuplicateResponse | Match::ConflictingResponse => None,
                Match::Symmetric => None,
                _ => exchange.request,
            };
            for (packet, seen) in [(of_request, &mut asked), (exchange.response, &mut answered)] {
                if let Some(packet) = packet {
                    *seen.entry(packet.frame).or_insert(0_u64) += 1;
                }
            }
        }
        let tally = observer.tally();
        assert!(
            asked
                .values()
                .chain(answered.values())
                .all(|times| *times == 1),
            "seed {seed}"
        );
        let lost = tally.evicted + tally.prefix_full + tally.path_full;
        // Copies of peers' packets are requests too many.
        let duplicates = |finding: &&Found| match finding {
            Found::Exchange(finding) => {
                finding.exchange.kind == Match::DuplicateRequest
                    && finding.exchange.request.unwrap().content.role != Role::Request
            }
            Found::Dialogue(_) => false,
        };
        let of_peers = found.iter().filter(duplicates).count() as u64;
        assert_eq!(
            asked.len() as u64 + lost,
            requests + of_peers,
            "seed {seed} {tally:?}"
        );
        let unpaired = tally.unpaired_responses;
        assert_eq!(
            answered.len() as u64 + unpaired + of_peers,
            others,
            "seed {seed}"
        );
    }
}

/// What must hold of any finding.
fn check(finding: &Finding) {
    let (exchange, measured) = (&finding.exchange, &finding.measured);
    let is_pair = exchange.kind.is_answered();
    assert_eq!(measured.response_time_ns.is_some(), is_pair, "{exchange:?}");
    assert!(
        measured.response_time_ns.is_none_or(|ns| ns >= 0),
        "{exchange:?}"
    );
    if let Some(response) = &exchange.response
        && response.content.header.stratum == 0
    {
        assert_eq!(
            (measured.offset_ns, measured.server_processing_ns),
            (None, None)
        );
    }
    if matches!(exchange.kind, Match::Late | Match::Superseded) {
        assert_eq!((measured.offset_ns, measured.sample()), (None, None));
    }
    let message = finding.message("eth0");
    assert_eq!(message.vantage, wire::NtpVantage::Client as i32);
}
