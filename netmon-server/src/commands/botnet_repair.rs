//! `netmon-server botnet repair`: gives nodes the communications that they lack.

use std::io::{IsTerminal as _, Write};

use clap::Args;

use super::refusals::Format;
use crate::{
    botnets::{
        Subject,
        repair::{Options, Repaired, repair},
    },
    store::botnets::Botnets,
};

/// What to repair, and whether to do it.
#[derive(Debug, Args)]
pub struct Request {
    /// Only this family, by name or alias; may be given several times
    #[arg(long = "family", value_name = "FAMILY")]
    families: Vec<String>,
    /// Do it; else only say what would be done
    #[arg(long)]
    execute: bool,
    /// Nodes mended in one transaction
    #[arg(long, value_name = "N", default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    batch: u32,
    /// How to print the result
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// Repairs, or says what would be done; gives whether everything was mended that could be.
///
/// # Errors
/// When the database does not answer, or a family is not known. What was mended until then stays;
/// the same command goes on.
pub async fn run(
    botnets: &Botnets,
    arguments: Request,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    let families = Subject::named(botnets.pool(), &arguments.families).await?;
    let options = Options {
        execute: arguments.execute,
        batch: arguments.batch as usize,
    };
    let shows_progress = std::io::stderr().is_terminal();
    let (mut results, mut complete) = (Vec::new(), true);
    for family in &families {
        let outcome = repair(botnets, family, options, |done| {
            if shows_progress {
                eprint!("\r{}: {done} addresses", family.name);
            }
        })
        .await;
        if shows_progress {
            eprintln!();
        }
        match outcome {
            Ok(repaired) => results.push(repaired),
            Err(error) => {
                complete = false;
                eprintln!("netmon-server: {}: {error}", family.name);
            }
        }
    }
    match arguments.format {
        Format::Json => {
            serde_json::to_writer_pretty(&mut *out, &results)?;
            writeln!(out)?;
        }
        Format::Table => print(&results, arguments.execute, out)?,
    }
    Ok(complete)
}

fn print(results: &[Repaired], executed: bool, out: &mut impl Write) -> anyhow::Result<()> {
    writeln!(
        out,
        "{:<32} {:>10} {:>14} {:>10} {:>9} {:>6} {:>7} {:>6}",
        "FAMILY", "LACKING", "COMMUNICATIONS", "SIGHTINGS", "COUNTERS", "TIMES", "ORPHANS", "DRIFT"
    )?;
    for repaired in results {
        let changes = repaired.changes;
        writeln!(
            out,
            "{:<32} {:>10} {:>14} {:>10} {:>9} {:>6} {:>7} {:>6}",
            repaired.family,
            changes.lacking,
            changes.communications,
            changes.sightings,
            changes.counters,
            changes.times,
            changes.nodes,
            repaired.statistics.places,
        )?;
    }
    let nothing = results
        .iter()
        .all(|of| of.changes.is_none() && of.statistics.is_none());
    writeln!(
        out,
        "\n{}",
        match (nothing, executed) {
            (true, _) => "nothing to mend",
            (false, true) => "mended",
            (false, false) => "nothing was changed: --execute does it",
        }
    )?;
    Ok(())
}
