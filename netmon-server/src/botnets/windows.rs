//! The windows in which nodes count as active: 24 hours, 7 days and 30 days before the beginning of
//! an hour.
//!
//! Communications are counted by hour (UTC), so a window that begins and ends with an hour is exact.

use time::{Duration, OffsetDateTime};

/// So long after its end an hour is closed: what is on its way then is mostly in.
const MARGIN: Duration = Duration::minutes(2);

const HOUR_SECONDS: i64 = 3600;

/// The windows that end at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// Their end, the beginning of an hour; what is seen from then on does not count yet.
    pub as_of: OffsetDateTime,
}

impl Windows {
    /// The last windows that are closed at a moment.
    pub fn closed(now: OffsetDateTime) -> Self {
        let second = (now - MARGIN).unix_timestamp();
        let hour = second - second.rem_euclid(HOUR_SECONDS);
        Self {
            // A whole hour not after a time that exists.
            as_of: OffsetDateTime::from_unix_timestamp(hour).unwrap_or(OffsetDateTime::UNIX_EPOCH),
        }
    }

    /// When the window of 24 hours begins.
    pub fn day(self) -> OffsetDateTime {
        self.as_of - Duration::DAY
    }

    /// When the window of 7 days begins.
    pub fn week(self) -> OffsetDateTime {
        self.as_of - Duration::days(7)
    }

    /// When the window of 30 days begins.
    pub fn month(self) -> OffsetDateTime {
        self.as_of - Duration::days(30)
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn an_hour_is_closed_two_minutes_after_its_end() {
        for (now, as_of) in [
            (
                datetime!(2026-11-21 18:30:00 UTC),
                datetime!(2026-11-21 18:00 UTC),
            ),
            (
                datetime!(2026-11-21 18:02:00 UTC),
                datetime!(2026-11-21 18:00 UTC),
            ),
            (
                datetime!(2026-11-21 18:01:59.9 UTC),
                datetime!(2026-11-21 17:00 UTC),
            ),
            (
                datetime!(2026-11-22 00:00:10 UTC),
                datetime!(2026-11-21 23:00 UTC),
            ),
            (
                datetime!(1969-12-31 23:30 UTC),
                datetime!(1969-12-31 23:00 UTC),
            ),
        ] {
            assert_eq!(Windows::closed(now).as_of, as_of, "{now}");
        }
    }
}
