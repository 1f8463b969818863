//! Times as they stand in logs.

use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time, UtcOffset};

use crate::reason::Reason;

/// What a time is read with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// For times without a zone.
    pub zone: UtcOffset,
    /// The last moment that can be meant, by which times without a year get theirs.
    pub last: OffsetDateTime,
}

/// A zone as `Z`, `UTC`, `+08:00`, `+0800` or `+08`.
///
/// # Errors
/// When it is none, with what it must be.
pub fn parse_zone(text: &str) -> Result<UtcOffset, &'static str> {
    let zone = zone(text.as_bytes()).filter(|(_, rest)| rest.is_empty());
    zone.map(|(zone, _)| zone)
        .ok_or("it must be Z or an offset from UTC such as +08:00")
}

impl Clock {
    /// A time that fills the text.
    pub(crate) fn parse(&self, text: &[u8]) -> Result<OffsetDateTime, Reason> {
        match self.prefix(text) {
            Some((at, [])) => Ok(at),
            _ => Err(Reason::BadTime),
        }
    }

    /// The time that a text begins with, and what follows it.
    pub(crate) fn prefix<'a>(&self, text: &'a [u8]) -> Option<(OffsetDateTime, &'a [u8])> {
        match text {
            [_, _, _, _, b'-', _, _, b'-', ..] | [_, _, _, _, b'/', _, _, b'/', ..] => {
                self.calendar(text)
            }
            [b'0'..=b'9', ..] => epoch(text),
            [b'A'..=b'Z', ..] => self.month_first(text),
            _ => None,
        }
    }

    /// RFC 3339, with a space for the `T` and without a zone too; also the date alone.
    fn calendar<'a>(&self, text: &'a [u8]) -> Option<(OffsetDateTime, &'a [u8])> {
        let date = date(
            number(text, 0..4)?,
            number(text, 5..7)?,
            number(text, 8..10)?,
        )?;
        let rest = &text[10..];
        let (time, rest) = match rest {
            [b'T' | b't' | b' ', _, _, b':', ..] => time_of_day(&rest[1..])?,
            _ => (Time::MIDNIGHT, rest),
        };
        self.moment(date, time, rest)
    }

    /// `Nov 20 2026 10:00:00.123 UTC`, as CEF has it, and `Nov 20 10:00:00` of syslog, which is of
    /// the last year that makes it no later than the latest possible moment.
    fn month_first<'a>(&self, text: &'a [u8]) -> Option<(OffsetDateTime, &'a [u8])> {
        const MONTHS: [&[u8]; 12] = [
            b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov",
            b"Dec",
        ];
        let name = text.get(..3)?;
        let month = 1 + MONTHS.iter().position(|month| *month == name)? as u32;
        let rest = text[3..].trim_ascii_start();
        let digits = rest
            .iter()
            .take_while(|octet| octet.is_ascii_digit())
            .count();
        if !(1..=2).contains(&digits) {
            return None;
        }
        let day = number(rest, 0..digits)?;
        let rest = rest[digits..].trim_ascii_start();
        if let Some(year) = number(rest, 0..4)
            && rest.get(4) == Some(&b' ')
        {
            let (time, rest) = time_of_day(rest[4..].trim_ascii_start())?;
            return self.moment(date(year, month, day)?, time, rest);
        }
        let (time, rest) = time_of_day(rest)?;
        let last = self.last.year();
        // 29 February may be eight years back.
        (last - 8..=last).rev().find_map(|year| {
            let date = date(u32::try_from(year).ok()?, month, day)?;
            let (at, rest) = self.moment(date, time, rest)?;
            (at <= self.last).then_some((at, rest))
        })
    }

    fn moment<'a>(
        &self,
        date: Date,
        time: Time,
        rest: &'a [u8],
    ) -> Option<(OffsetDateTime, &'a [u8])> {
        let (zone, rest) = match zone(rest) {
            Some(stated) => stated,
            None => (self.zone, rest),
        };
        let at = PrimitiveDateTime::new(date, time).assume_offset(zone);
        if zone.is_utc() {
            return Some((at, rest));
        }
        Some((at.checked_to_offset(UtcOffset::UTC)?, rest))
    }
}

fn date(year: u32, month: u32, day: u32) -> Option<Date> {
    let month = Month::try_from(u8::try_from(month).ok()?).ok()?;
    Date::from_calendar_date(i32::try_from(year).ok()?, month, u8::try_from(day).ok()?).ok()
}

/// `HH:MM:SS`, with a fraction if there is one, of which microseconds are taken. A leap second is
/// the last microsecond of its minute, so that it stays within its hour and its day.
fn time_of_day(text: &[u8]) -> Option<(Time, &[u8])> {
    let [_, _, b':', _, _, b':', _, _, ..] = text else {
        return None;
    };
    let hour = number(text, 0..2)? as u8;
    let minute = number(text, 3..5)? as u8;
    let second = number(text, 6..8)? as u8;
    let (mut us, rest) = match &text[8..] {
        [b'.' | b',', fraction @ ..] => {
            let digits = fraction
                .iter()
                .take_while(|octet| octet.is_ascii_digit())
                .count();
            if digits == 0 {
                return None;
            }
            (microseconds(&fraction[..digits]), &fraction[digits..])
        }
        rest => (0, rest),
    };
    let second = if second == 60 {
        us = 999_999;
        59
    } else {
        second
    };
    Some((Time::from_hms_micro(hour, minute, second, us).ok()?, rest))
}

/// A fraction of a second in whole microseconds.
fn microseconds(digits: &[u8]) -> u32 {
    (0..6).fold(0, |us, place| {
        us * 10 + digits.get(place).map_or(0, |digit| u32::from(digit - b'0'))
    })
}

/// The zone that a text begins with, behind at most one space. Names other than UTC's mean
/// different things in different places.
fn zone(text: &[u8]) -> Option<(UtcOffset, &[u8])> {
    let text = text.strip_prefix(b" ").unwrap_or(text);
    for name in [&b"UTC"[..], b"GMT", b"Z", b"z"] {
        if let Some(rest) = text.strip_prefix(name) {
            return Some((UtcOffset::UTC, rest));
        }
    }
    let sign = match text.first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let hours = number(text, 1..3)?;
    let (minutes, rest) = match &text[3..] {
        [b':', rest @ ..] if number(rest, 0..2).is_some() => (number(rest, 0..2)?, &rest[2..]),
        rest if number(rest, 0..2).is_some() => (number(rest, 0..2)?, &rest[2..]),
        rest => (0, rest),
    };
    // No place on Earth is further from UTC than 14 hours.
    if hours > 14 || minutes > 59 {
        return None;
    }
    let seconds = sign * (hours * 3600 + minutes * 60) as i32;
    Some((UtcOffset::from_whole_seconds(seconds).ok()?, rest))
}

/// Time since 1970 in seconds, also with a fraction, or in milli-, micro- or nanoseconds: a number
/// of 9 or 10 digits is seconds from 1973 to 2286, and each three more are the next finer unit.
fn epoch(text: &[u8]) -> Option<(OffsetDateTime, &[u8])> {
    let digits = text
        .iter()
        .take_while(|octet| octet.is_ascii_digit())
        .count();
    let (units_per_second, exponent) = match digits {
        9 | 10 => (1, 0),
        12 | 13 => (1_000, 3),
        15 | 16 => (1_000_000, 6),
        18 | 19 => (1_000_000_000, 9),
        _ => return None,
    };
    let value = text[..digits].iter().try_fold(0_i64, |value, digit| {
        value.checked_mul(10)?.checked_add(i64::from(digit - b'0'))
    })?;
    let within = value % units_per_second;
    let mut us = match exponent {
        9 => within / 1_000,
        _ => within * (1_000_000 / units_per_second),
    };
    let mut rest = &text[digits..];
    if exponent == 0
        && let [b'.', fraction @ ..] = rest
    {
        let digits = fraction
            .iter()
            .take_while(|octet| octet.is_ascii_digit())
            .count();
        if digits == 0 {
            return None;
        }
        us = i64::from(microseconds(&fraction[..digits]));
        rest = &fraction[digits..];
    }
    let at = OffsetDateTime::from_unix_timestamp(value / units_per_second).ok()?;
    Some((at + time::Duration::microseconds(us), rest))
}

/// Time since 1970 as a number of JSON.
pub(crate) fn from_number(number: f64) -> Result<OffsetDateTime, Reason> {
    let seconds = match number.abs() {
        // As many digits as in `epoch`.
        size if size < 1e11 => number,
        size if size < 1e14 => number / 1e3,
        size if size < 1e17 => number / 1e6,
        _ => number / 1e9,
    };
    let us = (seconds * 1e6).round();
    // The years of `OffsetDateTime`; what else is wrong with it, its window says.
    if !(-3e17..=2.5e17).contains(&us) || number.abs() < 1e8 {
        return Err(Reason::BadTime);
    }
    OffsetDateTime::from_unix_timestamp_nanos(us as i128 * 1_000).map_err(|_| Reason::BadTime)
}

fn number(text: &[u8], range: std::ops::Range<usize>) -> Option<u32> {
    let mut number = 0;
    for octet in text.get(range)? {
        if !octet.is_ascii_digit() {
            return None;
        }
        number = number * 10 + u32::from(octet - b'0');
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use time::macros::{datetime, offset};

    use super::*;

    fn clock(zone: UtcOffset) -> Clock {
        Clock {
            zone,
            last: datetime!(2026-11-21 18:00 UTC),
        }
    }

    #[test]
    fn times_are_read_as_logs_have_them() {
        let utc = clock(UtcOffset::UTC);
        let china = clock(offset!(+8));
        let ten = datetime!(2026-11-20 10:00:00 UTC);
        for (text, expected) in [
            ("2026-11-20T10:00:00Z", Some(ten)),
            ("2026-11-20t10:00:00z", Some(ten)),
            ("2026-11-20 10:00:00", Some(ten)),
            ("2026/11/20 10:00:00", Some(ten)),
            ("2026-11-20 10:00:00 UTC", Some(ten)),
            ("2026-11-20T18:00:00+08:00", Some(ten)),
            ("2026-11-20T18:00:00+0800", Some(ten)),
            ("2026-11-20 18:00:00 +08", Some(ten)),
            ("2026-11-20T05:30:00-04:30", Some(ten)),
            ("1795168800", Some(ten)),
            ("1795168800.0", Some(ten)),
            ("1795168800000", Some(ten)),
            ("1795168800000000", Some(ten)),
            ("1795168800000000000", Some(ten)),
            ("Nov 20 2026 10:00:00", Some(ten)),
            ("Nov 20 2026 10:00:00.000 GMT", Some(ten)),
            ("Nov 20 10:00:00", Some(ten)),
            ("Nov 22 10:00:00", Some(datetime!(2025-11-22 10:00 UTC))),
            ("Feb 29 10:00:00", Some(datetime!(2024-02-29 10:00 UTC))),
            ("Nov  2 10:00:00", Some(datetime!(2026-11-02 10:00 UTC))),
            ("2026-11-20", Some(datetime!(2026-11-20 0:00 UTC))),
            (
                "2026-11-20 10:00:00.5",
                Some(datetime!(2026-11-20 10:00:00.5 UTC)),
            ),
            (
                "2026-11-20T10:00:00.123456789Z",
                Some(datetime!(2026-11-20 10:00:00.123456 UTC)),
            ),
            ("1795168800.25", Some(datetime!(2026-11-20 10:00:00.25 UTC))),
            (
                "2016-12-31T23:59:60Z",
                Some(datetime!(2016-12-31 23:59:59.999999 UTC)),
            ),
            ("2026-11-20 10:00:00 CST", None),
            ("2026-11-20 10:00:00.", None),
            ("2026-11-20 10:00", None),
            ("2026-11-20 24:00:00", None),
            ("2026-11-20T10:00:00+15:00", None),
            ("2026-02-29", None),
            ("2026-13-01", None),
            ("0000-00-00 00:00:00", None),
            ("12345", None),
            ("17951688001", None),
            ("99999999999999999999", None),
            ("Nov 31 2026 10:00:00", None),
            ("Foo 20 2026 10:00:00", None),
            ("", None),
            ("now", None),
        ] {
            assert_eq!(utc.parse(text.as_bytes()).ok(), expected, "{text}");
        }
        for (text, expected) in [
            ("2026-11-20 18:00:00", ten),
            ("2026-11-20 10:00:00Z", ten),
            ("Nov 20 2026 18:00:00", ten),
            ("1795168800", ten),
        ] {
            assert_eq!(china.parse(text.as_bytes()), Ok(expected), "{text}");
        }
    }

    #[test]
    fn the_ends_of_the_calendar_are_no_trap() {
        let china = clock(offset!(+8));
        assert!(china.parse(b"0000-01-01 00:00:00").is_ok());
        let west = clock(offset!(-8));
        assert!(west.parse(b"9999-12-31 23:59:59").is_err());
        for number in [f64::NAN, f64::INFINITY, -1e300, 1e300, 0.0, 1e18, -1e18] {
            let _ = from_number(number);
        }
    }

    #[test]
    fn numbers_of_json_are_seconds_or_finer() {
        let ten = datetime!(2026-11-20 10:00:00 UTC);
        for number in [
            1_795_168_800.0,
            1_795_168_800e3,
            1_795_168_800e6,
            1_795_168_800e9,
        ] {
            assert_eq!(from_number(number), Ok(ten));
        }
        assert_eq!(from_number(42.0), Err(Reason::BadTime));
    }

    #[test]
    fn a_zone_is_an_offset() {
        assert_eq!(parse_zone("+08:00"), Ok(offset!(+8)));
        assert_eq!(parse_zone("-0330"), Ok(offset!(-3:30)));
        assert_eq!(parse_zone("Z"), Ok(UtcOffset::UTC));
        assert_eq!(parse_zone("UTC"), Ok(UtcOffset::UTC));
        for wrong in ["", "CST", "+25:00", "8", "+08:00x", "Asia/Shanghai"] {
            assert!(parse_zone(wrong).is_err(), "{wrong}");
        }
    }
}
