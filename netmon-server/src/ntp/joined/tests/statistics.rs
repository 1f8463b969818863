//! Many exchanges together.

use super::{Asked, CLIENT, MIDDLE, MS, SERVER, Sensor, asked};
use crate::ntp::joined::{Clock, Joined, Missing, Statistics, Summary, Trust};

#[test]
fn medians_and_percentiles_are_values_that_occurred() {
    for (values, median, p95) in [
        (vec![], None, None),
        (vec![7], Some(7), Some(7)),
        (vec![2, 1], Some(1), Some(2)),
        ((1..=100).rev().collect(), Some(50), Some(95)),
        ((-10..=10).collect(), Some(0), Some(9)),
    ] {
        let count = values.len();
        let expected = Summary { count, median, p95 };
        assert_eq!(Summary::of(values), expected);
    }
}

#[test]
fn each_two_places_have_their_own_figures() {
    let mut statistics = Statistics::default();
    for number in 0..20 {
        let asked = Asked {
            cookie: number + 1,
            ..asked()
        };
        let mut sensors = vec![CLIENT, SERVER];
        if number % 2 == 0 {
            sensors.push(MIDDLE);
        }
        let sightings = sensors.iter().map(|sensor: &Sensor| sensor.sees(asked));
        statistics.add(&Joined::new(sightings.collect(), Trust::Kernel));
    }
    let pairs = statistics.finish();
    let shown: Vec<_> = pairs
        .iter()
        .map(|pair| {
            let ends = (pair.from.agent, pair.to.agent);
            (ends, pair.exchanges, pair.forward.median, pair.backward.p95)
        })
        .collect();
    assert_eq!(
        shown,
        [
            ((1, 3), 20, Some(3 * MS), Some(7 * MS)),
            ((1, 2), 10, Some(MS), Some(2 * MS)),
            ((2, 3), 10, Some(2 * MS), Some(5 * MS)),
        ]
    );
    let whole = &pairs[0];
    assert_eq!(whole.asymmetry.median, Some(-4 * MS));
    assert_eq!(whole.round_trip.median, Some(10 * MS));
    assert_eq!(whole.error_ns, Some(200_000));
    assert_eq!(whole.offset_from.median, Some(-2 * MS));
    assert_eq!(whole.offset_to.median, Some(0));
}

#[test]
fn what_was_not_measured_is_counted_by_reason() {
    let mut statistics = Statistics::default();
    let adrift = Sensor {
        clock: Clock::Unsynchronised,
        ..CLIENT
    };
    for client in [CLIENT, adrift, adrift] {
        let sightings = vec![client.sees(asked()), SERVER.sees(asked())];
        statistics.add(&Joined::new(sightings, Trust::Kernel));
    }
    let pairs = statistics.finish();
    assert_eq!(pairs[0].exchanges, 3);
    assert_eq!(pairs[0].forward.count, 1);
    assert_eq!(pairs[0].round_trip.count, 3);
    assert_eq!(pairs[0].missing, [(Missing::SensorUnsynchronised, 2)]);
    assert_eq!(pairs[0].error_ns, Some(200_000));
}
