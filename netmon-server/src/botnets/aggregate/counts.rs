//! Statistics of places, and how two of them differ.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

/// Nodes and their communications.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Nodes.
    pub nodes: i64,
    /// Sightings of them since the first.
    pub communications: i64,
}

/// Counts by the number of the place. A place without a node has no entry, or zeros.
pub type ByPlace = BTreeMap<i32, Counts>;

/// How far statistics are from a count of the same moment. Always nothing: whatever else is a fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = BotnetDrift)]
pub struct Drift {
    /// Places that differ.
    pub places: u64,
    /// Sum of the absolute differences of nodes.
    pub nodes: u64,
    /// Sum of the absolute differences of communications.
    pub communications: u64,
}

impl Drift {
    /// How far `live` is from what was counted.
    pub fn between(counted: &ByPlace, live: &ByPlace) -> Self {
        let mut drift = Self::default();
        for (_, counted, live) in pairs(counted, live).filter(|(_, a, b)| a != b) {
            drift.places += 1;
            drift.nodes += counted.nodes.abs_diff(live.nodes);
            drift.communications += counted.communications.abs_diff(live.communications);
        }
        drift
    }

    /// Whether all is as counted.
    pub fn is_none(self) -> bool {
        self == Self::default()
    }
}

/// What turns stored rows into those that were counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Replacement {
    /// Places whose rows go.
    pub(super) gone: Vec<i32>,
    /// Places whose rows are new or differ.
    pub(super) set: Vec<(i32, Counts)>,
}

impl Replacement {
    pub(super) fn of(stored: &ByPlace, counted: &ByPlace) -> Self {
        let gone = stored.keys().filter(|place| !counted.contains_key(place));
        let set = counted
            .iter()
            .filter(|(place, counts)| stored.get(place) != Some(counts));
        Self {
            gone: gone.copied().collect(),
            set: set.map(|(place, counts)| (*place, *counts)).collect(),
        }
    }
}

/// Every place of either, with both counts.
fn pairs<'a>(
    one: &'a ByPlace,
    other: &'a ByPlace,
) -> impl Iterator<Item = (i32, Counts, Counts)> + 'a {
    let of = |all: &ByPlace, place: &i32| all.get(place).copied().unwrap_or_default();
    let only_other = other.keys().filter(|place| !one.contains_key(place));
    let places = one.keys().chain(only_other);
    places.map(move |place| (*place, of(one, place), of(other, place)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by_place(rows: &[(i32, i64, i64)]) -> ByPlace {
        let row = |&(place, nodes, communications): &(i32, i64, i64)| {
            let counts = Counts {
                nodes,
                communications,
            };
            (place, counts)
        };
        rows.iter().map(row).collect()
    }

    #[test]
    fn drift_adds_up_differences_in_both_directions() {
        let counted = by_place(&[(1, 10, 100), (2, 5, 50), (3, 1, 1)]);
        for (live, drift) in [
            (counted.clone(), (0, 0, 0)),
            (by_place(&[(1, 12, 100), (2, 3, 50), (3, 1, 1)]), (2, 4, 0)),
            (by_place(&[(1, 10, 100), (2, 5, 50)]), (1, 1, 1)),
            (
                by_place(&[(1, 10, 99), (2, 5, 50), (3, 1, 1), (4, -1, 2)]),
                (2, 1, 3),
            ),
            // A place of zeros is as one that is not there.
            (
                by_place(&[(1, 10, 100), (2, 5, 50), (3, 1, 1), (4, 0, 0)]),
                (0, 0, 0),
            ),
        ] {
            let found = Drift::between(&counted, &live);
            let found = (found.places, found.nodes, found.communications);
            assert_eq!(found, drift, "{live:?}");
        }
    }

    #[test]
    fn only_rows_that_differ_are_written() {
        let stored = by_place(&[(1, 1, 1), (2, 2, 2), (3, 0, 0)]);
        let counted = by_place(&[(1, 1, 1), (2, 2, 3), (4, 4, 4)]);
        let replacement = Replacement::of(&stored, &counted);
        assert_eq!(replacement.gone, [3]);
        let set: Vec<_> = replacement.set.iter().map(|(place, _)| *place).collect();
        assert_eq!(set, [2, 4]);
    }
}
