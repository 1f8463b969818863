//! `netmon-server refusals`: the batches that were set aside because they can never be stored.

use std::{io::Write, str::FromStr};

use anyhow::{Context, bail};
use clap::{Args, Subcommand, ValueEnum};
use netmon_common::wire::{Kind, Uplink, uplink};
use prost::Message;
use serde::Serialize;
use sqlx::{FromRow, PgPool};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::agent_id::AgentId;

/// Look at the batches that were set aside because they can never be stored
#[derive(Debug, Subcommand)]
pub enum Refusals {
    /// List them, the newest first; exit status 0, also if there are none
    List(List),
    /// Show one of them with what can be read of its message
    Show(Show),
    /// Write the message of one of them, as it came, to standard output
    Export(Which),
}

/// What to list.
#[derive(Debug, Args)]
pub struct List {
    /// Only of this agent: its id or its alias
    #[arg(long, value_name = "AGENT")]
    agent: Option<String>,
    /// Most rows
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    /// How to print them
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// What to show.
#[derive(Debug, Args)]
pub struct Show {
    #[command(flatten)]
    which: Which,
    /// How to print it
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// Names one batch, as `list` prints it.
#[derive(Debug, Args)]
pub struct Which {
    /// The agent's id
    agent: AgentId,
    /// The run of the agent
    epoch: i64,
    /// bandwidth, system, exchanges, flows, sightings or unspecified
    kind: KindName,
    /// The number of the batch
    sequence: i64,
}

/// How rows are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Columns for people
    Table,
    /// JSON: an array for a list, an object for one
    Json,
}

/// A kind by its name in lower case.
#[derive(Clone, Copy, Debug)]
struct KindName(Kind);

impl FromStr for KindName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        kinds()
            .find(|kind| kind.name() == text)
            .map(Self)
            .ok_or_else(|| {
                let names: Vec<_> = kinds().map(Kind::name).collect();
                format!("not one of {}", names.join(", "))
            })
    }
}

fn kinds() -> impl Iterator<Item = Kind> {
    (0..).map_while(|number| Kind::try_from(number).ok())
}

#[derive(Debug, FromRow)]
struct Row {
    agent_id: i64,
    epoch: i64,
    kind: i16,
    sequence: i64,
    cause: String,
    reason: String,
    bytes: i32,
    received_at: OffsetDateTime,
}

/// One refusal as JSON has it.
#[derive(Debug, Serialize)]
struct Refusal {
    agent: String,
    epoch: i64,
    kind: &'static str,
    sequence: i64,
    cause: String,
    reason: String,
    /// Octets kept of the message; 0: only the reason is.
    message_bytes: i32,
    received_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<Content>,
}

/// What can be read of a message.
#[derive(Debug, Serialize)]
struct Content {
    interfaces: usize,
    bandwidth_frames: usize,
    exchanges: usize,
    ntp_folds: usize,
    system_samples: usize,
    omissions: usize,
    gaps: usize,
}

const COLUMNS: &str = "agent_id, epoch, kind, sequence, cause, reason, length(message) AS bytes, \
                       received_at";

/// Does what was asked for; prints to `out`.
///
/// # Errors
/// When the database does not answer, or has no such batch.
pub async fn run(pool: &PgPool, refusals: Refusals, out: &mut impl Write) -> anyhow::Result<()> {
    match refusals {
        Refusals::List(arguments) => list(pool, arguments, out).await,
        Refusals::Show(arguments) => show(pool, arguments, out).await,
        Refusals::Export(which) => {
            let message = message(pool, &which).await?;
            if message.is_empty() {
                bail!("only the reason of this refusal was kept: see `refusals show`");
            }
            Ok(out.write_all(&message)?)
        }
    }
}

async fn list(pool: &PgPool, arguments: List, out: &mut impl Write) -> anyhow::Result<()> {
    let agent = match &arguments.agent {
        Some(name) => Some(agent(pool, name).await?),
        None => None,
    };
    let rows: Vec<Row> = sqlx::query_as(&format!(
        "SELECT {COLUMNS} FROM ingest_refusals WHERE $1::int8 IS NULL OR agent_id = $1
         ORDER BY received_at DESC, agent_id, epoch, kind, sequence LIMIT $2"
    ))
    .bind(agent)
    .bind(i64::from(arguments.limit))
    .fetch_all(pool)
    .await?;
    let refusals: Vec<_> = rows.into_iter().map(Refusal::from).collect();
    if arguments.format == Format::Json {
        serde_json::to_writer_pretty(&mut *out, &refusals)?;
        return Ok(writeln!(out)?);
    }
    if refusals.is_empty() {
        return Ok(writeln!(out, "no batch was refused")?);
    }
    writeln!(
        out,
        "{:<20} {:<16} {:<17} {:<11} {:>8} {:<11} {:>8} REASON",
        "RECEIVED", "AGENT", "EPOCH", "KIND", "SEQUENCE", "CAUSE", "BYTES"
    )?;
    for refusal in &refusals {
        writeln!(
            out,
            "{:<20} {:<16} {:<17} {:<11} {:>8} {:<11} {:>8} {}",
            refusal.received_at,
            refusal.agent,
            refusal.epoch,
            refusal.kind,
            refusal.sequence,
            refusal.cause,
            refusal.message_bytes,
            refusal.reason
        )?;
    }
    Ok(())
}

async fn show(pool: &PgPool, arguments: Show, out: &mut impl Write) -> anyhow::Result<()> {
    let which = &arguments.which;
    let row: Option<Row> = sqlx::query_as(&format!(
        "SELECT {COLUMNS} FROM ingest_refusals
         WHERE agent_id = $1 AND epoch = $2 AND kind = $3 AND sequence = $4"
    ))
    .bind(which.agent.to_bigint())
    .bind(which.epoch)
    .bind(which.kind.0 as i16)
    .bind(which.sequence)
    .fetch_optional(pool)
    .await?;
    let mut refusal = Refusal::from(row.with_context(|| unknown(which))?);
    refusal.content = content(&message(pool, which).await?);
    if arguments.format == Format::Json {
        serde_json::to_writer_pretty(&mut *out, &refusal)?;
        return Ok(writeln!(out)?);
    }
    for (name, value) in [
        ("agent", refusal.agent),
        ("epoch", refusal.epoch.to_string()),
        ("kind", refusal.kind.to_owned()),
        ("sequence", refusal.sequence.to_string()),
        ("received", refusal.received_at),
        ("cause", refusal.cause),
        ("reason", refusal.reason),
        ("kept", format!("{} bytes", refusal.message_bytes)),
    ] {
        writeln!(out, "{name:<9} {value}")?;
    }
    match refusal.content {
        Some(content) => writeln!(
            out,
            "{:<9} {} interfaces, {} bandwidth frames, {} exchanges, {} folds of such, {} system \
             samples, {} omissions, {} gaps",
            "content",
            content.interfaces,
            content.bandwidth_frames,
            content.exchanges,
            content.ntp_folds,
            content.system_samples,
            content.omissions,
            content.gaps
        )?,
        None => writeln!(out, "{:<9} cannot be decoded", "content")?,
    }
    Ok(())
}

/// The number of an agent by its id or its alias.
pub(super) async fn agent(pool: &PgPool, name: &str) -> anyhow::Result<i64> {
    if let Ok(id) = name.parse::<AgentId>() {
        return Ok(id.to_bigint());
    }
    let ids: Vec<i64> = sqlx::query_scalar("SELECT agent_id FROM agents WHERE alias = $1")
        .bind(name)
        .fetch_all(pool)
        .await?;
    match ids[..] {
        [id] => Ok(id),
        [] => bail!("no agent has the id or alias {name:?}"),
        _ => bail!("{} agents have the alias {name:?}: use the id", ids.len()),
    }
}

async fn message(pool: &PgPool, which: &Which) -> anyhow::Result<Vec<u8>> {
    let message = sqlx::query_scalar(
        "SELECT message FROM ingest_refusals
         WHERE agent_id = $1 AND epoch = $2 AND kind = $3 AND sequence = $4",
    )
    .bind(which.agent.to_bigint())
    .bind(which.epoch)
    .bind(which.kind.0 as i16)
    .bind(which.sequence)
    .fetch_optional(pool)
    .await?;
    message.with_context(|| unknown(which))
}

fn unknown(which: &Which) -> String {
    format!(
        "no batch {} {} {} {} was refused: `refusals list` shows those that were",
        which.agent,
        which.epoch,
        which.kind.0.name(),
        which.sequence
    )
}

fn content(message: &[u8]) -> Option<Content> {
    match Uplink::decode(message).ok()?.message? {
        uplink::Message::Batch(batch) => Some(Content {
            interfaces: batch.interfaces.len(),
            bandwidth_frames: batch.bandwidth.len(),
            exchanges: batch.exchanges.len(),
            ntp_folds: batch.ntp_folds.len(),
            system_samples: batch.system.len(),
            omissions: batch.omissions.len(),
            gaps: batch.gaps.len(),
        }),
        uplink::Message::Live(_) => None,
    }
}

impl From<Row> for Refusal {
    fn from(row: Row) -> Self {
        let kind = Kind::try_from(i32::from(row.kind)).unwrap_or_default();
        let second = row.received_at.replace_nanosecond(0);
        Self {
            agent: AgentId::from_bigint(row.agent_id).to_string(),
            epoch: row.epoch,
            kind: kind.name(),
            sequence: row.sequence,
            cause: row.cause,
            reason: row.reason,
            message_bytes: row.bytes,
            received_at: second
                .unwrap_or(row.received_at)
                .format(&Rfc3339)
                .unwrap_or_default(),
            content: None,
        }
    }
}
