//! `netmon-server botnet import`: logs from files, stored as uploads are.

use std::{
    fs::File,
    io::{self, IsTerminal as _, Read, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use netmon_feeds::{Format, Special, parse_zone};
use ring::digest;
use time::UtcOffset;

use crate::{
    commands::refusals,
    feeds::{Encoding, LogOptions, Report, receive, watch},
    geo::Geo,
    metrics,
    store::botnets::{Botnets, Family},
};

/// How long a chunk waits for a database that is away.
pub(super) const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// Smaller files are stored before a bar could be looked at.
const LEAST_FOR_A_BAR: u64 = 4 << 20;

/// Where nobody looks, a line tells so often how far it is.
const LINES_PER_MESSAGE: u64 = 1_000_000;

/// Who sent it, if nobody says.
const SOURCE: &str = "import";

/// Which files, and how they are read.
#[derive(Debug, Args)]
pub struct Import {
    /// The family that the lines are of: its name or an alias
    #[arg(long, value_name = "FAMILY")]
    family: String,
    /// Logs, also compressed with gzip or zstd; - is standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// auto, ip, ip_port, time_ip, csv, ndjson, shadowserver, abuse_ch, dataplane, maltrail or cef
    #[arg(long, value_name = "FORMAT", default_value_t = Format::Auto)]
    format: Format,
    /// The zone of times that do not say theirs: Z, or an offset such as +08:00
    #[arg(long, value_name = "ZONE", value_parser = parse_zone, default_value = "Z", allow_hyphen_values = true)]
    zone: UtcOffset,
    /// Who saw what the logs say, up to 64 octets
    #[arg(long, value_name = "NAME", default_value = SOURCE)]
    source: String,
    /// Take private, multicast and other addresses that no node on the Internet can have
    #[arg(long)]
    accept_special: bool,
    /// Store a file also if it was stored before: its lines are counted twice then
    #[arg(long)]
    again: bool,
    /// Name every rejected line, up to a thousand of a file
    #[arg(long, short)]
    verbose: bool,
    /// How to print the result
    #[arg(long, value_enum, default_value_t = refusals::Format::Table)]
    output: refusals::Format,
}

/// Stores the files one after the other; gives whether all were read to their end.
///
/// # Errors
/// When the family is not known, or the result cannot be printed.
pub async fn run(
    botnets: &Arc<Botnets>,
    geo: &Geo,
    arguments: Import,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    let family = super::family(botnets, &arguments.family).await?;
    let (mut complete, mut reports) = (true, Vec::new());
    for path in &arguments.files {
        match import(botnets, geo, &family, path, &arguments).await {
            Ok(report) => {
                if arguments.output == refusals::Format::Table {
                    print(path, &report, arguments.verbose, out)?;
                }
                reports.push(report);
            }
            Err(error) => {
                complete = false;
                eprintln!("netmon-server: {}: {error:#}", path.display());
            }
        }
    }
    if arguments.output == refusals::Format::Json {
        serde_json::to_writer_pretty(&mut *out, &reports)?;
        writeln!(out)?;
    }
    // A server that runs does it every second; without one nobody would.
    botnets.fold_once().await?;
    Ok(complete)
}

async fn import(
    botnets: &Botnets,
    geo: &Geo,
    family: &Family,
    path: &Path,
    arguments: &Import,
) -> anyhow::Result<Report> {
    let options = LogOptions {
        format: arguments.format,
        zone: arguments.zone,
        special: match arguments.accept_special {
            true => Special::Accept,
            false => Special::Refuse,
        },
    };
    let is_stdin = path.as_os_str() == "-";
    let key = match arguments.again || is_stdin {
        true => None,
        false => Some(key(path)?),
    };
    let begun = botnets
        .begin_upload(
            family,
            key.as_deref(),
            &arguments.source,
            &options.to_text(),
        )
        .await;
    let upload = begun?;
    let (source, progress) = open(path, is_stdin)?;
    let mut report = Report::new(&upload.key, &family.name);
    let received = receive(
        botnets,
        geo.current(),
        family,
        &upload,
        options,
        (source, Encoding::AsItBegins),
        |chunk| {
            report.add(chunk);
            progress.show(&report);
        },
    )
    .await;
    drop(progress);
    received.with_context(|| match key {
        Some(_) => format!(
            "{} lines are stored; the same command goes on behind them",
            report.lines
        ),
        None => format!("{} lines are stored", report.lines),
    })?;
    if !upload.finished {
        let metrics = metrics::Feeds::default();
        watch::finished(botnets.pool(), &metrics, &upload, report.accepted).await?;
    }
    Ok(report)
}

/// A file's key is its content: stored again, nothing is.
fn key(path: &Path) -> anyhow::Result<String> {
    let mut file = File::open(path).context("cannot open it")?;
    let mut context = digest::Context::new(&digest::SHA256);
    let mut buffer = vec![0; 256 << 10];
    loop {
        match file.read(&mut buffer).context("cannot read it")? {
            0 => break,
            read => context.update(&buffer[..read]),
        }
    }
    let digest = context.finish();
    let hex: String = digest
        .as_ref()
        .iter()
        .map(|octet| format!("{octet:02x}"))
        .collect();
    Ok(format!("import-{hex}"))
}

fn open(path: &Path, is_stdin: bool) -> anyhow::Result<(Counted, Progress)> {
    let read = Arc::new(AtomicU64::new(0));
    let (inner, bar): (Box<dyn Read + Send>, _) = match is_stdin {
        true => (Box::new(io::stdin()), None),
        false => {
            let file = File::open(path).context("cannot open it")?;
            let bar = bar(path, file.metadata()?.len());
            (Box::new(file), bar)
        }
    };
    let counted = Counted {
        inner,
        read: Arc::clone(&read),
    };
    Ok((counted, Progress { read, bar }))
}

/// How far the reading of a file is.
struct Progress {
    read: Arc<AtomicU64>,
    bar: Option<ProgressBar>,
}

impl Progress {
    fn show(&self, report: &Report) {
        let lines = report.lines;
        match &self.bar {
            Some(bar) => {
                bar.set_position(self.read.load(Ordering::Relaxed));
                bar.set_message(format!("{lines} lines"));
            }
            // Chunks have no more lines than that.
            None if lines % LINES_PER_MESSAGE < crate::store::botnets::CHUNK_LINES as u64
                && lines > LINES_PER_MESSAGE =>
            {
                eprintln!("{lines} lines, {} accepted", report.accepted);
            }
            None => {}
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// For large files, and only where somebody looks.
fn bar(path: &Path, bytes: u64) -> Option<ProgressBar> {
    if bytes < LEAST_FOR_A_BAR || !io::stderr().is_terminal() {
        return None;
    }
    let bar = ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::stderr());
    let template = "{prefix} {wide_bar} {bytes}/{total_bytes} {eta} {msg}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_prefix(path.display().to_string());
    Some(bar)
}

/// Counts the octets of the file, before decompression.
struct Counted {
    inner: Box<dyn Read + Send>,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let octets = self.inner.read(to)?;
        self.read.fetch_add(octets as u64, Ordering::Relaxed);
        Ok(octets)
    }
}

fn print(path: &Path, report: &Report, verbose: bool, out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "{}: {} lines: {} accepted, {} duplicate, {} rejected, {} skipped",
        path.display(),
        report.lines,
        report.accepted,
        report.duplicate,
        report.rejected,
        report.skipped
    )?;
    if report.already_stored > 0 {
        writeln!(
            out,
            "  {} of them were stored before",
            report.already_stored
        )?;
    }
    for (code, lines) in &report.reasons {
        writeln!(out, "  {lines:>12} {code}")?;
    }
    if !verbose {
        return Ok(());
    }
    for rejection in &report.rejections {
        writeln!(out, "  line {}: {}", rejection.line, rejection.reason)?;
    }
    if report.rejections_omitted > 0 {
        writeln!(out, "  and {} more", report.rejections_omitted)?;
    }
    Ok(())
}
