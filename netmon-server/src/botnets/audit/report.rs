//! What an audit found, for people, programs and metrics.

use serde::Serialize;
use time::{Date, OffsetDateTime};
use utoipa::ToSchema;

use crate::botnets::aggregate::Drift;

/// The result of an audit.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = BotnetAuditReport)]
pub struct Report {
    /// By the database's clock.
    #[serde(with = "time::serde::rfc3339")]
    pub started_at: OffsetDateTime,
    /// How long it took.
    pub duration_seconds: f64,
    /// Coverage below this raises an alert, per cent.
    pub threshold: f64,
    /// Whether no family raises an alert or could not be looked at.
    pub clean: bool,
    /// Every family that was asked for.
    pub families: Vec<FamilyAudit>,
}

/// What was found of one family.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = BotnetFamilyAudit)]
pub struct FamilyAudit {
    /// Its name.
    pub family: String,
    /// Why it could not be looked at, if so; the rest is empty then.
    pub error: Option<String>,
    /// Why it raises an alert, a sentence each; none: it does not.
    pub alerts: Vec<String>,
    /// Communications are kept from here on; null: none was ever dropped.
    #[serde(with = "time::serde::rfc3339::option")]
    pub since: Option<OffsetDateTime>,
    /// Nodes that were seen since then, which all have communications.
    pub nodes: i64,
    /// Those of them that have none.
    pub lacking: i64,
    /// Share of nodes with communications, per cent; 100 without nodes.
    pub coverage_percent: f64,
    /// Nodes whose counter is not the sum of their communications.
    pub miscounted: i64,
    /// Nodes whose first or last sighting is not that of their communications.
    pub misdated: i64,
    /// Addresses with communications that are no nodes.
    pub orphans: i64,
    /// How far the statistics are from a count.
    pub drift: Drift,
    /// Days of first sightings with nodes that lack communications: when the gaps arose.
    pub days: Vec<GapDay>,
    /// Runs of nodes that lack communications, by node id, the longest first: where. A crash leaves
    /// few long ones, a fault of the logic many short ones.
    pub runs: Vec<GapRun>,
    /// All runs, with those that are not listed.
    pub runs_total: i64,
}

/// A day on which nodes appeared that lack communications.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = BotnetGapDay)]
pub struct GapDay {
    /// The day (UTC).
    #[serde(serialize_with = "day")]
    #[schema(value_type = String, format = Date)]
    pub day: Date,
    /// Nodes that were seen first on it.
    pub nodes: i64,
    /// Those of them that lack communications.
    pub lacking: i64,
}

/// Nodes that lack communications, without a healthy one among them in the order of their ids.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = BotnetGapRun)]
pub struct GapRun {
    /// The first node's id.
    pub first_id: i64,
    /// The last node's id.
    pub last_id: i64,
    /// How many.
    pub nodes: i64,
    /// The earliest first sighting.
    #[serde(with = "time::serde::rfc3339")]
    pub from: OffsetDateTime,
    /// The latest first sighting.
    #[serde(with = "time::serde::rfc3339")]
    pub to: OffsetDateTime,
}

impl FamilyAudit {
    pub(super) fn new(family: &str) -> Self {
        Self {
            family: family.to_owned(),
            error: None,
            alerts: Vec::new(),
            since: None,
            nodes: 0,
            lacking: 0,
            coverage_percent: 100.0,
            miscounted: 0,
            misdated: 0,
            orphans: 0,
            drift: Drift::default(),
            days: Vec::new(),
            runs: Vec::new(),
            runs_total: 0,
        }
    }

    pub(super) fn failed(family: &str, error: &sqlx::Error) -> Self {
        Self {
            error: Some(error.to_string()),
            ..Self::new(family)
        }
    }

    /// Whether it raises no alert and could be looked at.
    pub fn is_clean(&self) -> bool {
        self.error.is_none() && self.alerts.is_empty()
    }

    /// The coverage with two digits, which is never 100 while something lacks.
    pub fn coverage(&self) -> String {
        percent(self.coverage_percent)
    }

    /// Decides what the numbers mean.
    pub(super) fn judge(&mut self, threshold: f64) {
        self.coverage_percent = coverage(self.nodes, self.lacking);
        if self.coverage_percent < threshold {
            self.alerts.push(format!(
                "{} of {} nodes lack communications: coverage {} %, below {threshold} %",
                self.lacking,
                self.nodes,
                self.coverage(),
            ));
        }
        for (count, what) in [
            (
                self.miscounted,
                "nodes have a counter that is not the sum of their communications",
            ),
            (
                self.misdated,
                "nodes were not seen when their communications say",
            ),
            (
                self.orphans,
                "addresses have communications and are no nodes",
            ),
        ] {
            if count > 0 {
                self.alerts.push(format!("{count} {what}"));
            }
        }
        if !self.drift.is_none() {
            self.alerts.push(format!(
                "the statistics of {} places are not as counted, by {} nodes and {} communications",
                self.drift.places, self.drift.nodes, self.drift.communications,
            ));
        }
    }
}

fn coverage(nodes: i64, lacking: i64) -> f64 {
    match nodes {
        0 => 100.0,
        _ => 100.0 * (nodes - lacking) as f64 / nodes as f64,
    }
}

fn percent(of: f64) -> String {
    let shown = if of < 100.0 { of.min(99.99) } else { of };
    format!("{shown:.2}")
}

fn day<S: serde::Serializer>(day: &Date, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(nodes: i64, lacking: i64, threshold: f64) -> FamilyAudit {
        let mut audit = FamilyAudit {
            nodes,
            lacking,
            ..FamilyAudit::new("mozi")
        };
        audit.judge(threshold);
        audit
    }

    #[test]
    fn coverage_below_the_threshold_raises_an_alert_with_the_numbers() {
        let audit = judged(293_037, 3_868, 99.0);
        let alert = "3868 of 293037 nodes lack communications: coverage 98.68 %, below 99 %";
        assert_eq!(audit.alerts, [alert]);
        assert!(!audit.is_clean());
        assert!(judged(293_037, 2_930, 99.0).is_clean(), "just above");
        assert!(judged(0, 0, 100.0).is_clean(), "nothing lacks of nothing");
    }

    #[test]
    fn a_coverage_that_is_not_whole_never_shows_as_100() {
        let audit = judged(10_000_000, 1, 100.0);
        assert_eq!(percent(audit.coverage_percent), "99.99");
        assert!(!audit.is_clean());
        assert_eq!(percent(100.0), "100.00");
    }

    #[test]
    fn whatever_does_not_fit_raises_an_alert() {
        for change in [
            |audit: &mut FamilyAudit| audit.miscounted = 1,
            |audit: &mut FamilyAudit| audit.misdated = 1,
            |audit: &mut FamilyAudit| audit.orphans = 1,
            |audit: &mut FamilyAudit| audit.drift.places = 1,
        ] {
            let mut audit = FamilyAudit::new("mozi");
            change(&mut audit);
            audit.judge(99.0);
            assert_eq!(audit.alerts.len(), 1, "{audit:?}");
        }
    }
}
