//! Whether the roll-ups of an agent are made of its rows.

use futures_util::TryStreamExt as _;
use sqlx::{FromRow, PgConnection};
use time::{Duration, OffsetDateTime};

use super::{
    super::report::{Check, Finding, Tally},
    Window,
    window::whole_hour,
};

/// So much is compared by one statement.
const STEP: Duration = Duration::DAY;

/// A raw table, and the two it is rolled up into.
#[derive(Clone, Copy, Debug)]
struct Series {
    raw: &'static str,
    at: &'static str,
    minutes: &'static str,
    hours: &'static str,
    /// What differs of an agent: $1, from $2 up to $3, rows being whole from $4 on.
    compare: &'static str,
    what: &'static str,
}

const BANDWIDTH: Series = Series {
    raw: "bandwidth_stats",
    at: "started_at",
    minutes: "bandwidth_minutes",
    hours: "bandwidth_hours",
    compare: include_str!("../bandwidth_sums.sql"),
    what: "an interface",
};

const SYSTEM: Series = Series {
    raw: "system_stats",
    at: "at",
    minutes: "system_minutes",
    hours: "system_hours",
    compare: include_str!("../system_sums.sql"),
    what: "the host",
};

#[derive(FromRow)]
struct Unequal {
    unit: String,
    interface: Option<String>,
    bucket: OffsetDateTime,
    samples: i64,
    stored_samples: i64,
    packets: Option<i64>,
    bytes: Option<i64>,
    pending: bool,
}

/// Compares minutes and hours with sums over their rows.
pub(super) async fn rollups(
    connection: &mut PgConnection,
    agent: i64,
    window: Window,
    tally: &mut Tally,
) -> sqlx::Result<()> {
    for (series, from, retained) in [
        (BANDWIDTH, window.frames, window.retained),
        (SYSTEM, window.readings, window.readings),
    ] {
        let from = whole_hour(from);
        series
            .check(connection, agent, from, retained, tally)
            .await?;
    }
    Ok(())
}

impl Series {
    async fn check(
        self,
        connection: &mut PgConnection,
        agent: i64,
        from: OffsetDateTime,
        retained: OffsetDateTime,
        tally: &mut Tally,
    ) -> sqlx::Result<()> {
        let Some(until) = self.rolled_through(connection).await? else {
            return Ok(());
        };
        let (first, rolled_up) = self.extent(connection, agent, from, until).await?;
        tally.checked(Check::Rollups, rolled_up.max(0) as u64);
        let Some(first) = first else { return Ok(()) };
        // A frame may reach into the hour after the one it begins in, and no further.
        let mut day = floor(first, STEP).max(from);
        while day < until {
            let next = (floor(day, STEP) + STEP).min(until);
            self.compare(connection, agent, (day, next), retained, tally)
                .await?;
            day = next;
        }
        Ok(())
    }

    /// Everything before is rolled up; `None`: nothing yet.
    async fn rolled_through(
        self,
        connection: &mut PgConnection,
    ) -> sqlx::Result<Option<OffsetDateTime>> {
        sqlx::query_scalar("SELECT rolled_through FROM rollup_progress WHERE series = $1")
            .bind(self.raw)
            .fetch_optional(connection)
            .await
    }

    /// When the first row or sum of an agent in a range is, and how many sums there are.
    async fn extent(
        self,
        connection: &mut PgConnection,
        agent: i64,
        from: OffsetDateTime,
        until: OffsetDateTime,
    ) -> sqlx::Result<(Option<OffsetDateTime>, i64)> {
        let Self {
            raw,
            at,
            minutes,
            hours,
            ..
        } = self;
        let statement = format!(
            "SELECT least(r.first_at, m.first_at, h.first_at), m.rows + h.rows
             FROM (SELECT min({at}) AS first_at FROM {raw}
                   WHERE agent_id = $1 AND {at} >= $2 - interval '1 hour' AND {at} < $3) AS r,
                  (SELECT min(bucket) AS first_at, count(*) AS rows FROM {minutes}
                   WHERE agent_id = $1 AND bucket >= $2 AND bucket < $3) AS m,
                  (SELECT min(bucket) AS first_at, count(*) AS rows FROM {hours}
                   WHERE agent_id = $1 AND bucket >= $2 AND bucket < $3) AS h"
        );
        sqlx::query_as(&statement)
            .bind(agent)
            .bind(from)
            .bind(until)
            .fetch_one(connection)
            .await
    }

    async fn compare(
        self,
        connection: &mut PgConnection,
        agent: i64,
        (from, to): (OffsetDateTime, OffsetDateTime),
        retained: OffsetDateTime,
        tally: &mut Tally,
    ) -> sqlx::Result<()> {
        let mut query = sqlx::query_as::<_, Unequal>(self.compare)
            .bind(agent)
            .bind(from)
            .bind(to);
        if self.raw == BANDWIDTH.raw {
            query = query.bind(retained);
        }
        let mut unequal = query.fetch(connection);
        while let Some(row) = unequal.try_next().await? {
            tally.add(self.tell(row));
        }
        Ok(())
    }

    fn tell(self, row: Unequal) -> Finding {
        let (cause, what) = match row.pending {
            true => ("pending", "rows came late and are worked in soon"),
            false => ("unequal", "its sums are not those of its rows"),
        };
        let name = row.interface.as_deref().unwrap_or(self.what);
        let (stored, samples) = (row.stored_samples, row.samples);
        let mut detail = format!(
            "{name}: the {} has {stored} samples, its rows {samples}: {what}",
            row.unit
        );
        if let (Some(packets), Some(bytes)) = (row.packets, row.bytes) {
            detail = format!("{detail}; it differs by {packets} packets and {bytes} octets");
        }
        let length = match row.unit.as_str() {
            "hour" => Duration::HOUR,
            _ => Duration::MINUTE,
        };
        let finding = Finding::new(Check::Rollups, !row.pending, cause, detail);
        Finding {
            interface: row.interface,
            packets: row.packets,
            bytes: row.bytes,
            ..finding.during(row.bucket, row.bucket + length)
        }
    }
}

/// The last multiple of a length of time, counted from 1970, that is not after a time.
fn floor(at: OffsetDateTime, length: Duration) -> OffsetDateTime {
    let seconds = length.whole_seconds();
    let whole = at.unix_timestamp().div_euclid(seconds) * seconds;
    OffsetDateTime::from_unix_timestamp(whole).unwrap_or(at)
}
