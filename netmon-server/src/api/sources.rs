//! Which tables answer for which part of a range: the coarsest that does so exactly.
//!
//! Raw rows are kept for days, minutes for weeks, hours for a year; what is newer than the watermark
//! of the roll-up is in the raw rows only. A table answers for a part if points and the ends of the
//! part fall on its rows. Where what is finer is gone, a point cannot be shorter than a row and an end
//! cannot fall within one: the step and the range are rounded outwards then, and the answer says so.

use serde::Serialize;
use sqlx::PgPool;
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::{problem::Problem, range::Range};
use crate::store::Series;

/// Times a query is made at most: again because a partition was dropped under it.
const ATTEMPTS: usize = 3;
const MINUTE_US: i64 = 60_000_000;
const HOUR_US: i64 = 3_600_000_000;

/// How fine the rows are that answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub enum Resolution {
    /// Single samples.
    #[serde(rename = "raw")]
    Raw,
    /// Sums by minute.
    #[serde(rename = "1m")]
    Minute,
    /// Sums by hour.
    #[serde(rename = "1h")]
    Hour,
}

/// A part of the range, and what answers for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Source {
    pub resolution: Resolution,
    #[serde(with = "time::serde::rfc3339")]
    pub from: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub to: OffsetDateTime,
}

/// What the tables of a series hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coverage {
    /// Everything before is rolled up.
    pub rolled_through: OffsetDateTime,
    /// Raw rows are whole from here on.
    pub raw_since: OffsetDateTime,
    /// Minutes are.
    pub minutes_since: OffsetDateTime,
}

/// Parts of a range in order of time, without gaps between them; at most one of each resolution before
/// and after the coarsest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The length of a point, microseconds.
    pub step_us: i64,
    pub sources: Vec<Source>,
}

/// What a query answers for a range, and the plan that led to it. The tables are those of one
/// measurement: raw rows, and minutes.
///
/// The query takes a plan of its own, because rustc cannot tell that the future of one that borrows the
/// plan is `Send`.
pub async fn answer<T, F>(
    database: &PgPool,
    (raw, minutes): (Series, Series),
    range: Range,
    step_us: i64,
    query: impl Fn(Plan) -> F,
) -> Result<(Plan, T), Problem>
where
    F: Future<Output = Result<T, Problem>>,
{
    let mut coverage = Coverage::read(database, raw, minutes).await?;
    for _ in 1..ATTEMPTS {
        let plan = coverage.plan(range, step_us);
        let answer = query(plan.clone()).await?;
        // A partition dropped meanwhile takes its rows out of a snapshot, too.
        let after = Coverage::read(database, raw, minutes).await?;
        if coverage.whole_as(&after) {
            return Ok((plan, answer));
        }
        coverage = after;
    }
    let plan = coverage.plan(range, step_us);
    let answer = query(plan.clone()).await?;
    Ok((plan, answer))
}

impl Coverage {
    /// Reads what the tables hold.
    async fn read(database: &PgPool, raw: Series, minutes: Series) -> Result<Self, Problem> {
        let (rolled_through, raw_since, minutes_since) = sqlx::query_as(
            "SELECT coalesce((SELECT rolled_through FROM rollup_progress WHERE series = $1),
                             to_timestamp(0)),
                    coalesce((SELECT since FROM retained WHERE table_name = $1), to_timestamp(0)),
                    coalesce((SELECT since FROM retained WHERE table_name = $2), to_timestamp(0))",
        )
        .bind(raw.table())
        .bind(minutes.table())
        .fetch_one(database)
        .await?;
        Ok(Self {
            rolled_through,
            raw_since,
            minutes_since,
        })
    }

    /// Whether the tables still hold what they held.
    fn whole_as(&self, after: &Self) -> bool {
        self.raw_since == after.raw_since && self.minutes_since == after.minutes_since
    }

    /// Chooses for a range and a step.
    fn plan(&self, range: Range, step_us: i64) -> Plan {
        // What a point must hold whole: the finest rows there are where the range begins.
        let finest_us = match range.from {
            from if from < self.minutes_since => HOUR_US,
            from if from < self.raw_since => MINUTE_US,
            _ => 1,
        };
        let step_us = up(step_us, finest_us);
        let coarsest = match step_us {
            step if step % HOUR_US == 0 => Resolution::Hour,
            step if step % MINUTE_US == 0 => Resolution::Minute,
            _ => Resolution::Raw,
        };
        let mut sources = Vec::new();
        self.cover(range.unix_us(), coarsest, &mut sources);
        Plan { step_us, sources }
    }

    /// Covers a part with rows of a resolution, and what is left at its ends with finer ones.
    fn cover(&self, (from, to): (i64, i64), with: Resolution, sources: &mut Vec<Source>) {
        if from >= to {
            return;
        }
        let (unit, finer, finer_since) = match with {
            Resolution::Raw => return sources.extend(source(with, from, to)),
            Resolution::Minute => (MINUTE_US, Resolution::Raw, self.raw_since),
            Resolution::Hour => (HOUR_US, Resolution::Minute, self.minutes_since),
        };
        let (rolled, finer_since) = (us(self.rolled_through), us(finer_since));
        // An end within a row: finer rows take over if they are there, else the row counts whole.
        let first = match up(from, unit) {
            first if first > from && from < finer_since => down(from, unit),
            first => first,
        };
        let last = match down(to.min(rolled), unit) {
            last if last < to && to < rolled && last < finer_since => up(to, unit),
            last => last,
        };
        if first >= last {
            return self.cover((from, to), finer, sources);
        }
        self.cover((from, first), finer, sources);
        sources.extend(source(with, first, last));
        self.cover((last, to), finer, sources);
    }
}

impl Plan {
    /// The coarsest resolution that answers.
    pub fn resolution(&self) -> Resolution {
        let of = |resolution| self.sources.iter().any(|s| s.resolution == resolution);
        match () {
            () if of(Resolution::Hour) => Resolution::Hour,
            () if of(Resolution::Minute) => Resolution::Minute,
            () => Resolution::Raw,
        }
    }
}

fn source(resolution: Resolution, from: i64, to: i64) -> Option<Source> {
    let range = Range::from_unix_us(from, to)?;
    Some(Source {
        resolution,
        from: range.from,
        to: range.to,
    })
}

fn up(us: i64, unit: i64) -> i64 {
    down(us.saturating_add(unit - 1), unit)
}

fn down(us: i64, unit: i64) -> i64 {
    us - us.rem_euclid(unit)
}

fn us(at: OffsetDateTime) -> i64 {
    super::range::unix_us(at)
}

#[cfg(test)]
mod tests {
    use time::{Duration, macros::datetime};

    use super::*;

    const COVERAGE: Coverage = Coverage {
        rolled_through: datetime!(2026-11-21 10:00 UTC),
        raw_since: datetime!(2026-11-14 0:00 UTC),
        minutes_since: datetime!(2026-10-22 0:00 UTC),
    };

    /// The plan as text: the step in seconds, and the parts.
    fn plan(from: OffsetDateTime, to: OffsetDateTime, step: Duration) -> String {
        let range = Range { from, to };
        let plan = COVERAGE.plan(range, step.whole_microseconds() as i64);
        let mut text = format!("{}", plan.step_us / 1_000_000);
        let mut end = None;
        for source in &plan.sources {
            assert!(source.from < source.to, "{source:?}");
            assert!(end.is_none_or(|end| end == source.from), "a gap: {plan:?}");
            end = Some(source.to);
            let at = |time: OffsetDateTime| {
                format!(
                    "{:02}.{:02}:{:02}:{:02}",
                    time.day(),
                    time.hour(),
                    time.minute(),
                    time.second()
                )
            };
            let name = serde_json::to_value(source.resolution).unwrap();
            let name = name.as_str().unwrap();
            text += &format!(" {name} {}-{}", at(source.from), at(source.to));
        }
        text
    }

    #[test]
    fn the_coarsest_rows_answer_and_finer_ones_for_what_is_left() {
        let hour = Duration::HOUR;
        let now = datetime!(2026-11-21 10:41:07 UTC);
        for (from, to, step, expected) in [
            // 30 days up to now.
            (
                datetime!(2026-10-22 10:41:07 UTC),
                now,
                hour,
                "3600 1m 22.10:41:00-22.11:00:00 1h 22.11:00:00-21.10:00:00 \
                 raw 21.10:00:00-21.10:41:07",
            ),
            // A day in points of two minutes.
            (
                datetime!(2026-11-20 10:41:07 UTC),
                now,
                Duration::minutes(2),
                "120 raw 20.10:41:07-20.10:42:00 1m 20.10:42:00-21.10:00:00 \
                 raw 21.10:00:00-21.10:41:07",
            ),
            // Points that minutes cannot make.
            (
                datetime!(2026-11-20 10:41:07 UTC),
                now,
                Duration::seconds(90),
                "90 raw 20.10:41:07-21.10:41:07",
            ),
            // All parts there can be.
            (
                datetime!(2026-11-19 10:41:07 UTC),
                datetime!(2026-11-20 12:13:14 UTC),
                hour * 2,
                "7200 raw 19.10:41:07-19.10:42:00 1m 19.10:42:00-19.11:00:00 \
                 1h 19.11:00:00-20.12:00:00 1m 20.12:00:00-20.12:13:00 raw 20.12:13:00-20.12:13:14",
            ),
            // Newer than any roll-up.
            (
                datetime!(2026-11-21 10:00 UTC),
                now,
                hour,
                "3600 raw 21.10:00:00-21.10:41:07",
            ),
        ] {
            assert_eq!(plan(from, to, step), expected);
        }
    }

    #[test]
    fn where_finer_rows_are_gone_step_and_ends_are_rounded_outwards() {
        for (from, to, step, expected) in [
            // Only hours: 10 minutes become an hour.
            (
                datetime!(2026-09-01 10:41:07 UTC),
                datetime!(2026-09-01 12:13:14 UTC),
                Duration::minutes(10),
                "3600 1h 01.10:00:00-01.13:00:00",
            ),
            // Minutes, no raw rows: 90 s become two minutes.
            (
                datetime!(2026-11-01 10:41:07 UTC),
                datetime!(2026-11-01 10:45:14 UTC),
                Duration::seconds(90),
                "120 1m 01.10:41:00-01.10:46:00",
            ),
            // From only hours into minutes: the end is exact to the minute.
            (
                datetime!(2026-10-21 10:41:07 UTC),
                datetime!(2026-10-22 12:13:14 UTC),
                Duration::HOUR,
                "3600 1h 21.10:00:00-22.12:00:00 1m 22.12:00:00-22.12:14:00",
            ),
            // Within one hour of which there are minutes, or not.
            (
                datetime!(2026-11-20 10:41 UTC),
                datetime!(2026-11-20 10:43 UTC),
                Duration::HOUR,
                "3600 1m 20.10:41:00-20.10:43:00",
            ),
            (
                datetime!(2026-09-01 10:41 UTC),
                datetime!(2026-09-01 10:43 UTC),
                Duration::HOUR,
                "3600 1h 01.10:00:00-01.11:00:00",
            ),
        ] {
            assert_eq!(plan(from, to, step), expected);
        }
    }

    #[test]
    fn nothing_rolled_up_yet_is_answered_from_samples() {
        let fresh = Coverage {
            rolled_through: OffsetDateTime::UNIX_EPOCH,
            raw_since: OffsetDateTime::UNIX_EPOCH,
            minutes_since: OffsetDateTime::UNIX_EPOCH,
        };
        let range = Range {
            from: datetime!(2026-11-20 0:00 UTC),
            to: datetime!(2026-11-21 0:00 UTC),
        };
        let plan = fresh.plan(range, HOUR_US);
        assert_eq!(plan.resolution(), Resolution::Raw);
        assert_eq!(plan.sources.len(), 1);
    }
}
