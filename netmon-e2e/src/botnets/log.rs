//! Logs as a tracker sends them, made up: few addresses that many clients see, new ones, lines that
//! come twice, and noise.

use std::{
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::Range,
    time::{SystemTime, UNIX_EPOCH},
};

use rand::{RngExt as _, rngs::StdRng};

/// Families there are from the start.
pub const FAMILIES: [&str; 3] = ["mozi", "asruex", "ramnit"];

/// Addresses that every client sees.
const COMMON: u32 = 4000;

/// Of a hundred lines, how many are about an address that nobody has seen before, come a second
/// time, are refused, and are none.
const FRESH: u32 = 3;
const TWICE: u32 = 5;
const NOISE: u32 = 2;
const BLANK: u32 = 1;

const HOUR: u64 = 3600;

/// A line of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Line {
    /// An address was seen at a second since 1970.
    Seen(IpAddr, u64, u16),
    /// Private, or no line of a log at all.
    Refused(bool),
    /// A comment, or nothing.
    Skipped(bool),
}

/// What one client sends as one upload.
#[derive(Debug)]
pub struct Log {
    pub family: &'static str,
    /// The idempotency key.
    pub key: String,
    pub lines: Vec<Line>,
    pub text: String,
}

/// What one client makes up.
pub struct Author {
    client: u8,
    random: StdRng,
    fresh: u32,
    logs: u32,
    /// Beginnings of the hours in which addresses are seen: six in three days.
    hours: Vec<u64>,
}

impl Author {
    pub fn new(client: u8, random: StdRng) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default().as_secs() / HOUR * HOUR;
        Self {
            client,
            random,
            fresh: 0,
            logs: 0,
            hours: (0..6).map(|part| now - (2 + part * 11) * HOUR).collect(),
        }
    }

    /// The next log: one piece or a part of one, or several.
    pub fn log(&mut self) -> Log {
        self.logs += 1;
        let length = match self.random.random_range(0..10) {
            0..2 => 1..500,
            2..6 => 500..16_000,
            _ => 16_000..60_000,
        };
        let lines = self.lines(length);
        let mut text = String::with_capacity(lines.len() * 40);
        for line in &lines {
            write(&mut text, *line);
        }
        // The last line need not be ended.
        if self.random.random_bool(0.2) && lines.last() != Some(&Line::Skipped(true)) {
            text.pop();
        }
        Log {
            family: FAMILIES[self.random.random_range(0..FAMILIES.len())],
            key: format!("client-{}-log-{}", self.client, self.logs),
            lines,
            text,
        }
    }

    /// How long to wait, and other things left to chance.
    pub fn random(&mut self) -> &mut StdRng {
        &mut self.random
    }

    fn lines(&mut self, length: Range<usize>) -> Vec<Line> {
        let length = self.random.random_range(length);
        let mut lines = Vec::with_capacity(length);
        while lines.len() < length {
            let line = match self.random.random_range(0..100) {
                0..TWICE if !lines.is_empty() => lines[self.random.random_range(0..lines.len())],
                chance if chance < TWICE + NOISE => Line::Refused(self.random.random()),
                chance if chance < TWICE + NOISE + BLANK => Line::Skipped(self.random.random()),
                chance => self.seen(chance >= 100 - FRESH),
            };
            lines.push(line);
        }
        lines
    }

    fn seen(&mut self, fresh: bool) -> Line {
        let address = if fresh {
            self.fresh += 1;
            address(0x2e + u32::from(self.client), self.fresh)
        } else {
            address(0x2d, self.random.random_range(0..COMMON))
        };
        let hour = self.hours[self.random.random_range(0..self.hours.len())];
        Line::Seen(
            address,
            hour + self.random.random_range(0..HOUR),
            [23, 80, 8080][self.random.random_range(0..3)],
        )
    }
}

/// The address of a number, in no order: one of 16 is of IPv6.
fn address(network: u32, number: u32) -> IpAddr {
    let host = number.wrapping_mul(0x9e37_79b1) & 0xff_ffff;
    if number.is_multiple_of(16) {
        let high = (network << 8 | host >> 16) as u16;
        return Ipv6Addr::new(0x2400, 0x3200, high, host as u16, 0, 0, 0, 1).into();
    }
    Ipv4Addr::from(network << 24 | host).into()
}

fn write(text: &mut String, line: Line) {
    let written = match line {
        Line::Seen(address, at, port) => writeln!(text, "{at},{address},{port}"),
        Line::Refused(true) => writeln!(text, "1790000000,10.1.2.3,23"),
        Line::Refused(false) => writeln!(text, "what a beautiful day"),
        Line::Skipped(true) => writeln!(text),
        Line::Skipped(false) => writeln!(text, "# nothing"),
    };
    // A string takes everything.
    written.unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use rand::SeedableRng as _;

    use super::*;

    #[test]
    fn every_number_has_an_address_of_its_own() {
        let addresses: HashSet<_> = (0..100_000).map(|number| address(0x2d, number)).collect();
        assert_eq!(addresses.len(), 100_000);
    }

    #[test]
    fn a_log_has_a_line_of_text_for_every_line() {
        let mut author = Author::new(1, StdRng::seed_from_u64(1));
        for _ in 0..20 {
            let log = author.log();
            assert_eq!(log.text.lines().count(), log.lines.len());
        }
    }
}
