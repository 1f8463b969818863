//! `netmon-server botnet audit`: whether every node has its communications.

use std::io::Write;

use clap::Args;
use sqlx::PgPool;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::refusals::Format;
use crate::{
    botnets::{
        Subject,
        audit::{FamilyAudit, Report, audit},
    },
    config,
};

/// Runs printed of a family unless all are asked for.
const SHOWN_RUNS: usize = 10;

/// What to audit, and how to print it.
#[derive(Debug, Args)]
pub struct Question {
    /// Only this family, by name or alias; may be given several times
    #[arg(long = "family", value_name = "FAMILY")]
    families: Vec<String>,
    /// How to print the result
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Print every run of nodes without communications, not only the longest
    #[arg(long, short)]
    verbose: bool,
}

/// Makes the audit and prints it; gives whether it is clean.
///
/// # Errors
/// When the database does not answer, or a family is not known.
pub async fn run(
    pool: &PgPool,
    arguments: Question,
    settings: &config::Botnets,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    let families = Subject::named(pool, &arguments.families).await?;
    let report = audit(pool, &families, settings.audit_coverage).await?;
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
        "{:<32} {:>12} {:>10} {:>9} {:>10} {:>9} {:>8} {:>6}",
        "FAMILY", "NODES", "LACKING", "COVERAGE", "MISCOUNTED", "MISDATED", "ORPHANS", "DRIFT"
    )?;
    for family in &report.families {
        writeln!(
            out,
            "{:<32} {:>12} {:>10} {:>7} % {:>10} {:>9} {:>8} {:>6}",
            family.family,
            family.nodes,
            family.lacking,
            family.coverage(),
            family.miscounted,
            family.misdated,
            family.orphans,
            family.drift.places,
        )?;
    }
    for family in &report.families {
        tell(family, verbose, out)?;
    }
    let alerting = report.families.iter().filter(|of| !of.is_clean()).count();
    writeln!(
        out,
        "\n{} families in {:.1} s: {}",
        report.families.len(),
        report.duration_seconds,
        match alerting {
            0 => "every node that must have communications has them".to_owned(),
            alerting => format!("{alerting} with alerts; `botnet repair` says what can be mended"),
        }
    )?;
    Ok(())
}

fn tell(family: &FamilyAudit, verbose: bool, out: &mut impl Write) -> anyhow::Result<()> {
    if let Some(error) = &family.error {
        writeln!(out, "\n{}: could not be audited: {error}", family.family)?;
    }
    for alert in &family.alerts {
        writeln!(out, "\nALERT {}: {alert}", family.family)?;
    }
    if family.lacking == 0 {
        return Ok(());
    }
    writeln!(
        out,
        "\n{}: when nodes that lack communications appeared\n  {:<12} {:>12} {:>10}",
        family.family, "DAY", "NODES", "LACKING"
    )?;
    for day in &family.days {
        writeln!(
            out,
            "  {:<12} {:>12} {:>10}",
            day.day.to_string(),
            day.nodes,
            day.lacking
        )?;
    }
    writeln!(
        out,
        "{}: where, in {} runs of node ids, the longest first\n  {:>12} {:>12} {:>10}  SEEN FIRST",
        family.family, family.runs_total, "FIRST ID", "LAST ID", "LACKING"
    )?;
    let shown = if verbose {
        family.runs.len()
    } else {
        SHOWN_RUNS
    };
    for run in family.runs.iter().take(shown) {
        writeln!(
            out,
            "  {:>12} {:>12} {:>10}  {} to {}",
            run.first_id,
            run.last_id,
            run.nodes,
            moment(run.from),
            moment(run.to)
        )?;
    }
    let shown = shown.min(family.runs.len()) as i64;
    if shown < family.runs_total {
        writeln!(out, "  and {} more", family.runs_total - shown)?;
    }
    Ok(())
}

fn moment(at: OffsetDateTime) -> String {
    let second = at.replace_nanosecond(0).unwrap_or(at);
    second.format(&Rfc3339).unwrap_or_default()
}
