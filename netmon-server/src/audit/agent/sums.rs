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

/// Raw rows, and the two tables they are rolled up into.
#[derive(Clone, Copy, Debug)]
struct Series {
    /// Where they are; the first is the name of the series.
    raw: &'static [&'static str],
    at: &'static str,
    fine: &'static str,
    coarse: &'static str,
    /// What a coarse row is of, as date_trunc calls it.
    coarse_unit: &'static str,
    /// What differs of an agent: $1, from $2 up to $3, rows being whole from $4 on.
    compare: &'static str,
    what: &'static str,
    /// What its rows count.
    samples: &'static str,
}

const BANDWIDTH: Series = Series {
    raw: &["bandwidth_stats"],
    at: "started_at",
    fine: "bandwidth_minutes",
    coarse: "bandwidth_hours",
    coarse_unit: "hour",
    compare: include_str!("../bandwidth_sums.sql"),
    what: "an interface",
    samples: "samples",
};

const SYSTEM: Series = Series {
    raw: &["system_stats"],
    at: "at",
    fine: "system_minutes",
    coarse: "system_hours",
    coarse_unit: "hour",
    compare: include_str!("../system_sums.sql"),
    what: "the host",
    samples: "samples",
};

const EXCHANGES: Series = Series {
    raw: &["ntp_exchanges", "ntp_folds"],
    at: "at",
    fine: "ntp_hours",
    coarse: "ntp_days",
    coarse_unit: "day",
    compare: include_str!("../exchanges_sums.sql"),
    what: "an interface",
    samples: "exchanges",
};

#[derive(FromRow)]
struct Unequal {
    unit: String,
    interface: Option<String>,
    /// Of NTP: hours and days are by server.
    #[sqlx(default)]
    server: Option<String>,
    bucket: OffsetDateTime,
    samples: i64,
    stored_samples: i64,
    packets: Option<i64>,
    bytes: Option<i64>,
    pending: bool,
}

/// Compares minutes, hours and days with sums over their rows.
pub(super) async fn rollups(
    connection: &mut PgConnection,
    agent: i64,
    window: Window,
    tally: &mut Tally,
) -> sqlx::Result<()> {
    for (series, from, retained) in [
        (BANDWIDTH, window.frames, window.retained),
        (SYSTEM, window.readings, window.readings),
        (
            EXCHANGES,
            window.exchanges.max(window.folds),
            window.exchanges,
        ),
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
            .bind(self.raw[0])
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
            fine,
            coarse,
            coarse_unit,
            ..
        } = self;
        let firsts = raw.iter().map(|table| {
            format!(
                "(SELECT min({at}) FROM {table}
                   WHERE agent_id = $1 AND {at} >= $2 - interval '1 hour' AND {at} < $3), "
            )
        });
        let firsts: String = firsts.collect();
        let statement = format!(
            "SELECT least({firsts}m.first_at, h.first_at), m.rows + h.rows
             FROM (SELECT min(bucket) AS first_at, count(*) AS rows FROM {fine}
                   WHERE agent_id = $1 AND bucket >= $2 AND bucket < $3) AS m,
                  (SELECT min(bucket) AS first_at, count(*) AS rows FROM {coarse}
                   WHERE agent_id = $1 AND bucket >= date_trunc('{coarse_unit}', $2, 'UTC')
                     AND bucket < $3) AS h"
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
        let mut name = row.interface.as_deref().unwrap_or(self.what).to_owned();
        if let Some(server) = &row.server {
            name = format!("{name}, server {server}");
        }
        let (stored, samples) = (row.stored_samples, row.samples);
        let mut detail = format!(
            "{name}: the {} has {stored} {}, its rows {samples}: {what}",
            row.unit, self.samples
        );
        if let (Some(packets), Some(bytes)) = (row.packets, row.bytes) {
            detail = format!("{detail}; it differs by {packets} packets and {bytes} octets");
        }
        let length = match row.unit.as_str() {
            "day" => Duration::DAY,
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
