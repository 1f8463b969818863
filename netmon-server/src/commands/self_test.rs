//! `netmon-server self-test`: whether everything works here.

use std::io::Write;

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::refusals::Format;
use crate::{
    botnets::self_test::{self, Outcome, Report},
    config::Config,
};

/// How to print the result.
#[derive(Debug, Args)]
pub struct Question {
    /// How to print the result
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// Makes every check and prints them; gives whether all went well.
///
/// # Errors
/// When the result cannot be printed.
pub async fn run(
    config: &Config,
    arguments: Question,
    stop: CancellationToken,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    let report = self_test::run(config, stop).await;
    match arguments.format {
        Format::Json => {
            serde_json::to_writer_pretty(&mut *out, &report)?;
            writeln!(out)?;
        }
        Format::Table => print(&report, out)?,
    }
    Ok(report.passed())
}

fn print(report: &Report, out: &mut impl Write) -> anyhow::Result<()> {
    writeln!(
        out,
        "{:<13} {:<8} {:>8}  FOUND",
        "CHECK", "OUTCOME", "SECONDS"
    )?;
    for check in &report.checks {
        let outcome = match check.outcome {
            Outcome::Ok => "ok",
            Outcome::Failed => "FAILED",
            Outcome::Skipped => "skipped",
        };
        writeln!(
            out,
            "{:<13} {outcome:<8} {:>8.2}  {}",
            check.name, check.duration_seconds, check.detail
        )?;
        if let Some(remedy) = &check.remedy {
            writeln!(out, "{:<32} → {remedy}", "")?;
        }
    }
    let failed = |outcome: Outcome| {
        let of = report
            .checks
            .iter()
            .filter(|check| check.outcome == outcome);
        of.count()
    };
    writeln!(
        out,
        "\n{}",
        match (failed(Outcome::Failed), failed(Outcome::Skipped)) {
            (0, 0) => "everything works".to_owned(),
            (failed, skipped) => format!("{failed} failed, {skipped} skipped"),
        }
    )?;
    Ok(())
}
