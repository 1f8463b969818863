//! From when on the rows of an agent are whole.

use sqlx::PgConnection;
use time::{Duration, OffsetDateTime};

/// Rows from here on are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    /// Frames of bandwidth.
    pub(super) frames: OffsetDateTime,
    /// Exchanges.
    pub(super) exchanges: OffsetDateTime,
    /// Exchanges that were counted together.
    pub(super) folds: OffsetDateTime,
    /// Questions of NTP modes 6 and 7.
    pub(super) controls: OffsetDateTime,
    /// Readings of the host.
    pub(super) readings: OffsetDateTime,
    /// Frames are there from here on, however little was asked for.
    pub(super) retained: OffsetDateTime,
}

impl Window {
    /// The same, but not from before a time.
    pub(super) fn from(self, since: OffsetDateTime) -> Self {
        Self {
            frames: self.frames.max(since),
            exchanges: self.exchanges.max(since),
            folds: self.folds.max(since),
            controls: self.controls.max(since),
            readings: self.readings.max(since),
            ..self
        }
    }

    /// From when on rows of every sort are whole.
    pub(super) fn start(self) -> OffsetDateTime {
        let ntp = self.exchanges.max(self.folds).max(self.controls);
        self.frames.max(ntp).max(self.readings)
    }
}

/// Everything there is.
pub(super) async fn retained(connection: &mut PgConnection) -> sqlx::Result<Window> {
    let retained: Vec<(String, OffsetDateTime)> =
        sqlx::query_as("SELECT table_name, since FROM retained")
            .fetch_all(connection)
            .await?;
    let whole = |table: &str| {
        let found = retained.iter().find(|(name, _)| name == table);
        found.map_or(OffsetDateTime::UNIX_EPOCH, |(_, since)| *since)
    };
    let frames = whole("bandwidth_stats");
    Ok(Window {
        frames,
        exchanges: whole("ntp_exchanges"),
        folds: whole("ntp_folds"),
        controls: whole("ntp_control"),
        readings: whole("system_stats"),
        retained: frames,
    })
}

/// The first whole hour from a time on.
pub(super) fn whole_hour(at: OffsetDateTime) -> OffsetDateTime {
    let hours = at.unix_timestamp().div_euclid(3600);
    let floor = OffsetDateTime::from_unix_timestamp(hours * 3600).unwrap_or(at);
    if floor == at {
        floor
    } else {
        floor + Duration::HOUR
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn an_hour_that_is_cut_is_not_compared() {
        let noon = datetime!(2026-11-21 12:00 UTC);
        assert_eq!(whole_hour(noon), noon);
        assert_eq!(whole_hour(noon - Duration::SECOND), noon);
        assert_eq!(
            whole_hour(noon + Duration::NANOSECOND),
            noon + Duration::HOUR
        );
    }
}
