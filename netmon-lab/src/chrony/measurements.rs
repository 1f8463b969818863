//! chrony's `measurements.log`, column by column as chrony.conf(5) has it.

use std::{net::IpAddr, str::FromStr};

use anyhow::{Context as _, Result};

/// One line of the log: one exchange as chrony saw it. Times are seconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Measurement {
    /// UTC, `YYYY-MM-DD HH:MM:SS`.
    pub at: String,
    /// The server.
    pub server: IpAddr,
    /// The leap status as chrony writes it: `N`, `+`, `-` or `?`.
    pub leap: char,
    /// The server's stratum.
    pub stratum: u8,
    /// Whether all tests of the NTP specification and of chrony passed.
    pub passed_all_tests: bool,
    /// Poll exponent of the client.
    pub local_poll: i8,
    /// Poll exponent that the server returned.
    pub remote_poll: i8,
    /// How far the local clock is behind the server's: positive means it is slow.
    pub offset: f64,
    /// Round-trip delay.
    pub delay: f64,
    /// Dispersion.
    pub dispersion: f64,
    /// The server's root delay.
    pub root_delay: f64,
    /// The server's root dispersion.
    pub root_dispersion: f64,
    /// The server's reference identifier.
    pub reference_id: u32,
}

/// Reads a whole log; the banner that chrony repeats is passed over, and so is a last line that is
/// still being written.
///
/// # Errors
/// When a complete line does not have the columns of chrony 4.
pub fn parse(log: &str) -> Result<Vec<Measurement>> {
    let complete = log.rfind('\n').map_or("", |end| &log[..end]);
    complete
        .lines()
        .filter(|line| line.starts_with(|first: char| first.is_ascii_digit()))
        .map(|line| parse_line(line).with_context(|| format!("not a measurement: {line:?}")))
        .collect()
}

fn parse_line(line: &str) -> Result<Measurement> {
    let columns: Vec<&str> = line.split_whitespace().collect();
    let text = |column: usize| {
        columns
            .get(column)
            .copied()
            .with_context(|| format!("column {column} is missing"))
    };
    let tests = [text(5)?, text(6)?, text(7)?];
    Ok(Measurement {
        at: format!("{} {}", text(0)?, text(1)?),
        server: number(text(2)?)?,
        leap: number(text(3)?)?,
        stratum: number(text(4)?)?,
        passed_all_tests: tests.iter().all(|digits| !digits.contains('0')),
        local_poll: number(text(8)?)?,
        remote_poll: number(text(9)?)?,
        offset: number(text(11)?)?,
        delay: number(text(12)?)?,
        dispersion: number(text(13)?)?,
        root_delay: number(text(14)?)?,
        root_dispersion: number(text(15)?)?,
        reference_id: u32::from_str_radix(text(16)?, 16)?,
    })
}

fn number<T: FromStr<Err: std::error::Error + Send + Sync + 'static>>(text: &str) -> Result<T> {
    text.parse()
        .with_context(|| format!("cannot read {text:?}"))
}
