//! The partitioned tables, and the days and months their partitions hold.

use std::fmt;

use time::{Date, Duration, OffsetDateTime};

const MICROSECONDS_PER_DAY: i64 = 86_400_000_000;

/// A table that is partitioned by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Series {
    /// `bandwidth_stats`, by the start of the frame.
    Bandwidth,
    /// `ntp_exchanges`, by the first packet seen.
    Exchanges,
    /// `system_stats`, by the time of the reading.
    System,
    /// `bandwidth_minutes`: bandwidth rolled up by minute.
    BandwidthMinutes,
    /// `bandwidth_hours`: bandwidth rolled up by hour.
    BandwidthHours,
    /// `system_minutes`: system samples rolled up by minute.
    SystemMinutes,
    /// `system_hours`: system samples rolled up by hour.
    SystemHours,
    /// `ntp_folds`: exchanges that the agent counted together, by the first packet seen.
    Folds,
    /// `ntp_control`: questions of NTP modes 6 and 7, by the first packet seen.
    Controls,
    /// `ntp_hours`: exchanges rolled up by server and hour.
    ExchangeHours,
    /// `ntp_days`: exchanges rolled up by server and day.
    ExchangeDays,
    /// `botnet_communications`, by their hour.
    Communications,
    /// `botnet_chunks`, by the time of their upload.
    Chunks,
}

/// How fine the rows of a table are, and so which retention is theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// As agents sent it.
    Raw,
    /// A row per minute.
    Minute,
    /// A row per hour, or per day.
    Hour,
}

/// A day, UTC. A monthly partition goes by the first day of its month.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Day(Date);

impl Series {
    /// Every partitioned table.
    pub const ALL: &[Self] = &[
        Self::Bandwidth,
        Self::Exchanges,
        Self::Folds,
        Self::Controls,
        Self::BandwidthMinutes,
        Self::BandwidthHours,
        Self::System,
        Self::SystemMinutes,
        Self::SystemHours,
        Self::ExchangeHours,
        Self::ExchangeDays,
        Self::Communications,
        Self::Chunks,
    ];

    /// The parent table's name.
    pub fn table(self) -> &'static str {
        match self {
            Self::Bandwidth => "bandwidth_stats",
            Self::Exchanges => "ntp_exchanges",
            Self::Folds => "ntp_folds",
            Self::Controls => "ntp_control",
            Self::System => "system_stats",
            Self::BandwidthMinutes => "bandwidth_minutes",
            Self::BandwidthHours => "bandwidth_hours",
            Self::SystemMinutes => "system_minutes",
            Self::SystemHours => "system_hours",
            Self::ExchangeHours => "ntp_hours",
            Self::ExchangeDays => "ntp_days",
            Self::Communications => "botnet_communications",
            Self::Chunks => "botnet_chunks",
        }
    }

    /// How fine its rows are.
    pub fn resolution(self) -> Resolution {
        match self {
            Self::Bandwidth | Self::Exchanges | Self::Folds | Self::Controls | Self::System => {
                Resolution::Raw
            }
            Self::Communications | Self::Chunks => Resolution::Raw,
            Self::BandwidthMinutes | Self::SystemMinutes => Resolution::Minute,
            Self::BandwidthHours | Self::SystemHours | Self::ExchangeHours | Self::ExchangeDays => {
                Resolution::Hour
            }
        }
    }

    /// Whether it holds botnets: kept as `botnets` says, whatever the resolution, and never dropped
    /// early for want of space, since nodes would be left without communications, and lines sent
    /// again would be counted again.
    pub fn is_of_botnets(self) -> bool {
        matches!(self, Self::Communications | Self::Chunks)
    }

    /// How pages of its partitions are filled and looked after.
    pub(super) fn storage(self) -> &'static str {
        match (self, self.resolution()) {
            // A row is written again with each chunk of its hour: in its page, if there is room.
            (Self::Communications, _) => "WITH (fillfactor = 90)",
            // Raw rows are only ever added, and dropped together: a vacuum would write each page once
            // more, and into the log, for nothing.
            (_, Resolution::Raw) => "WITH (autovacuum_vacuum_insert_threshold = -1)",
            (_, Resolution::Minute | Resolution::Hour) => "",
        }
    }

    /// The raw tables that are summed up.
    pub fn rolled_up() -> impl Iterator<Item = Self> {
        let all = Self::ALL.iter().copied();
        all.filter(|series| series.is_rolled_up())
    }

    /// The table in whose name the hours of this one are summed up: what was folded goes with what
    /// was not.
    pub(super) fn leader(self) -> Self {
        match self {
            Self::Folds => Self::Exchanges,
            other => other,
        }
    }

    /// The other tables that it leads.
    pub(super) fn followers(self) -> impl Iterator<Item = Self> {
        let all = Self::ALL.iter().copied();
        all.filter(move |series| *series != self && series.leader() == self)
    }

    /// Whether agents' rows of this table are summed up in others.
    pub(super) fn is_rolled_up(self) -> bool {
        matches!(self, Self::Bandwidth | Self::System | Self::Exchanges)
    }

    /// Partitions are days, but months for the tables that are kept for more than a year: with 400
    /// daily partitions PostgreSQL would take longer to plan a query than to answer it.
    fn is_monthly(self) -> bool {
        self.resolution() == Resolution::Hour
    }

    /// The first day of the partition that holds a day.
    pub(super) fn partition_start(self, day: Day) -> Day {
        match self.is_monthly() {
            // Every month has a first day.
            true => Day(day.0.replace_day(1).unwrap_or(day.0)),
            false => day,
        }
    }

    /// The first day after the partition that holds a day.
    pub(super) fn partition_end(self, day: Day) -> Day {
        match self.is_monthly() {
            true => self.partition_start(self.partition_start(day).plus(31)),
            false => day.plus(1),
        }
    }

    /// The name of the partition that holds a day, such as `bandwidth_stats_20261121` or
    /// `bandwidth_hours_202611`.
    pub(super) fn partition(self, day: Day) -> String {
        let day = day.to_string();
        let digits = if self.is_monthly() { &day[..6] } else { &day };
        format!("{}_{digits}", self.table())
    }

    /// The first day of a partition by its name; `None` for a table named otherwise.
    pub(super) fn day_of(self, partition: &str) -> Option<Day> {
        let digits = partition.strip_prefix(self.table())?.strip_prefix('_')?;
        let length = if self.is_monthly() { 6 } else { 8 };
        if digits.len() != length || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let number = |range: std::ops::Range<usize>| digits[range].parse::<u16>().ok();
        let month = u8::try_from(number(4..6)?).ok()?.try_into().ok()?;
        let day = match self.is_monthly() {
            true => 1,
            false => u8::try_from(number(6..8)?).ok()?,
        };
        Date::from_calendar_date(number(0..4)?.into(), month, day)
            .ok()
            .map(Day)
    }
}

impl Day {
    pub(super) fn of(at: OffsetDateTime) -> Self {
        Self(at.to_offset(time::UtcOffset::UTC).date())
    }

    /// The day of a time in microseconds since 1970, which lies within a [`super::Window`].
    pub(super) fn of_microseconds(unix_us: i64) -> Self {
        let days = unix_us.div_euclid(MICROSECONDS_PER_DAY);
        Self(time::macros::date!(1970 - 01 - 01).saturating_add(Duration::days(days)))
    }

    pub(super) fn plus(self, days: i64) -> Self {
        Self(self.0.saturating_add(Duration::days(days)))
    }

    /// As a date.
    pub(super) fn date(self) -> Date {
        self.0
    }

    /// When the day begins.
    pub(super) fn start(self) -> OffsetDateTime {
        self.0.midnight().assume_utc()
    }

    /// For a partition's bounds.
    pub(super) fn bound(self) -> String {
        format!(
            "{:04}-{:02}-{:02} 00:00:00+00",
            self.0.year(),
            u8::from(self.0.month()),
            self.0.day()
        )
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:04}{:02}{:02}",
            self.0.year(),
            u8::from(self.0.month()),
            self.0.day()
        )
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_partition_is_named_after_its_day() {
        let day = Day::of(datetime!(2026-11-21 23:59:59 UTC));
        assert_eq!(Series::Bandwidth.partition(day), "bandwidth_stats_20261121");
        assert_eq!(
            Series::Exchanges.day_of("ntp_exchanges_20261121"),
            Some(day)
        );
        assert_eq!(day.bound(), "2026-11-21 00:00:00+00");
    }

    #[test]
    fn a_partition_of_hours_is_a_month() {
        let day = Day::of(datetime!(2026-12-31 12:00 UTC));
        let (hours, first) = (Series::BandwidthHours, datetime!(2026-12-01 0:00 UTC));
        assert_eq!(hours.partition(day), "bandwidth_hours_202612");
        assert_eq!(hours.day_of("bandwidth_hours_202612"), Some(Day::of(first)));
        assert_eq!(hours.partition_start(day), Day::of(first));
        assert_eq!(
            hours.partition_end(day).start(),
            datetime!(2027-01-01 0:00 UTC)
        );
        let february = Day::of(datetime!(2028-02-29 0:00 UTC));
        assert_eq!(
            hours.partition_end(february).bound(),
            "2028-03-01 00:00:00+00"
        );
    }

    #[test]
    fn names_that_are_not_ours_have_no_day() {
        for name in [
            "bandwidth_stats",
            "bandwidth_stats_2026112",
            "bandwidth_stats_20261331",
            "x",
        ] {
            assert_eq!(Series::Bandwidth.day_of(name), None, "{name}");
        }
        assert_eq!(
            Series::BandwidthHours.day_of("bandwidth_hours_202613"),
            None
        );
    }

    #[test]
    fn a_day_ends_at_midnight_utc() {
        let midnight = datetime!(2026-11-22 00:00 UTC);
        let us = midnight.unix_timestamp() * 1_000_000;
        assert_eq!(Day::of_microseconds(us), Day::of(midnight));
        assert_eq!(Day::of_microseconds(us - 1).plus(1), Day::of(midnight));
        assert_eq!(Day::of_microseconds(us).start(), midnight);
    }
}
