//! How a log is to be read, as its sender states it and as it is kept with its lines.

use netmon_feeds::{Format, Options, Special, parse_zone};
use time::{OffsetDateTime, UtcOffset};

use crate::store::botnets::{Botnets, Family};

/// How a log is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// Its format.
    pub format: Format,
    /// The zone of times that do not say theirs.
    pub zone: UtcOffset,
    /// What becomes of private, multicast and other special addresses.
    pub special: Special,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            format: Format::Auto,
            zone: UtcOffset::UTC,
            special: Special::Refuse,
        }
    }
}

impl LogOptions {
    /// As it is kept: the format, and behind it what is not as usual.
    pub fn to_text(self) -> String {
        let mut text = self.format.name().to_owned();
        if self.zone != UtcOffset::UTC {
            let (hours, minutes, _) = self.zone.as_hms();
            let sign = if self.zone.is_negative() { '-' } else { '+' };
            let (hours, minutes) = (hours.unsigned_abs(), minutes.unsigned_abs());
            text += &format!(" zone={sign}{hours:02}:{minutes:02}");
        }
        if self.special == Special::Accept {
            text += " special=accept";
        }
        text
    }

    /// Of what is kept. What a later release wrote is left out.
    pub fn from_text(text: &str) -> Self {
        let mut options = Self::default();
        for word in text.split(' ') {
            match word.split_once('=') {
                None => options.format = word.parse().unwrap_or_default(),
                Some(("zone", zone)) => options.zone = parse_zone(zone).unwrap_or(UtcOffset::UTC),
                Some(("special", "accept")) => options.special = Special::Accept,
                Some(_) => {}
            }
        }
        options
    }

    /// What the parser goes by, for lines of a family that came at a time.
    pub fn of_family(
        self,
        botnets: &Botnets,
        family: &Family,
        received_at: OffsetDateTime,
    ) -> Options {
        let mut names = vec![family.name.clone()];
        names.extend(family.aliases.iter().cloned());
        Options {
            format: self.format,
            zone: self.zone,
            special: self.special,
            window: botnets.window(received_at),
            family: names,
        }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::offset;

    use super::*;

    #[test]
    fn options_come_back_as_they_were_kept() {
        for (options, text) in [
            (LogOptions::default(), "auto"),
            (
                LogOptions {
                    format: Format::Csv,
                    zone: offset!(-3:30),
                    special: Special::Accept,
                },
                "csv zone=-03:30 special=accept",
            ),
            (
                LogOptions {
                    zone: offset!(+8),
                    ..LogOptions::default()
                },
                "auto zone=+08:00",
            ),
        ] {
            assert_eq!(options.to_text(), text);
            assert_eq!(LogOptions::from_text(text), options);
        }
        assert_eq!(
            LogOptions::from_text("of_tomorrow x=y"),
            LogOptions::default()
        );
    }
}
