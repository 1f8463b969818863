//! Ranges of time, from `from` up to but not including `to`.

use time::{Duration, OffsetDateTime, UtcOffset, format_description::well_known::Rfc3339};

use super::problem::Problem;

/// How far back a request looks that does not say.
const DEFAULT_LENGTH: Duration = Duration::HOUR;

/// A range of time in UTC, in whole microseconds as PostgreSQL keeps them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first moment inside.
    pub from: OffsetDateTime,
    /// The first moment after.
    pub to: OffsetDateTime,
}

impl Range {
    /// Parses the parameters `from` and `to`; the default is the hour up to `now`.
    pub fn parse(
        from: Option<&str>,
        to: Option<&str>,
        now: OffsetDateTime,
    ) -> Result<Self, Problem> {
        let to = match to {
            Some(text) => time("to", text)?,
            None => now,
        };
        let from = match from {
            Some(text) => time("from", text)?,
            None => (to - DEFAULT_LENGTH).max(OffsetDateTime::UNIX_EPOCH),
        };
        if from >= to {
            return Err(Problem::parameter(
                "from",
                "it must lie before to, which is now by default",
            ));
        }
        Ok(Self { from, to })
    }

    /// Both ends in microseconds since 1970.
    pub fn unix_us(&self) -> (i64, i64) {
        (unix_us(self.from), unix_us(self.to))
    }

    /// The inverse of [`unix_us`](Self::unix_us); `None` if a time is before 1970 or after 9999.
    pub fn from_unix_us(from: i64, to: i64) -> Option<Self> {
        Some(Self {
            from: time_of_unix_us(from)?,
            to: time_of_unix_us(to)?,
        })
    }
}

/// Parses the RFC 3339 time in parameter `name`; nothing is stored from before 1970.
pub fn time(name: &'static str, text: &str) -> Result<OffsetDateTime, Problem> {
    OffsetDateTime::parse(text, &Rfc3339)
        .ok()
        .and_then(|time| time.checked_to_offset(UtcOffset::UTC))
        .and_then(|time| time_of_unix_us(unix_us(time)))
        .ok_or_else(|| {
            // An unescaped + of an offset arrives as a space.
            Problem::parameter(
                name,
                "it must be an RFC 3339 time from 1970 on, like 2026-11-20T08:00:00Z (write + as %2B)",
            )
        })
}

/// Whole microseconds since 1970, rounded down; every year `time` knows fits.
pub fn unix_us(time: OffsetDateTime) -> i64 {
    time.unix_timestamp_nanos().div_euclid(1000) as i64
}

/// The moment `us` microseconds after 1970; `None` before 1970 and after the year 9999.
pub fn time_of_unix_us(us: i64) -> Option<OffsetDateTime> {
    let ns = i128::from(us) * 1000;
    OffsetDateTime::from_unix_timestamp_nanos(ns)
        .ok()
        .filter(|_| us >= 0)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-11-20 12:00 UTC);

    #[test]
    fn the_default_is_the_last_hour() {
        let range = Range {
            from: datetime!(2026-11-20 11:00 UTC),
            to: NOW,
        };
        assert_eq!(Range::parse(None, None, NOW).unwrap(), range);
    }

    #[test]
    fn an_offset_is_turned_into_utc() {
        let range = Range::parse(Some("2026-11-20T13:30:00+02:00"), None, NOW).unwrap();
        assert_eq!(range.from, datetime!(2026-11-20 11:30 UTC));
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for (from, to) in [
            (Some("yesterday"), None),
            (Some(""), None),
            (Some("2026-11-20"), None),
            (Some("2026-11-20T10:00:00 02:00"), None),
            (None, Some("1700000000")),
            (Some("1969-12-31T23:59:59Z"), None),
            (Some("0000-01-01T00:00:00+23:59"), None),
            (None, Some("1970-01-01T00:00:00Z")),
            (None, Some("9999-12-31T23:59:59-23:59")),
            (Some("2026-11-20T12:00:00Z"), None),
            (Some("2026-11-20T11:00:00Z"), Some("2026-11-20T10:00:00Z")),
        ] {
            assert!(Range::parse(from, to, NOW).is_err(), "{from:?} {to:?}");
        }
    }

    #[test]
    fn the_ends_of_time_do_not_overflow() {
        let range = Range::parse(
            Some("1970-01-01T00:00:00Z"),
            Some("9999-12-31T23:59:59.999999Z"),
            NOW,
        );
        let range = range.unwrap();
        let (from, to) = range.unix_us();
        assert_eq!(Range::from_unix_us(from, to), Some(range));
        assert_eq!(Range::from_unix_us(i64::MIN, i64::MAX), None);
    }
}
