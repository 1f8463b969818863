//! `netmon-server botnet reprocess`: stored lines read once more.

use std::io::{IsTerminal as _, Write};

use anyhow::bail;
use clap::Args;
use netmon_feeds::{Format, parse_zone};
use time::{
    Date, OffsetDateTime, UtcOffset,
    macros::{date, format_description},
};

use crate::{
    commands::refusals,
    feeds::reprocess::{Reprocessed, Wish, reprocess},
    geo::Geo,
    store::botnets::Botnets,
};

/// No log came earlier.
const FIRST: Date = date!(2000 - 01 - 01);

/// Which lines, and how.
#[derive(Debug, Args)]
pub struct Reprocess {
    /// The family: its name or an alias
    #[arg(long, value_name = "FAMILY")]
    family: String,
    /// The first day (UTC) on which logs came, such as 2026-11-20; the oldest by default
    #[arg(long, value_name = "DAY", value_parser = day)]
    from: Option<Date>,
    /// The last one; today by default
    #[arg(long, value_name = "DAY", value_parser = day)]
    to: Option<Date>,
    /// Read them as another format than was stated when they came
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    /// Another zone than was stated, for times that do not say theirs
    #[arg(long, value_name = "ZONE", value_parser = parse_zone, allow_hyphen_values = true)]
    zone: Option<UtcOffset>,
    /// Say what would be added, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// How to print the result
    #[arg(long, value_enum, default_value_t = refusals::Format::Table)]
    output: refusals::Format,
}

fn day(text: &str) -> Result<Date, String> {
    let format = format_description!("[year]-[month]-[day]");
    Date::parse(text, format).map_err(|_| "it must be a day such as 2026-11-20".to_owned())
}

/// Reads the lines and prints what was added.
///
/// # Errors
/// When the family is not known, or the database does not answer.
pub async fn run(
    botnets: &Botnets,
    geo: &Geo,
    arguments: Reprocess,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let family = super::family(botnets, &arguments.family).await?;
    let today = OffsetDateTime::now_utc().date();
    let to = arguments.to.unwrap_or(today);
    let from = arguments.from.unwrap_or(FIRST);
    if from > to {
        bail!("--from lies after --to");
    }
    let wish = Wish {
        days: from..=to,
        format: arguments.format,
        zone: arguments.zone,
        dry_run: arguments.dry_run,
    };
    let shows_progress = std::io::stderr().is_terminal();
    let done = reprocess(botnets, geo, &family, &wish, |done| {
        if shows_progress {
            eprint!("\r{} lines, {} accepted now", done.lines, done.accepted);
        }
    })
    .await;
    if shows_progress {
        eprintln!();
    }
    let done = done?;
    if !wish.dry_run {
        botnets.fold_once().await?;
    }
    match arguments.output {
        refusals::Format::Json => {
            serde_json::to_writer_pretty(&mut *out, &done)?;
            writeln!(out)?;
        }
        refusals::Format::Table => print(&done, wish.dry_run, out)?,
    }
    Ok(())
}

fn print(done: &Reprocessed, dry_run: bool, out: &mut impl Write) -> std::io::Result<()> {
    writeln!(
        out,
        "{} lines in {} chunks, of which {} had been rejected",
        done.lines, done.chunks, done.rejected_before
    )?;
    let would = if dry_run { "would be " } else { "" };
    for (lines, what) in [
        (done.accepted, "accepted now"),
        (done.duplicate, "duplicates now"),
        (done.skipped, "comments now"),
        (done.rejected, "rejected still"),
    ] {
        writeln!(out, "  {lines:>12} {would}{what}")?;
    }
    if done.undecided > 0 {
        writeln!(
            out,
            "  {} chunks are left alone: of more than a thousand lines each it is not known which \
             had been rejected",
            done.undecided
        )?;
    }
    if done.failed > 0 {
        writeln!(
            out,
            "  {} chunks could not be read or changed meanwhile",
            done.failed
        )?;
    }
    if dry_run {
        writeln!(out, "dry run: nothing was changed")?;
    }
    Ok(())
}
