//! Numbers for people.

use std::time::Duration;

/// A rate such as `12.3 Mbit/s`.
pub fn bits_per_second(value: f64) -> String {
    format!("{}bit/s", scaled(value))
}

/// An amount such as `12.3 MB`.
pub fn bytes(value: f64) -> String {
    format!("{}B", scaled(value))
}

/// A number with a decimal prefix, three digits long where it can be: `999 `, `1.00 k`, `12.3 M`.
pub fn scaled(value: f64) -> String {
    let mut value = value;
    let mut prefixes = ["", "k", "M", "G", "T"].iter().peekable();
    while let Some(prefix) = prefixes.next() {
        // Beyond this it would be rounded to four digits.
        if value < 999.5 || prefixes.peek().is_none() {
            let digits = match value {
                _ if prefix.is_empty() && value.fract() == 0.0 => 0,
                ..9.995 => 2,
                ..99.95 => 1,
                _ => 0,
            };
            return format!("{value:.digits$} {prefix}");
        }
        value /= 1000.0;
    }
    unreachable!("the last prefix takes every number")
}

/// A length of time such as `500ms`, `60s`, `5m` or `2h`.
///
/// # Errors
/// When it is not one, or zero.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|letter: char| !letter.is_ascii_digit());
    let (number, unit) = text.split_at(split.unwrap_or(text.len()));
    let milliseconds: u64 = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err("a number with its unit is expected, as in 60s, 5m or 2h".into()),
    };
    number
        .parse()
        .ok()
        .and_then(|number: u64| number.checked_mul(milliseconds))
        // A year: beyond it the clock's arithmetic may not go.
        .filter(|milliseconds| (1..=31_536_000_000).contains(milliseconds))
        .map(Duration::from_millis)
        .ok_or_else(|| "a time between 1ms and a year is expected".into())
}

/// As `1:02:03` or `2:03`.
pub fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_and_a_prefix() {
        let cases = [
            (0.0, "0 "),
            (7.0, "7 "),
            (0.5, "0.50 "),
            (99.97, "100 "),
            (999.4, "999 "),
            (999.6, "1.00 k"),
            (12_345.0, "12.3 k"),
            (2.5e9, "2.50 G"),
            (7e15, "7000 T"),
        ];
        for (value, expected) in cases {
            assert_eq!(scaled(value), expected, "{value}");
        }
    }

    #[test]
    fn lengths_of_time_have_a_unit() {
        let cases = [
            ("60s", Some(60_000)),
            ("250ms", Some(250)),
            ("5m", Some(300_000)),
            ("2h", Some(7_200_000)),
            ("60", None),
            ("0s", None),
            ("s", None),
            ("-1s", None),
            ("99999999999999999999s", None),
            ("9999999h", None),
        ];
        for (text, milliseconds) in cases {
            let expected = milliseconds.map(Duration::from_millis);
            assert_eq!(parse_duration(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn hours_are_shown_only_where_there_are_any() {
        assert_eq!(clock(Duration::from_secs(123)), "2:03");
        assert_eq!(clock(Duration::from_secs(3723)), "1:02:03");
    }
}
