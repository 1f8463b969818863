//! Statistics of botnets: rebuilds, history and audits.

use prometheus::{
    Gauge, GaugeVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use super::{REGISTERED, counter, gauge, labels, register};
use crate::botnets::{
    aggregate::{Outcome, Round},
    audit::Report,
    history::Made,
};

/// What becomes of a family in a rebuild.
const REBUILDS: [&str; 3] = ["rebuilt", "empty", "failed"];

/// What statistics drift by.
const DRIFTS: [&str; 3] = ["places", "nodes", "communications"];

/// How audits of botnets end.
const AUDITS: [&str; 3] = ["clean", "alert", "failed"];

/// What becomes of days whose history is due.
const DAYS: [&str; 3] = ["made", "frozen", "failed"];

/// What an audit finds.
const FINDINGS: [&str; 5] = ["lacking", "miscounted", "misdated", "orphans", "drift"];

/// Most families with series of their own; the numbers of the others are in the report.
const MAX_FAMILIES: usize = 100;

/// Rebuilds, history and audits. Of several servers the one that did it has values.
#[derive(Debug)]
pub struct Aggregation {
    rebuilds: IntCounterVec,
    rounds_failed: IntCounter,
    drift: IntCounterVec,
    last: Gauge,
    duration: Gauge,
    next: Gauge,
    days: IntCounterVec,
    days_waiting: IntGauge,
    audits: IntCounterVec,
    audit_last: Gauge,
    audit_duration: Gauge,
    coverage: GaugeVec,
    findings: IntGaugeVec,
    alerting: IntGauge,
}

impl Aggregation {
    pub(super) fn new(registry: &Registry) -> Self {
        let float = |name: &str, help: &str| {
            let gauge = Gauge::with_opts(Opts::new(name, help)).expect(REGISTERED);
            register(registry, gauge)
        };
        let coverage = Opts::new(
            "netmon_server_botnet_coverage_ratio",
            "Share of nodes with communications at the last audit, 0 to 1, by family.",
        );
        let findings = Opts::new(
            "netmon_server_botnet_audit_findings",
            "What did not fit at the last audit, over all families: nodes, addresses or places.",
        );
        let findings = IntGaugeVec::new(findings, &["finding"]).expect(REGISTERED);
        for finding in FINDINGS {
            findings.with_label_values(&[finding]);
        }
        Self {
            rebuilds: labels::vector(
                registry,
                "netmon_server_botnet_rebuilds_total",
                "Families whose statistics this server counted afresh, by outcome.",
                "outcome",
                &REBUILDS,
            ),
            rounds_failed: counter(
                registry,
                "netmon_server_botnet_rebuild_rounds_failed_total",
                "Rounds of rebuilds that could not begin, or whose result could not be kept.",
            ),
            drift: labels::vector(
                registry,
                "netmon_server_botnet_drift_total",
                "How far statistics were from a count, by what; always 0 but for a fault.",
                "of",
                &DRIFTS,
            ),
            last: float(
                "netmon_server_botnet_rebuild_timestamp_seconds",
                "When the last round of rebuilds began, seconds since 1970; 0: none yet.",
            ),
            duration: float(
                "netmon_server_botnet_rebuild_duration_seconds",
                "How long the last round of rebuilds took.",
            ),
            next: float(
                "netmon_server_botnet_rebuild_next_timestamp_seconds",
                "When the next round of rebuilds is, seconds since 1970; 0: not known here.",
            ),
            days: labels::vector(
                registry,
                "netmon_server_botnet_histories_total",
                "Days of single families whose history was due, by what became of it.",
                "outcome",
                &DAYS,
            ),
            days_waiting: gauge(
                registry,
                "netmon_server_botnet_histories_waiting",
                "Closed days of single families whose history is due.",
            ),
            audits: labels::vector(
                registry,
                "netmon_server_botnet_audits_total",
                "Audits of botnets made by this server, by outcome.",
                "outcome",
                &AUDITS,
            ),
            audit_last: float(
                "netmon_server_botnet_audit_timestamp_seconds",
                "When the last audit of botnets began, seconds since 1970; 0: none yet.",
            ),
            audit_duration: float(
                "netmon_server_botnet_audit_duration_seconds",
                "How long the last audit of botnets took.",
            ),
            coverage: register(
                registry,
                GaugeVec::new(coverage, &["family"]).expect(REGISTERED),
            ),
            findings: register(registry, findings),
            alerting: gauge(
                registry,
                "netmon_server_botnet_audit_alerting_families",
                "Families that raise an alert or could not be looked at, by the last audit.",
            ),
        }
    }

    /// A round of rebuilds was made, by whomever asked for it.
    pub fn rebuilt(&self, round: &Round) {
        for run in &round.families {
            let outcome = match run.outcome {
                Outcome::Rebuilt => REBUILDS[0],
                Outcome::Empty => REBUILDS[1],
                Outcome::Failed => REBUILDS[2],
            };
            self.rebuilds.with_label_values(&[outcome]).inc();
            let drift = run.drift;
            let drifts = [drift.places, drift.nodes, drift.communications];
            for (of, by) in DRIFTS.into_iter().zip(drifts) {
                self.drift.with_label_values(&[of]).inc_by(by);
            }
        }
        self.last.set(round.started_at.unix_timestamp() as f64);
        self.duration.set(round.duration_seconds);
        if let Some(next) = round.next_run_at {
            self.next.set(next.unix_timestamp() as f64);
        }
    }

    /// A round could not begin, or its result could not be kept.
    pub fn round_failed(&self) {
        self.rounds_failed.inc();
    }

    /// Days were made.
    pub fn days_made(&self, made: Made) {
        let days = [made.days, made.frozen, made.failed];
        for (outcome, days) in DAYS.into_iter().zip(days) {
            self.days.with_label_values(&[outcome]).inc_by(days);
        }
        let waiting = i64::try_from(made.waiting).unwrap_or(i64::MAX);
        self.days_waiting.set(waiting);
    }

    /// Another server makes the history.
    pub fn history_rests(&self) {
        self.days_waiting.set(0);
    }

    /// Botnets were audited.
    pub fn audited(&self, report: &Report) {
        let outcome = if report.clean { AUDITS[0] } else { AUDITS[1] };
        self.audits.with_label_values(&[outcome]).inc();
        self.audit_last
            .set(report.started_at.unix_timestamp() as f64);
        self.audit_duration.set(report.duration_seconds);
        // Families come and go.
        self.coverage.reset();
        let mut findings = [0; FINDINGS.len()];
        for (index, family) in report.families.iter().enumerate() {
            let places = i64::try_from(family.drift.places).unwrap_or(i64::MAX);
            let of = [
                family.lacking,
                family.miscounted,
                family.misdated,
                family.orphans,
                places,
            ];
            findings.iter_mut().zip(of).for_each(|(sum, of)| *sum += of);
            if index < MAX_FAMILIES && family.error.is_none() {
                let coverage = self.coverage.with_label_values(&[&family.family]);
                coverage.set(family.coverage_percent / 100.0);
            }
        }
        for (finding, count) in FINDINGS.into_iter().zip(findings) {
            self.findings.with_label_values(&[finding]).set(count);
        }
        let alerting = report.families.iter().filter(|of| !of.is_clean()).count();
        self.alerting.set(alerting as i64);
    }

    /// An audit could not be made.
    pub fn audit_failed(&self) {
        self.audits.with_label_values(&[AUDITS[2]]).inc();
    }

    /// Another server audits: this one has nothing to show.
    pub fn audit_rests(&self) {
        self.coverage.reset();
        for finding in FINDINGS {
            self.findings.with_label_values(&[finding]).set(0);
        }
        self.alerting.set(0);
    }
}
