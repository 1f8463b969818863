//! `netmon-server audit`: proof from the data, for people and programs.

use std::{
    io::{IsTerminal as _, Write},
    time::Duration,
};

use anyhow::Context as _;
use clap::Args;
use sqlx::PgPool;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::refusals::{Format, agent};
use crate::{
    agent_id::AgentId,
    audit::{Finding, Report, Scope, audit},
};

/// No command runs longer than this.
const LIMIT: Duration = Duration::from_secs(24 * 60 * 60);

/// What to audit, and how to print it.
#[derive(Debug, Args)]
pub struct Question {
    /// Only this agent: its id or its alias
    #[arg(long, value_name = "AGENT")]
    agent: Option<String>,
    /// How far back rows, counters and roll-ups are checked, such as 36h or 7d: as far as raw rows
    /// are kept, and in any case if something seems wrong. Sequences are checked from the floors on
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "24h")]
    since: Duration,
    /// How to print the result
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// List also what explains itself: outages, batches that were given up or are on their way
    #[arg(long, short)]
    verbose: bool,
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    humantime_serde::re::humantime::parse_duration(text).map_err(|error| error.to_string())
}

/// Makes the audit and prints it; gives whether the books balance.
///
/// # Errors
/// When the database does not answer, or there is no such agent.
pub async fn run(pool: &PgPool, arguments: Question, out: &mut impl Write) -> anyhow::Result<bool> {
    let agent = match &arguments.agent {
        Some(name) => Some(AgentId::from_bigint(agent(pool, name).await?)),
        None => None,
    };
    let scope = Scope {
        agent,
        period: arguments.since,
        limit: LIMIT,
    };
    let shows_progress = std::io::stderr().is_terminal();
    let report = audit(pool, scope, |done, all| {
        if shows_progress && all > 1 {
            let end = if done == all { "\n" } else { "" };
            eprint!("\r{done} of {all} agents{end}");
        }
    })
    .await?;
    match arguments.format {
        Format::Json => {
            serde_json::to_writer_pretty(&mut *out, &report)?;
            writeln!(out)?;
        }
        Format::Table => print(&report, arguments.verbose, out)?,
    }
    Ok(report.clean)
}

fn print(report: &Report, verbose: bool, out: &mut impl Write) -> anyhow::Result<()> {
    writeln!(
        out,
        "{:<11} {:>12} {:>11} {:>10}",
        "CHECK", "CHECKED", "VIOLATIONS", "EXPLAINED"
    )?;
    for line in &report.checks {
        writeln!(
            out,
            "{:<11} {:>12} {:>11} {:>10}",
            line.check.name(),
            line.checked,
            line.violations,
            line.explained
        )?;
    }
    for finding in &report.database {
        tell(finding, out)?;
    }
    for agent in &report.agents {
        let shown = agent.findings.iter().filter(|f| verbose || f.violation);
        let shown: Vec<_> = shown.collect();
        if shown.is_empty() && agent.error.is_none() {
            continue;
        }
        writeln!(out, "\nagent {} ({})", agent.agent, agent.alias)?;
        if let Some(error) = &agent.error {
            writeln!(out, "  could not be checked: {error}")?;
        }
        for finding in shown {
            tell(finding, out)?;
        }
        if agent.findings_left_out > 0 {
            writeln!(out, "  and {} more", agent.findings_left_out)?;
        }
    }
    let explained: u64 = report.checks.iter().map(|line| line.explained).sum();
    writeln!(
        out,
        "\n{} agents in {:.1} s, rows since {}: {}",
        report.agents_checked,
        report.duration_seconds,
        moment(report.since),
        match (report.violations, report.agents_unchecked) {
            (0, 0) => "the books balance".to_owned(),
            (0, unchecked) => format!("{unchecked} agents could not be checked"),
            (violations, _) => format!("{violations} violations"),
        }
    )?;
    if explained > 0 && !verbose {
        writeln!(
            out,
            "{explained} findings explain themselves: --verbose lists them"
        )?;
    }
    Ok(())
}

fn tell(finding: &Finding, out: &mut impl Write) -> anyhow::Result<()> {
    let mark = if finding.violation { "VIOLATION" } else { "ok" };
    write!(
        out,
        "  {mark:<9} {}/{}: {}",
        finding.check.name(),
        finding.cause,
        finding.detail
    )?;
    if let (Some(from), Some(to)) = (finding.from, finding.to) {
        write!(out, ", {} to {}", moment(from), moment(to))?;
    }
    writeln!(out).context("cannot write")
}

fn moment(at: OffsetDateTime) -> String {
    let second = at.replace_nanosecond(0).unwrap_or(at);
    second.format(&Rfc3339).unwrap_or_default()
}
