//! `netmon-server aggregate`: statistics of botnets counted afresh, once or again and again.

use std::{io::Write, time::Duration};

use clap::{Args, Subcommand};
use sqlx::PgPool;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use super::refusals::Format;
use crate::{
    botnets::{
        Subject,
        aggregate::{self, Outcome, Round, Trigger},
    },
    config,
};

const FIVE_MINUTES: Duration = Duration::from_secs(5 * 60);
const HALF_AN_HOUR: Duration = Duration::from_secs(30 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Count the statistics of botnets afresh, compare and replace them
#[derive(Debug, Subcommand)]
pub enum Aggregate {
    /// Once; exit status 0 if every family succeeded, 1 if one did not, 2 if nothing could be done
    Once(Once),
    /// Again and again until SIGTERM or SIGINT; what happens goes to the log
    Daemon(Daemon),
}

/// One run.
#[derive(Debug, Args)]
pub struct Once {
    /// Only this family, by name or alias; may be given several times
    #[arg(long = "family", value_name = "FAMILY")]
    families: Vec<String>,
    /// How to print the result
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// Runs without end.
#[derive(Debug, Args)]
pub struct Daemon {
    /// Time from the beginning of a run to that of the next, 5m to 1d; else botnets.aggregate, or
    /// 30m where that is 0
    #[arg(long, value_name = "DURATION", value_parser = every)]
    every: Option<Duration>,
    /// Only this family, by name or alias; may be given several times
    #[arg(long = "family", value_name = "FAMILY")]
    families: Vec<String>,
}

fn every(text: &str) -> Result<Duration, String> {
    let every = humantime_serde::re::humantime::parse_duration(text);
    let every = every.map_err(|error| error.to_string())?;
    match (FIVE_MINUTES..=DAY).contains(&every) {
        true => Ok(every),
        false => Err("must lie between 5m and 1d".to_owned()),
    }
}

/// One run; gives whether every family succeeded.
///
/// # Errors
/// When the database does not answer, or a family is not known.
pub async fn once(pool: &PgPool, arguments: Once, out: &mut impl Write) -> anyhow::Result<bool> {
    let families = Subject::named(pool, &arguments.families).await?;
    let round = aggregate::run(pool, &families, Trigger::Command).await;
    match arguments.format {
        Format::Json => {
            serde_json::to_writer_pretty(&mut *out, &round)?;
            writeln!(out)?;
        }
        Format::Table => print(&round, out)?,
    }
    Ok(round.is_complete())
}

/// Runs until `stop`; a run that is under way then is given up, and leaves everything as it was.
///
/// # Errors
/// When the database does not answer at first, or a family is not known. Later it is waited for.
pub async fn daemon(
    pool: &PgPool,
    arguments: Daemon,
    settings: &config::Botnets,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let set = Some(settings.aggregate).filter(|every| !every.is_zero());
    let every = arguments.every.or(set).unwrap_or(HALF_AN_HOUR);
    Subject::named(pool, &arguments.families).await?;
    let families = match arguments.families.as_slice() {
        [] => "all".to_owned(),
        named => named.join(", "),
    };
    tracing::info!(?every, families, "aggregation runs");
    loop {
        let began = tokio::time::Instant::now();
        tokio::select! {
            () = stop.cancelled() => break,
            () = round(pool, &arguments.families, every) => {}
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep_until(began + every) => {}
        }
    }
    tracing::info!("stopped");
    Ok(())
}

async fn round(pool: &PgPool, names: &[String], every: Duration) {
    let next_run_at = OffsetDateTime::now_utc() + every;
    match Subject::named(pool, names).await {
        Ok(families) => {
            let mut round = aggregate::run(pool, &families, Trigger::Daemon).await;
            // A run that takes longer than the time between two is followed by the next at once.
            round.next_run_at = Some(next_run_at.max(OffsetDateTime::now_utc()));
            round.tell();
        }
        Err(error) => tracing::error!(%error, "no run; trying again in {every:?}"),
    }
}

fn print(round: &Round, out: &mut impl Write) -> anyhow::Result<()> {
    writeln!(
        out,
        "{:<32} {:<8} {:>12} {:>14} {:>8} {:>8} {:>8}",
        "FAMILY", "OUTCOME", "NODES", "COMMUNICATIONS", "ROWS", "DRIFT", "SECONDS"
    )?;
    for run in &round.families {
        writeln!(
            out,
            "{:<32} {:<8} {:>12} {:>14} {:>8} {:>8} {:>8.2}",
            run.family,
            match run.outcome {
                Outcome::Rebuilt => "rebuilt",
                Outcome::Empty => "empty",
                Outcome::Failed => "FAILED",
            },
            run.nodes,
            run.communications,
            run.places,
            run.drift.places,
            run.duration_seconds,
        )?;
    }
    for run in &round.families {
        if let Some(error) = &run.error {
            writeln!(out, "{}: {error}", run.family)?;
        }
        if !run.drift.is_none() {
            writeln!(
                out,
                "{}: {} rows were not as counted, by {} nodes and {} communications: a fault, mended",
                run.family, run.drift.places, run.drift.nodes, run.drift.communications
            )?;
        }
    }
    writeln!(
        out,
        "\n{} rebuilt, {} without nodes, {} failed in {:.2} s",
        round.count(Outcome::Rebuilt),
        round.count(Outcome::Empty),
        round.count(Outcome::Failed),
        round.duration_seconds
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_runs_between_every_five_minutes_and_every_day() {
        assert_eq!(every("30m"), Ok(HALF_AN_HOUR));
        assert_eq!(every("5min"), Ok(FIVE_MINUTES));
        assert_eq!(every("1d"), Ok(DAY));
        for text in ["4m 59s", "25h", "0s", "often"] {
            assert!(every(text).is_err(), "{text}");
        }
    }
}
