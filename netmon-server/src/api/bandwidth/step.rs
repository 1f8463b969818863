//! The length of a point.

use std::time::Duration;

use humantime_serde::re::humantime;

use crate::api::{problem::Problem, range::Range};

/// Points a request gets that names no step.
const DEFAULT_POINTS: i128 = 1000;

/// Points a request may ask for.
const MAX_POINTS: i128 = 10_000;

/// Agents sample no more often than this by default.
const MIN_MS: u64 = 500;

/// Round lengths to choose from, in milliseconds; beyond the last, whole days.
const ROUND_MS: [u64; 18] = [
    500, 1_000, 2_000, 5_000, 10_000, 15_000, 30_000, 60_000, 120_000, 300_000, 600_000, 900_000,
    1_800_000, 3_600_000, 7_200_000, 21_600_000, 43_200_000, DAY_MS,
];

const DAY_MS: u64 = 86_400_000;

/// A length in whole milliseconds, at least 500.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step(u64);

impl Step {
    /// Parses the parameter `step` for a query over `range`.
    pub fn parse(text: Option<&str>, range: Range) -> Result<Self, Problem> {
        let Some(text) = text else {
            return Ok(Self::round(range));
        };
        let step = humantime::parse_duration(text)
            .ok()
            .and_then(Self::from_duration)
            .ok_or_else(|| {
                Problem::parameter(
                    "step",
                    "it must be a length of 500ms or more in whole milliseconds, like 10s or 1h",
                )
            })?;
        match step.points(range) {
            points if points > MAX_POINTS => Err(Problem::TooManyPoints {
                points,
                limit: MAX_POINTS,
            }),
            _ => Ok(step),
        }
    }

    /// In microseconds.
    pub fn us(self) -> i64 {
        self.0 as i64 * 1000
    }

    /// `None` for a length that is too short, or longer than microseconds can count.
    fn from_duration(duration: Duration) -> Option<Self> {
        let ms = u64::try_from(duration.as_millis()).ok()?;
        let whole = duration.subsec_nanos().is_multiple_of(1_000_000);
        (whole && ms >= MIN_MS && ms <= i64::MAX as u64 / 1000).then_some(Self(ms))
    }

    /// The shortest round length that makes few enough points.
    fn round(range: Range) -> Self {
        let few = |ms: &u64| Self(*ms).points(range) <= DEFAULT_POINTS;
        if let Some(ms) = ROUND_MS.into_iter().find(few) {
            return Self(ms);
        }
        // One day more than a thousandth: the range may begin and end within a point.
        let days = Self(DAY_MS).points(range) / DEFAULT_POINTS + 1;
        Self(days as u64 * DAY_MS)
    }

    /// Points that can begin or end within `range`.
    fn points(self, range: Range) -> i128 {
        let (from, to) = range.unix_us();
        let us = i128::from(self.us());
        i128::from(to - 1).div_euclid(us) - i128::from(from).div_euclid(us) + 1
    }
}

#[cfg(test)]
mod tests {
    use time::{Duration as Length, macros::datetime};

    use super::*;

    fn range(length: Length) -> Range {
        let from = datetime!(2026-11-20 08:00 UTC);
        Range {
            from,
            to: from + length,
        }
    }

    #[test]
    fn the_default_is_round_and_makes_at_most_1000_points() {
        for (length, ms) in [
            (Length::milliseconds(1), 500),
            (Length::seconds(500), 500),
            (Length::seconds(501), 1_000),
            (Length::HOUR, 5_000),
            (Length::DAY, 120_000),
            (Length::WEEK, 900_000),
            (Length::days(999), DAY_MS),
            (Length::days(365 * 100), 37 * DAY_MS),
        ] {
            let step = Step::parse(None, range(length)).unwrap();
            assert_eq!(step.us(), ms as i64 * 1000, "{length}");
            assert!(step.points(range(length)) <= DEFAULT_POINTS, "{length}");
        }
    }

    #[test]
    fn the_longest_range_there_is_has_a_default() {
        let range = Range {
            from: datetime!(1970-01-01 0:00 UTC),
            to: datetime!(9999-12-31 23:59 UTC),
        };
        assert!(Step::round(range).points(range) <= DEFAULT_POINTS);
    }

    #[test]
    fn a_step_is_whole_milliseconds_from_500_on() {
        for (text, ms) in [
            ("500ms", Some(500)),
            ("10s", Some(10_000)),
            ("1h 30m", Some(5_400_000)),
            ("1500us", None),
            ("600ms 1us", None),
            ("499ms", None),
            ("0s", None),
            ("10", None),
            ("-1s", None),
            ("", None),
            ("ten seconds", None),
            ("18446744073709551615s", None),
            ("584000years", None),
        ] {
            let step = Step::parse(Some(text), range(Length::MINUTE));
            assert_eq!(step.ok().map(|step| step.0), ms, "{text}");
        }
    }

    #[test]
    fn more_than_10000_points_are_refused() {
        let length = Length::seconds(10_000);
        assert!(Step::parse(Some("1s"), range(length)).is_ok());
        let refused = Step::parse(Some("1s"), range(length + Length::SECOND));
        assert!(matches!(
            refused,
            Err(Problem::TooManyPoints { points: 10_001, .. })
        ));
    }
}
