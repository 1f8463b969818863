//! Daily partitions: made before they are needed.

use std::{
    collections::{BTreeSet, HashSet},
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use sqlx::{Executor, PgConnection, PgPool};
use time::{Date, Duration, OffsetDateTime};

use super::{StoreError, lease::Lease};

/// Held while partitions are made, by whichever server makes them; "netmon" in ASCII.
const ADVISORY_LOCK: i64 = 0x6e65_746d_6f6e;

const MICROSECONDS_PER_DAY: i64 = 86_400_000_000;

/// A table that is partitioned by day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Series {
    /// `bandwidth_stats`, by the start of the frame.
    Bandwidth,
    /// `ntp_exchanges`, by the first packet seen.
    Exchanges,
}

/// A day, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Day(Date);

/// The partitions known to exist.
#[derive(Debug, Default)]
pub(super) struct Partitions {
    known: Mutex<HashSet<(Series, Day)>>,
    /// One task of this process makes partitions at a time, on one connection.
    making: tokio::sync::Mutex<()>,
}

impl Series {
    /// Every partitioned table.
    pub const ALL: [Self; 2] = [Self::Bandwidth, Self::Exchanges];

    /// The parent table's name.
    pub fn table(self) -> &'static str {
        match self {
            Self::Bandwidth => "bandwidth_stats",
            Self::Exchanges => "ntp_exchanges",
        }
    }

    /// The name of a day's partition, such as `bandwidth_stats_20261121`.
    pub(super) fn partition(self, day: Day) -> String {
        format!("{}_{day}", self.table())
    }

    /// The day of a partition by its name; `None` for a table named otherwise.
    pub(super) fn day_of(self, partition: &str) -> Option<Day> {
        let digits = partition.strip_prefix(self.table())?.strip_prefix('_')?;
        if digits.len() != 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let number = |range: std::ops::Range<usize>| digits[range].parse::<u16>().ok();
        let month = u8::try_from(number(4..6)?).ok()?.try_into().ok()?;
        let day = u8::try_from(number(6..8)?).ok()?;
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

    /// When the day begins.
    pub(super) fn start(self) -> OffsetDateTime {
        self.0.midnight().assume_utc()
    }

    /// For a partition's bounds.
    fn bound(self) -> String {
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

impl Partitions {
    /// Makes what is missing of the days.
    pub(super) async fn ensure(
        &self,
        pool: &PgPool,
        days: &BTreeSet<(Series, Day)>,
    ) -> Result<(), StoreError> {
        if self.knows(days) {
            return Ok(());
        }
        let _making = self.making.lock().await;
        if self.knows(days) {
            return Ok(());
        }
        let mut lease = Lease::begin(pool).await?;
        sqlx::query("SELECT pg_advisory_xact_lock($1)")
            .bind(ADVISORY_LOCK)
            .execute(lease.connection())
            .await?;
        let mut known = HashSet::new();
        for series in Series::ALL {
            known.extend(
                existing(lease.connection(), series)
                    .await?
                    .into_iter()
                    .map(|d| (series, d)),
            );
        }
        for (series, day) in days {
            if known.insert((*series, *day)) {
                create(lease.connection(), *series, *day).await?;
            }
        }
        lease.commit().await?;
        *self.known() = known;
        Ok(())
    }

    /// Looks at the database again before the next batch.
    pub(super) fn forget(&self) {
        self.known().clear();
    }

    fn knows(&self, days: &BTreeSet<(Series, Day)>) -> bool {
        let known = self.known();
        days.iter().all(|day| known.contains(day))
    }

    fn known(&self) -> MutexGuard<'_, HashSet<(Series, Day)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The days a table has partitions for.
pub(super) async fn existing(
    connection: &mut PgConnection,
    series: Series,
) -> sqlx::Result<Vec<Day>> {
    let names: Vec<String> = sqlx::query_scalar(
        "SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
         WHERE i.inhparent = $1::regclass",
    )
    .bind(series.table())
    .fetch_all(connection)
    .await?;
    Ok(names
        .iter()
        .filter_map(|name| series.day_of(name))
        .collect())
}

/// Makes the table and attaches it: unlike `CREATE TABLE … PARTITION OF`, that takes no lock that
/// readers or writers of the parent would wait for.
async fn create(connection: &mut PgConnection, series: Series, day: Day) -> sqlx::Result<()> {
    let (parent, partition) = (series.table(), series.partition(day));
    let (from, to) = (day.bound(), day.plus(1).bound());
    let statements = format!(
        "CREATE TABLE {partition} (LIKE {parent} INCLUDING ALL);
         ALTER TABLE {parent} ATTACH PARTITION {partition} FOR VALUES FROM ('{from}') TO ('{to}')"
    );
    connection.execute(statements.as_str()).await?;
    tracing::debug!(partition, "partition made");
    Ok(())
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
    fn names_that_are_not_ours_have_no_day() {
        for name in [
            "bandwidth_stats",
            "bandwidth_stats_2026112",
            "bandwidth_stats_20261331",
            "x",
        ] {
            assert_eq!(Series::Bandwidth.day_of(name), None, "{name}");
        }
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
