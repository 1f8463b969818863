//! Proof from the data: whether every batch is accounted for, every delta sums to the agents' own
//! counters, and every roll-up to its rows.
//!
//! SQL fetches ranges and the places that do not fit; what they mean is decided by pure code. Each
//! agent is looked at in a transaction of its own that sees one moment, so that data may flow
//! meanwhile. `docs/delivery.md` explains every finding.

mod agent;
mod counters;
mod database;
pub mod job;
mod ranges;
mod report;
mod sequences;

use std::time::{Duration, Instant};

use sqlx::PgPool;
use time::OffsetDateTime;

use self::report::Tally;
pub use self::report::{AgentReport, Check, Finding, Report, Summary};
use crate::agent_id::AgentId;

/// Most agents whose findings are kept; the numbers of the others count.
const MAX_AGENTS: usize = 1000;

/// What is audited.
#[derive(Clone, Copy, Debug)]
pub struct Scope {
    /// Only this agent; `None`: all of them, and the tables themselves.
    pub agent: Option<AgentId>,
    /// Rows, counters and roll-ups of so much time up to now; sequences always from the floors on.
    pub period: Duration,
    /// Agents that are not begun by then are left unchecked.
    pub limit: Duration,
}

/// The audit could not be made at all.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The database did not answer, or not in time.
    #[error("the database does not answer the audit: {0}")]
    Database(#[from] sqlx::Error),
    /// There is no such agent.
    #[error("no agent has the id {0}: GET /api/v1/agents lists them")]
    UnknownAgent(AgentId),
}

/// Looks at everything in the scope; `progress` is told how many of how many agents are done.
///
/// # Errors
/// When nothing could be looked at. An agent whose data cannot be read is in the report, which is
/// not clean then.
pub async fn audit(
    pool: &PgPool,
    scope: Scope,
    mut progress: impl FnMut(usize, usize),
) -> Result<Report, AuditError> {
    let began = Instant::now();
    let started_at: OffsetDateTime = sqlx::query_scalar("SELECT clock_timestamp()")
        .fetch_one(pool)
        .await?;
    let period = time::Duration::try_from(scope.period).unwrap_or(time::Duration::MAX);
    let since = started_at
        .checked_sub(period)
        .unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let mut total = Tally::default();
    let mut of_tables = Tally::default();
    if scope.agent.is_none() {
        database::check(pool, started_at, &mut of_tables).await?;
        total.include(&of_tables);
    }
    let listed: Vec<(i64, String)> = sqlx::query_as(
        "SELECT agent_id, alias FROM agents WHERE $1::int8 IS NULL OR agent_id = $1
         ORDER BY agent_id",
    )
    .bind(scope.agent.map(AgentId::to_bigint))
    .fetch_all(pool)
    .await?;
    if let (Some(agent), true) = (scope.agent, listed.is_empty()) {
        return Err(AuditError::UnknownAgent(agent));
    }
    let mut report = Report {
        started_at,
        duration_seconds: 0.0,
        since,
        clean: true,
        violations: 0,
        agents_checked: 0,
        agents_unchecked: 0,
        outstanding_batches: 0,
        checks: Vec::new(),
        database: of_tables.take_findings().0,
        agents: Vec::new(),
        agents_left_out: 0,
    };
    for (index, (id, alias)) in listed.iter().enumerate() {
        progress(index, listed.len());
        if began.elapsed() > scope.limit {
            report.agents_unchecked += (listed.len() - index) as u64;
            break;
        }
        let mut tally = Tally::default();
        let outcome = agent::check(pool, *id, since, &mut tally).await;
        let of_agent = AgentReport::new(AgentId::from_bigint(*id), alias, outcome, &mut tally);
        total.include(&tally);
        report.include(of_agent);
    }
    progress(listed.len(), listed.len());
    report.checks = total.summary();
    report.violations = total.violations();
    report.clean = report.violations == 0 && report.agents_unchecked == 0;
    report.duration_seconds = began.elapsed().as_secs_f64();
    Ok(report)
}

impl AgentReport {
    fn new(agent: AgentId, alias: &str, outcome: sqlx::Result<u64>, tally: &mut Tally) -> Self {
        let (findings, findings_left_out) = tally.take_findings();
        Self {
            agent: agent.to_string(),
            alias: alias.to_owned(),
            error: outcome.as_ref().err().map(ToString::to_string),
            violations: tally.violations(),
            outstanding_batches: outcome.unwrap_or_default(),
            findings,
            findings_left_out,
        }
    }
}

impl Report {
    /// Takes in what was found of an agent.
    fn include(&mut self, agent: AgentReport) {
        match agent.error {
            Some(_) => self.agents_unchecked += 1,
            None => self.agents_checked += 1,
        }
        self.outstanding_batches += agent.outstanding_batches;
        if agent.error.is_none() && agent.findings.is_empty() {
            return;
        }
        if self.agents.len() < MAX_AGENTS {
            self.agents.push(agent);
        } else {
            self.agents_left_out += 1;
        }
    }
}
