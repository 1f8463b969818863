//! Botnets: how long what is kept, and how often it is looked after.

use std::time::Duration;

use serde::{Deserialize, Serialize};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const TEN_YEARS: Duration = Duration::from_secs(3660 * 24 * 60 * 60);

/// Botnets: how long what is kept, and how often it is looked after.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Botnets {
    /// Communications by hour; also how old a line of a log may be.
    #[serde(with = "humantime_serde")]
    pub communications: Duration,
    /// Lines as they came, and so how long an upload can be sent again with its key.
    #[serde(with = "humantime_serde")]
    pub raw: Duration,
    /// Nodes since they were seen last; 0: for ever.
    #[serde(with = "humantime_serde")]
    pub nodes: Duration,
    /// Most transactions at once that store lines; at most three quarters of
    /// `database.max_connections` are used.
    pub writers: u32,
    /// How often statistics are counted afresh and compared; 0: never.
    #[serde(with = "humantime_serde")]
    pub aggregate: Duration,
    /// How often nodes and communications are audited; 0: never.
    #[serde(with = "humantime_serde")]
    pub audit: Duration,
    /// Coverage below which the audit alerts, per cent.
    pub audit_coverage: f64,
}

impl Default for Botnets {
    fn default() -> Self {
        Self {
            communications: 90 * DAY,
            raw: 30 * DAY,
            nodes: Duration::ZERO,
            writers: 4,
            aggregate: 30 * MINUTE,
            audit: HOUR,
            audit_coverage: 99.0,
        }
    }
}

impl Botnets {
    /// The first key whose value is out of its range, and what would be right.
    pub(super) fn problem(&self) -> Option<(&'static str, &'static str)> {
        let or_never = |value: Duration, least: Duration, most: Duration| {
            value.is_zero() || (least..=most).contains(&value)
        };
        let checks = [
            (
                (DAY..=TEN_YEARS).contains(&self.communications),
                "botnets.communications",
                "must lie between 1d and 10 years",
            ),
            (
                (DAY..=TEN_YEARS).contains(&self.raw),
                "botnets.raw",
                "must lie between 1d and 10 years",
            ),
            (
                or_never(self.nodes, self.communications, TEN_YEARS),
                "botnets.nodes",
                "must lie between botnets.communications and 10 years, or be 0s for ever",
            ),
            (
                (1..=100).contains(&self.writers),
                "botnets.writers",
                "must lie between 1 and 100",
            ),
            (
                or_never(self.aggregate, 5 * MINUTE, DAY),
                "botnets.aggregate",
                "must lie between 5m and 1d, or be 0s for never",
            ),
            (
                or_never(self.audit, MINUTE, 7 * DAY),
                "botnets.audit",
                "must lie between 1m and 7d, or be 0s for never",
            ),
            (
                (0.0..=100.0).contains(&self.audit_coverage),
                "botnets.audit_coverage",
                "must lie between 0 (never alert) and 100",
            ),
        ];
        let wrong = checks.into_iter().find(|(holds, ..)| !holds);
        wrong.map(|(_, key, problem)| (key, problem))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_out_of_range_is_found_by_its_key() {
        let problem = |change: fn(&mut Botnets)| {
            let mut settings = Botnets::default();
            change(&mut settings);
            settings.problem().map(|(key, _)| key)
        };
        assert_eq!(problem(|_| {}), None);
        for (key, found) in [
            (
                "botnets.communications",
                problem(|b| b.communications = HOUR),
            ),
            ("botnets.raw", problem(|b| b.raw = Duration::ZERO)),
            ("botnets.nodes", problem(|b| b.nodes = 30 * DAY)),
            ("botnets.writers", problem(|b| b.writers = 0)),
            ("botnets.aggregate", problem(|b| b.aggregate = MINUTE)),
            ("botnets.audit", problem(|b| b.audit = 30 * DAY)),
            (
                "botnets.audit_coverage",
                problem(|b| b.audit_coverage = f64::NAN),
            ),
        ] {
            assert_eq!(found, Some(key));
        }
        assert_eq!(problem(|b| b.nodes = b.communications), None);
    }
}
