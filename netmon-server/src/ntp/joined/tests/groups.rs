//! Which sightings are of one exchange.

use super::{ASKED_NS, Asked, CLIENT, MIDDLE, MS, SERVER, TOLERANCE_US, asked, grouped, path};
use crate::ntp::joined::{Kind, Path, Sighting};

fn later(by_ns: i64) -> Asked {
    Asked {
        at_ns: ASKED_NS + by_ns,
        ..asked()
    }
}

#[test]
fn one_exchange_is_joined_wherever_it_was_seen() {
    let sightings = [MIDDLE, SERVER, CLIENT].map(|sensor| sensor.sees(asked()));
    assert_eq!(grouped(sightings.into()), [(Kind::Joined, vec![1, 2, 3])]);
    assert_eq!(
        grouped(vec![CLIENT.sees(asked())]),
        [(Kind::Alone, vec![1])]
    );
}

#[test]
fn exchanges_with_cookies_of_their_own_stay_apart() {
    let other = Asked {
        cookie: 7,
        ..later(MS)
    };
    let sightings = [asked(), other].into_iter();
    let sightings = sightings.flat_map(|asked| [CLIENT, SERVER].map(|s| s.sees(asked)));
    assert_eq!(
        grouped(sightings.collect()),
        [(Kind::Joined, vec![1, 3]), (Kind::Joined, vec![1, 3])]
    );
}

#[test]
fn a_constant_transmit_timestamp_is_told_apart_by_the_servers_times() {
    for cookie in [0, 0x83aa_7e80_0000_0000] {
        let requests = (0..4).map(|second| Asked {
            cookie,
            ..later(second * 1000 * MS)
        });
        let sightings = requests.flat_map(|asked| [CLIENT, SERVER].map(|s| s.sees(asked)));
        let groups = grouped(sightings.collect());
        assert_eq!(groups, vec![(Kind::Joined, vec![1, 3]); 4], "{cookie:x}");
    }
}

#[test]
fn requests_that_repeat_a_cookie_and_got_no_answer_are_not_joined() {
    let (first, retry) = (asked(), later(1000 * MS));
    let sightings = vec![
        CLIENT.waits(first),
        CLIENT.waits(retry),
        SERVER.waits(retry),
    ];
    assert_eq!(grouped(sightings), [(Kind::Ambiguous, vec![1, 1, 3])]);
    // Nor with an answered one that they might be the request of.
    let sightings = vec![
        CLIENT.sees(first),
        SERVER.sees(first),
        CLIENT.waits(retry),
        SERVER.waits(retry),
    ];
    assert_eq!(
        grouped(sightings),
        [(Kind::Ambiguous, vec![1, 3]), (Kind::Joined, vec![1, 3]),]
    );
}

#[test]
fn a_cookie_that_comes_back_after_the_tolerance_is_another_request() {
    let again = later((TOLERANCE_US as i64 + 1_000_000) * 1000);
    let sightings = [asked(), again].into_iter();
    let sightings = sightings.flat_map(|asked| [CLIENT, SERVER].map(|s| s.waits(asked)));
    assert_eq!(
        grouped(sightings.collect()),
        [(Kind::Joined, vec![1, 3]), (Kind::Joined, vec![1, 3])]
    );
}

#[test]
fn zero_is_no_cookie() {
    let nothing = Asked {
        cookie: 0,
        ..asked()
    };
    assert_eq!(
        grouped(vec![CLIENT.waits(nothing), SERVER.waits(nothing)]),
        [(Kind::Alone, vec![3]), (Kind::Alone, vec![1])]
    );
}

#[test]
fn an_answer_that_was_lost_on_the_way_back_is_joined_by_the_request() {
    let sightings = vec![
        CLIENT.waits(asked()),
        MIDDLE.waits(asked()),
        SERVER.sees(asked()),
    ];
    assert_eq!(grouped(sightings), [(Kind::Joined, vec![1, 2, 3])]);
}

#[test]
fn a_request_and_its_late_answer_are_one_sighting() {
    let late = Sighting {
        matched: "late".to_owned(),
        ..CLIENT.sees(asked())
    };
    for rows in [
        [CLIENT.waits(asked()), late.clone()],
        [late.clone(), CLIENT.waits(asked())],
    ] {
        let sightings = rows.into_iter().chain([SERVER.sees(asked())]);
        assert_eq!(grouped(sightings.collect()), [(Kind::Joined, vec![1, 3])]);
    }
}

#[test]
fn a_translated_exchange_is_joined_by_its_timestamps_and_only_if_it_was_answered() {
    let outside = Asked {
        path: Path {
            client: "203.0.113.9:61001".parse().unwrap(),
            ..path()
        },
        ..asked()
    };
    let sightings = vec![CLIENT.sees(asked()), SERVER.sees(outside)];
    assert_eq!(grouped(sightings), [(Kind::Joined, vec![1, 3])]);
    let sightings = vec![CLIENT.waits(asked()), SERVER.waits(outside)];
    assert_eq!(
        grouped(sightings),
        [(Kind::Alone, vec![3]), (Kind::Alone, vec![1])]
    );
    // A kiss-o'-death that repeats the cookie has no timestamps of the server.
    let kiss = |sighting: Sighting| Sighting {
        receive_timestamp: asked().cookie,
        transmit_timestamp: asked().cookie,
        ..sighting
    };
    let sightings = vec![kiss(CLIENT.sees(asked())), kiss(SERVER.sees(outside))];
    assert_eq!(
        grouped(sightings),
        [(Kind::Alone, vec![3]), (Kind::Alone, vec![1])]
    );
    let sightings = vec![kiss(CLIENT.sees(asked())), kiss(SERVER.sees(asked()))];
    assert_eq!(grouped(sightings), [(Kind::Joined, vec![1, 3])]);
}

#[test]
fn the_host_that_translates_sees_both_sides() {
    let outside = Asked {
        path: Path {
            client: "203.0.113.9:61001".parse().unwrap(),
            ..path()
        },
        ..asked()
    };
    let behind = super::Sensor {
        interface: "wan0",
        from_client_ns: MS + 10_000,
        ..MIDDLE
    };
    let sightings = vec![
        CLIENT.sees(asked()),
        MIDDLE.sees(asked()),
        behind.sees(outside),
        SERVER.sees(outside),
    ];
    assert_eq!(grouped(sightings), [(Kind::Joined, vec![1, 2, 2, 3])]);
}

#[test]
fn an_answer_that_came_back_another_way_is_joined_by_the_origin_it_repeats() {
    let response_only = Sighting {
        matched: "unsolicited_response".to_owned(),
        requested_at_ns: None,
        response_time_ns: None,
        ..MIDDLE.sees(asked())
    };
    let sightings = vec![CLIENT.sees(asked()), response_only, SERVER.sees(asked())];
    assert_eq!(grouped(sightings), [(Kind::Joined, vec![1, 2, 3])]);
}

#[test]
fn sightings_of_any_mixture_are_each_in_exactly_one_group() {
    use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

    let mut random = StdRng::seed_from_u64(11);
    for _ in 0..300 {
        let sightings: Vec<_> = (0..random.random_range(0..40))
            .map(|ordinal| {
                let asked = Asked {
                    cookie: random.random_range(0..3),
                    ..later(random.random_range(0..4) * 1500 * MS)
                };
                let sensor = [CLIENT, MIDDLE, SERVER][random.random_range(0..3)];
                let mut sighting = match random.random_bool(0.5) {
                    true => sensor.sees(asked),
                    false => sensor.waits(asked),
                };
                sighting.key.4 = ordinal;
                // Each row has a request of its own, so that none is merged.
                sighting.requested_at_ns = Some(asked.at_ns + i64::from(ordinal));
                sighting
            })
            .collect();
        let mut expected: Vec<_> = sightings.iter().map(|s| s.key).collect();
        expected.sort_unstable();
        let groups = super::group(sightings, TOLERANCE_US);
        let mut got: Vec<_> = groups
            .iter()
            .flat_map(|group| group.sightings.iter().map(|s| s.key))
            .collect();
        got.sort_unstable();
        assert_eq!(got, expected);
        for group in groups.iter().filter(|group| group.kind == Kind::Joined) {
            let mut places: Vec<_> = group.sightings.iter().map(|s| &s.place).collect();
            places.sort_unstable();
            places.dedup();
            assert_eq!(places.len(), group.sightings.len());
            assert!(places.len() > 1);
        }
    }
}
