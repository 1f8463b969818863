//! What the last audit found.

use prometheus::{Gauge, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use super::{REGISTERED, gauge, labels, register};
use crate::audit::{Check, Report};

/// How audits end.
const OUTCOMES: [&str; 3] = ["clean", "violations", "failed"];

/// Gauges of the last audit. Of several servers the one that made it has values.
#[derive(Debug)]
pub struct Audit {
    runs: IntCounterVec,
    violations: IntGaugeVec,
    agents: IntGauge,
    unchecked: IntGauge,
    outstanding: IntGauge,
    last: Gauge,
    duration: Gauge,
}

impl Audit {
    pub(super) fn new(registry: &Registry) -> Self {
        let float = |name: &str, help: &str| {
            register(
                registry,
                Gauge::with_opts(Opts::new(name, help)).expect(REGISTERED),
            )
        };
        let violations = Opts::new(
            "netmon_server_audit_violations",
            "Findings of the last audit that mean that the books do not balance, by check.",
        );
        Self {
            runs: labels::vector(
                registry,
                "netmon_server_audits_total",
                "Audits made by this server, by outcome.",
                "outcome",
                &OUTCOMES,
            ),
            violations: register(
                registry,
                IntGaugeVec::new(violations, &["check"]).expect(REGISTERED),
            ),
            agents: gauge(
                registry,
                "netmon_server_audit_agents_checked",
                "Agents the last audit checked.",
            ),
            unchecked: gauge(
                registry,
                "netmon_server_audit_agents_unchecked",
                "Agents the last audit could not check.",
            ),
            outstanding: gauge(
                registry,
                "netmon_server_audit_outstanding_batches",
                "Batches that were still with their agents at the last audit.",
            ),
            last: float(
                "netmon_server_audit_timestamp_seconds",
                "When the last audit began, seconds since 1970; 0: none yet.",
            ),
            duration: float(
                "netmon_server_audit_duration_seconds",
                "How long the last audit took.",
            ),
        }
    }

    /// This server made an audit.
    pub fn record(&self, report: &Report) {
        let outcome = if report.clean {
            OUTCOMES[0]
        } else {
            OUTCOMES[1]
        };
        self.runs.with_label_values(&[outcome]).inc();
        for summary in &report.checks {
            let gauge = self.violations.with_label_values(&[summary.check.name()]);
            gauge.set(summary.violations as i64);
        }
        self.agents.set(report.agents_checked as i64);
        self.unchecked.set(report.agents_unchecked as i64);
        self.outstanding.set(report.outstanding_batches as i64);
        self.last.set(report.started_at.unix_timestamp() as f64);
        self.duration.set(report.duration_seconds);
    }

    /// An audit could not be made.
    pub fn failed(&self) {
        self.runs.with_label_values(&[OUTCOMES[2]]).inc();
    }

    /// Another server makes the audits: this one has nothing to show.
    pub fn rests(&self) {
        for check in Check::ALL {
            let _ = self.violations.remove_label_values(&[check.name()]);
        }
    }
}
