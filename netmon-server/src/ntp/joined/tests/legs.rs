//! What the way between sensors takes, and whose clock is wrong.

use super::{Asked, CLIENT, KEPT, MIDDLE, MS, SERVER, Sensor, asked};
use crate::ntp::joined::{Basis, Clock, Joined, Missing, Sighting, Trust, Vantage};

fn joined(sensors: &[Sensor], asked: Asked) -> Joined {
    let sightings = sensors.iter().map(|sensor| sensor.sees(asked));
    Joined::new(sightings.collect(), Trust::Kernel)
}

fn agents(joined: &Joined) -> Vec<i64> {
    joined.sightings.iter().map(|s| s.place.agent).collect()
}

#[test]
fn each_direction_is_measured_by_itself() {
    let joined = joined(&[SERVER, MIDDLE, CLIENT], asked());
    assert_eq!(agents(&joined), [1, 2, 3]);
    assert_eq!(joined.ordered_by, Basis::Vantage);
    let ways: Vec<_> = joined
        .legs
        .iter()
        .map(|leg| (leg.forward_ns, leg.backward_ns, leg.error_ns))
        .collect();
    assert_eq!(
        ways,
        [
            (Some(MS), Some(2 * MS), Some(200_000)),
            (Some(2 * MS), Some(5 * MS), Some(200_000)),
        ]
    );
    let whole = joined.whole.unwrap();
    assert_eq!((whole.from, whole.to), (0, 2));
    assert_eq!(
        (whole.forward_ns, whole.backward_ns),
        (Some(3 * MS), Some(7 * MS))
    );
    assert_eq!(whole.asymmetry_ns(), Some(-4 * MS));
    assert_eq!(whole.asymmetry_error_ns(), Some(400_000));
    assert_eq!(whole.round_trip_ns, Some(10 * MS));
    assert_eq!(whole.missing, None);
}

#[test]
fn the_error_of_the_servers_clock_is_told_apart_from_the_paths_asymmetry() {
    for server_ahead_ns in [0, 5 * MS, -123_456] {
        let asked = Asked {
            server_ahead_ns,
            ..asked()
        };
        let joined = joined(&[CLIENT, MIDDLE, SERVER], asked);
        let clock = joined.server_clock;
        assert_eq!(clock.sighting, Some(2));
        assert_eq!(clock.offset_ns, Some(server_ahead_ns));
        // There is no way left from the sensor to the server, only the sensor's clock.
        assert_eq!(clock.error_ns, Some(100_000));
        for (number, from_asymmetry_ns) in [(0, -2 * MS), (1, -3 * MS / 2), (2, 0)] {
            let sighting = &joined.sightings[number];
            assert_eq!(
                sighting.offset_ns,
                Some(server_ahead_ns + from_asymmetry_ns)
            );
            assert_eq!(
                joined.offset_from_asymmetry_ns(number, Trust::Kernel),
                Some(from_asymmetry_ns)
            );
        }
    }
}

#[test]
fn a_wrong_clock_moves_both_directions_by_what_it_admits() {
    let ahead = Sensor {
        ahead_ns: 80_000,
        ..SERVER
    };
    let joined = joined(&[CLIENT, ahead], asked());
    let leg = joined.legs[0];
    assert_eq!(leg.forward_ns, Some(3 * MS + 80_000));
    assert_eq!(leg.backward_ns, Some(7 * MS - 80_000));
    assert_eq!(leg.round_trip_ns, Some(10 * MS));
    let error_ns = i64::try_from(leg.error_ns.unwrap()).unwrap();
    assert!(80_000 <= error_ns);
    assert!((leg.asymmetry_ns().unwrap() + 4 * MS).abs() <= 2 * error_ns);
}

#[test]
fn no_error_is_larger_than_what_the_round_trip_leaves() {
    let clock = Clock::Synchronised {
        maximum_error_ns: Some(900_000_000),
    };
    for (ahead_ns, error_ns) in [(0, 7 * MS), (2 * MS, 5 * MS), (-5 * MS, 12 * MS)] {
        let ahead = Sensor {
            ahead_ns,
            clock,
            ..SERVER
        };
        let leg = joined(&[CLIENT, ahead], asked()).legs[0];
        assert_eq!(leg.error_ns, Some(error_ns.unsigned_abs()));
        let truth = 3 * MS;
        assert!((leg.forward_ns.unwrap() - truth).abs() <= error_ns);
    }
}

#[test]
fn without_synchronised_clocks_only_the_round_trip_is_known() {
    for (clock, missing) in [
        (Clock::Unsynchronised, Missing::SensorUnsynchronised),
        (Clock::Unknown, Missing::ClockUnknown),
    ] {
        for sensors in [
            [Sensor { clock, ..CLIENT }, SERVER],
            [CLIENT, Sensor { clock, ..SERVER }],
        ] {
            let sightings: Vec<_> = sensors.iter().map(|s| s.sees(asked())).collect();
            let joined = Joined::new(sightings.clone(), Trust::Kernel);
            let leg = joined.legs[0];
            assert_eq!((leg.forward_ns, leg.backward_ns), (None, None));
            assert_eq!(leg.asymmetry_ns(), None);
            assert_eq!(leg.missing, Some(missing));
            assert_eq!(leg.round_trip_ns, Some(10 * MS));
            assert_eq!(joined.offset_from_asymmetry_ns(0, Trust::Kernel), None);
            // Unless somebody knows better; nobody says by how much they are wrong, but no way takes
            // less than nothing.
            let joined = Joined::new(sightings, Trust::Assumed);
            let leg = joined.legs[0];
            assert_eq!(
                (leg.forward_ns, leg.backward_ns),
                (Some(3 * MS), Some(7 * MS))
            );
            let longest_ns = 7 * MS.unsigned_abs();
            assert_eq!((leg.error_ns, leg.missing), (Some(longest_ns), None));
        }
        let joined = joined(&[CLIENT, Sensor { clock, ..SERVER }], asked());
        assert_eq!(joined.server_clock.offset_ns, None);
        assert_eq!(joined.server_clock.missing, Some(missing));
    }
}

#[test]
fn clocks_that_let_a_packet_arrive_before_it_left_are_not_believed() {
    let behind = Sensor {
        ahead_ns: -4 * MS,
        ..SERVER
    };
    let leg = joined(&[CLIENT, behind], asked()).legs[0];
    assert_eq!((leg.forward_ns, leg.backward_ns), (None, None));
    assert_eq!(leg.missing, Some(Missing::ClocksContradict));
    // They said that they may be that wrong.
    let clock = Clock::Synchronised {
        maximum_error_ns: Some(5_000_000),
    };
    let leg = joined(&[CLIENT, Sensor { clock, ..behind }], asked()).legs[0];
    assert_eq!(leg.forward_ns, Some(-MS));
    assert_eq!(leg.error_ns, Some(5_100_000));
}

#[test]
fn two_interfaces_of_one_agent_have_one_clock() {
    let inside = Sensor {
        clock: Clock::Unsynchronised,
        ..MIDDLE
    };
    let outside = Sensor {
        interface: "wan0",
        from_client_ns: MS + 40_000,
        to_client_ns: 2 * MS + 60_000,
        ..inside
    };
    let joined = joined(&[outside, inside], asked());
    let leg = joined.legs[0];
    assert_eq!(joined.sightings[0].place.interface, "eth0");
    assert_eq!(
        (leg.forward_ns, leg.backward_ns),
        (Some(40_000), Some(60_000))
    );
    assert_eq!((leg.error_ns, leg.missing), (Some(0), None));
}

#[test]
fn a_step_of_a_clock_spoils_what_it_measures() {
    let stepped = Sighting {
        clock_stepped: true,
        ..CLIENT.sees(asked())
    };
    let joined = Joined::new(vec![stepped, SERVER.sees(asked())], Trust::Kernel);
    assert_eq!(joined.legs[0].missing, Some(Missing::ClockStep));
    assert_eq!(joined.legs[0].round_trip_ns, Some(10 * MS));
}

#[test]
fn a_lost_answer_leaves_the_way_there() {
    let sightings = vec![CLIENT.waits(asked()), SERVER.sees(asked())];
    let leg = Joined::new(sightings, Trust::Kernel).legs[0];
    assert_eq!((leg.forward_ns, leg.backward_ns), (Some(3 * MS), None));
    assert_eq!(leg.missing, Some(Missing::NoResponse));
    assert_eq!(leg.round_trip_ns, None);
}

#[test]
fn the_order_is_that_of_the_path_whatever_the_clocks_say() {
    let transit = |sensor: Sensor, ahead_ns| Sensor {
        vantage: Vantage::Transit,
        ahead_ns,
        clock: Clock::Unsynchronised,
        ..sensor
    };
    let sensors = [
        transit(SERVER, -90 * MS),
        transit(CLIENT, 40 * MS),
        transit(MIDDLE, 0),
    ];
    let joined = joined(&sensors, asked());
    assert_eq!(agents(&joined), [1, 2, 3]);
    assert_eq!(joined.ordered_by, Basis::ResponseTime);
}

#[test]
fn where_no_answer_tells_the_order_the_ttl_does_and_then_the_time() {
    let transit = |sensor: Sensor| Sensor {
        vantage: Vantage::Transit,
        clock: KEPT,
        ..sensor
    };
    let at = |sensor: Sensor, ttl| Sighting {
        request_ttl: Some(ttl),
        ..transit(sensor).waits(asked())
    };
    for (ttls, basis) in [([64, 63, 60], Basis::Ttl), ([64, 64, 64], Basis::Time)] {
        let [client, middle, server] = ttls;
        let sightings = vec![at(MIDDLE, middle), at(SERVER, server), at(CLIENT, client)];
        let joined = Joined::new(sightings, Trust::Kernel);
        assert_eq!(agents(&joined), [1, 2, 3], "{ttls:?}");
        assert_eq!(joined.ordered_by, basis);
    }
}

#[test]
fn the_path_is_called_as_its_ends_call_it() {
    let mut outside = SERVER.sees(asked());
    outside.path.client = "203.0.113.9:61001".parse().unwrap();
    outside.path.server = "10.0.0.5:123".parse().unwrap();
    let joined = Joined::new(vec![outside, CLIENT.sees(asked())], Trust::Kernel);
    let path = joined.path().unwrap();
    assert_eq!(path.client, asked().path.client);
    assert_eq!(path.server, "10.0.0.5:123".parse().unwrap());
    assert!(joined.is_translated());
}

#[test]
fn extreme_stamps_do_not_overflow() {
    let mut first = CLIENT.sees(asked());
    let mut last = SERVER.sees(asked());
    first.requested_at_ns = Some(i64::MIN);
    first.response_time_ns = Some(i64::MAX);
    last.requested_at_ns = Some(i64::MAX);
    last.response_time_ns = Some(i64::MIN);
    let leg = Joined::new(vec![first, last], Trust::Assumed).legs[0];
    assert_eq!((leg.forward_ns, leg.round_trip_ns), (None, None));
}
