//! What an audit found, for people, programs and metrics.

use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

/// Most findings kept of one agent; the rest is counted.
pub const MAX_FINDINGS: usize = 200;

/// What is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = AuditCheck)]
pub enum Check {
    /// Every batch is stored, refused, omitted or still with its agent.
    Sequences,
    /// A batch has as many rows as its ledger row says, and no row is without one.
    Rows,
    /// Bandwidth deltas sum to the agent's own counters.
    Counters,
    /// Minutes and hours equal their samples.
    Rollups,
    /// Every partitioned table has a place for today's and tomorrow's rows.
    Partitions,
}

/// The result of an audit.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = AuditReport)]
pub struct Report {
    /// By the database's clock.
    #[serde(with = "time::serde::rfc3339")]
    pub started_at: OffsetDateTime,
    /// How long it took.
    pub duration_seconds: f64,
    /// Counters, rows and roll-ups were checked from here on; sequences from the floors on.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    /// Whether there is no violation, and nothing was left unchecked.
    pub clean: bool,
    /// Findings that are violations, listed or not.
    pub violations: u64,
    /// Agents that were checked.
    pub agents_checked: u64,
    /// Agents that were not, because an error or the end of the time came first.
    pub agents_unchecked: u64,
    /// Batches that are on their way: still with their agents.
    pub outstanding_batches: u64,
    /// One line per check.
    pub checks: Vec<Summary>,
    /// What was found beside the agents.
    pub database: Vec<Finding>,
    /// Agents of which there is something to say.
    pub agents: Vec<AgentReport>,
    /// Agents with findings that are not listed.
    pub agents_left_out: u64,
}

/// One check in numbers.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = AuditSummary)]
pub struct Summary {
    /// The check.
    pub check: Check,
    /// Batches (sequences, rows), frames (counters), minutes and hours that are not pending
    /// (rollups) or tables (partitions) that were looked at.
    pub checked: u64,
    /// Findings that are violations.
    pub violations: u64,
    /// Findings that explain themselves.
    pub explained: u64,
}

/// What was found of one agent.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = AuditOfAgent)]
pub struct AgentReport {
    /// Id, 16 hexadecimal digits.
    pub agent: String,
    /// A name for people.
    pub alias: String,
    /// Why it could not be checked, if so.
    pub error: Option<String>,
    /// Findings that are violations, listed or not.
    pub violations: u64,
    /// Batches that are still with it.
    pub outstanding_batches: u64,
    /// Violations first, then what explains itself.
    pub findings: Vec<Finding>,
    /// Findings beyond those listed.
    pub findings_left_out: u64,
}

/// One thing worth knowing. Fields that do not apply are null.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = AuditFinding)]
pub struct Finding {
    /// The check that found it.
    pub check: Check,
    /// Whether the books do not balance; else it explains itself.
    pub violation: bool,
    /// What it is, in one word; docs/delivery.md explains each.
    pub cause: &'static str,
    /// The same for people.
    pub detail: String,
    /// The run of the agent.
    pub epoch: Option<i64>,
    /// The stream within it.
    pub kind: Option<&'static str>,
    /// The first batch concerned.
    pub first_sequence: Option<i64>,
    /// The last batch concerned.
    pub last_sequence: Option<i64>,
    /// The interface concerned.
    pub interface: Option<String>,
    /// When what it concerns began.
    #[serde(with = "time::serde::rfc3339::option")]
    pub from: Option<OffsetDateTime>,
    /// When it ended.
    #[serde(with = "time::serde::rfc3339::option")]
    pub to: Option<OffsetDateTime>,
    /// Packets that are missing; below 0: there twice.
    pub packets: Option<i64>,
    /// Octets that are missing; below 0: there twice.
    pub bytes: Option<i64>,
}

impl Check {
    /// Every check, in the order of a report.
    pub const ALL: [Self; 5] = [
        Self::Sequences,
        Self::Rows,
        Self::Counters,
        Self::Rollups,
        Self::Partitions,
    ];

    /// As it stands in reports and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sequences => "sequences",
            Self::Rows => "rows",
            Self::Counters => "counters",
            Self::Rollups => "rollups",
            Self::Partitions => "partitions",
        }
    }
}

impl Finding {
    /// A finding of which nothing more is known yet.
    pub fn new(check: Check, violation: bool, cause: &'static str, detail: String) -> Self {
        Self {
            check,
            violation,
            cause,
            detail,
            epoch: None,
            kind: None,
            first_sequence: None,
            last_sequence: None,
            interface: None,
            from: None,
            to: None,
            packets: None,
            bytes: None,
        }
    }

    /// When it was.
    pub fn during(self, from: OffsetDateTime, to: OffsetDateTime) -> Self {
        Self {
            from: Some(from),
            to: Some(to),
            ..self
        }
    }

    /// Which batches it concerns.
    pub fn of_batches(self, epoch: i64, kind: &'static str, first: i64, last: i64) -> Self {
        Self {
            epoch: Some(epoch),
            kind: Some(kind),
            first_sequence: Some(first),
            last_sequence: Some(last),
            ..self
        }
    }
}

/// Counts everything and keeps the first findings.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    checked: [u64; Check::ALL.len()],
    violations: [u64; Check::ALL.len()],
    explained: [u64; Check::ALL.len()],
    wrong: Vec<Finding>,
    right: Vec<Finding>,
    left_out: u64,
}

impl Tally {
    pub(super) fn checked(&mut self, check: Check, count: u64) {
        self.checked[check as usize] += count;
    }

    pub(super) fn add(&mut self, finding: Finding) {
        let (counts, kept) = match finding.violation {
            true => (&mut self.violations, &mut self.wrong),
            false => (&mut self.explained, &mut self.right),
        };
        counts[finding.check as usize] += 1;
        if kept.len() < MAX_FINDINGS {
            kept.push(finding);
        } else {
            self.left_out += 1;
        }
    }

    pub(super) fn violations(&self) -> u64 {
        self.violations.iter().sum()
    }

    /// The findings, violations first, and how many more there were.
    pub(super) fn take_findings(&mut self) -> (Vec<Finding>, u64) {
        let mut findings = std::mem::take(&mut self.wrong);
        findings.append(&mut self.right);
        let beyond = findings.len().saturating_sub(MAX_FINDINGS);
        findings.truncate(MAX_FINDINGS);
        (findings, std::mem::take(&mut self.left_out) + beyond as u64)
    }

    /// Adds another with its findings.
    pub(super) fn take_in(&mut self, other: Self) {
        self.include(&other);
        self.left_out += other.left_out;
        for (kept, more) in [
            (&mut self.wrong, other.wrong),
            (&mut self.right, other.right),
        ] {
            kept.extend(more);
            self.left_out += kept.len().saturating_sub(MAX_FINDINGS) as u64;
            kept.truncate(MAX_FINDINGS);
        }
    }

    /// Adds the numbers of another, not its findings.
    pub(super) fn include(&mut self, other: &Self) {
        let add = |all: &mut [u64], more: &[u64]| {
            all.iter_mut()
                .zip(more)
                .for_each(|(all, more)| *all += more);
        };
        add(&mut self.checked, &other.checked);
        add(&mut self.violations, &other.violations);
        add(&mut self.explained, &other.explained);
    }

    pub(super) fn summary(&self) -> Vec<Summary> {
        let line = |check: Check| Summary {
            check,
            checked: self.checked[check as usize],
            violations: self.violations[check as usize],
            explained: self.explained[check as usize],
        };
        Check::ALL.map(line).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_beyond_the_bound_are_counted_and_violations_are_kept_first() {
        let mut tally = Tally::default();
        for violation in [false, true] {
            for _ in 0..MAX_FINDINGS + 5 {
                tally.add(Finding::new(Check::Rows, violation, "x", String::new()));
            }
        }
        assert_eq!(tally.violations(), MAX_FINDINGS as u64 + 5);
        let (findings, left_out) = tally.take_findings();
        assert!(findings.iter().all(|finding| finding.violation));
        assert_eq!(findings.len(), MAX_FINDINGS);
        assert_eq!(left_out, MAX_FINDINGS as u64 + 10);
    }
}
