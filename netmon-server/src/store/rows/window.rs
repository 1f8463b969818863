//! The times that batches may carry.

use std::time::Duration;

use time::OffsetDateTime;

use crate::store::Invalid;

/// How far clocks may be apart, and how late the data of a retention period may come.
const TOLERANCE: Duration = Duration::from_secs(86_400);

/// The times a batch may carry.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    earliest_ns: i64,
    latest_ns: i64,
}

impl Window {
    /// From one day before the longest retention period to one day ahead.
    pub fn around(now: OffsetDateTime, retention: Duration) -> Self {
        let now_ns = i64::try_from(now.unix_timestamp_nanos()).unwrap_or(i64::MAX);
        let ns = |d: Duration| i64::try_from(d.as_nanos()).unwrap_or(i64::MAX);
        Self {
            earliest_ns: now_ns
                .saturating_sub(ns(retention))
                .saturating_sub(ns(TOLERANCE)),
            latest_ns: now_ns.saturating_add(ns(TOLERANCE)),
        }
    }

    /// The time in microseconds since 1970, the database's resolution.
    pub(in crate::store) fn microseconds(&self, place: &str, unix_ns: i64) -> Result<i64, Invalid> {
        if unix_ns < self.earliest_ns {
            let problem = format_args!(
                "{unix_ns} ns is before the longest retention period: check the agent's clock"
            );
            return Err(Invalid::new(place, problem));
        }
        self.not_ahead(place, unix_ns)
    }

    /// The same for a time of any age.
    pub(in crate::store) fn not_ahead(&self, place: &str, unix_ns: i64) -> Result<i64, Invalid> {
        if unix_ns > self.latest_ns {
            let problem = format_args!(
                "{unix_ns} ns is more than a day ahead of the server's clock: check the agent's \
                 clock"
            );
            return Err(Invalid::new(place, problem));
        }
        Ok(unix_ns.div_euclid(1000))
    }
}
