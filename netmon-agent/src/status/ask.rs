//! `netmon-agent status`: asks the running agent and shows the answer.

use std::{
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use serde::Serialize;
use tokio::{net::UnixStream, time::timeout};

use super::{
    Report, VERSION,
    program_time::{Spent, spent},
    table,
};
use crate::{
    config::Config,
    sensor::{measure_programs, statistics_are_on},
};

/// An agent that lives answers sooner.
const PATIENCE: Duration = Duration::from_secs(5);

/// More than any document.
const MAX_BYTES: usize = 4 << 20;

/// Running, with problems.
const PROBLEMS: u8 = 1;
/// No agent answers.
const NO_ANSWER: u8 = 2;

/// How the answer is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// One object.
    Json,
}

/// No document.
#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error("status.socket is off, or there is no spool.directory for it: name a path in it")]
    NoSocket,
    #[error(
        "no agent answers on {path}: {source}; start `netmon-agent run`, or give the same --config \
         as to the one that runs"
    )]
    NotThere { path: PathBuf, source: io::Error },
    #[error("{path} may not be opened: run this as root or as the agent's user")]
    Forbidden { path: PathBuf },
    #[error("no agent answers on {path}: it ends just now, or hangs; its log says more")]
    Silent { path: PathBuf },
    #[error(
        "the agent on {path} is of another release than this program: use the program it was \
         started from"
    )]
    OtherRelease { path: PathBuf },
    #[error("cannot start the runtime: {0}")]
    Runtime(io::Error),
}

/// Programs cannot be measured.
#[derive(Debug, thiserror::Error)]
#[error(
    "the kernel does not switch its BPF statistics on: {0}; run this as root (CAP_SYS_ADMIN), or set \
     sysctl kernel.bpf_stats_enabled=1"
)]
struct NotMeasured(io::Error);

#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    report: &'a Report,
    #[serde(skip_serializing_if = "Option::is_none")]
    program_time: Option<&'a [Spent]>,
}

/// Asks once, or twice with `program_time` in between, and shows the last answer. The exit status is
/// 0 for a healthy agent, 1 for one with problems, 2 without an answer.
pub fn main(config: &Config, format: Format, program_time: Option<Duration>) -> ExitCode {
    let socket = config.status_socket().ok_or(AskError::NoSocket);
    let measured = socket.and_then(|path| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(AskError::Runtime)?;
        runtime.block_on(measure(&path, program_time))
    });
    let (report, spent) = match measured {
        Ok(measured) => measured,
        Err(error) => {
            eprintln!("netmon-agent: {error}");
            return ExitCode::from(NO_ANSWER);
        }
    };
    let (program_time, not_measured) = match spent {
        Some(Ok(spent)) => (Some(spent), None),
        Some(Err(error)) => (None, Some(error)),
        None => (None, None),
    };
    match format {
        Format::Table => print!("{}", table::text(&report, program_time.as_deref())),
        Format::Json => {
            let shown = Shown {
                report: &report,
                program_time: program_time.as_deref(),
            };
            match serde_json::to_string_pretty(&shown) {
                Ok(text) => println!("{text}"),
                Err(error) => eprintln!("netmon-agent: cannot show the answer: {error}"),
            }
        }
    }
    if let Some(error) = &not_measured {
        eprintln!("netmon-agent: {error}");
    }
    if report.problems.is_empty() && not_measured.is_none() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(PROBLEMS)
    }
}

async fn measure(
    path: &Path,
    program_time: Option<Duration>,
) -> Result<(Report, Option<Result<Vec<Spent>, NotMeasured>>), AskError> {
    let first = ask(path).await?;
    let Some(length) = program_time else {
        return Ok((first, None));
    };
    // Whoever has switched them on for good has given everybody the right to look.
    let measuring: Result<Option<OwnedFd>, _> = if statistics_are_on() {
        Ok(None)
    } else {
        measure_programs().map(Some).map_err(NotMeasured)
    };
    let _until_the_end = match measuring {
        Ok(descriptor) => descriptor,
        Err(refused) => return Ok((first, Some(Err(refused)))),
    };
    let before = ask(path).await?;
    tokio::time::sleep(length).await;
    let after = ask(path).await?;
    let spent = spent(&before, &after);
    Ok((after, Some(Ok(spent))))
}

async fn ask(path: &Path) -> Result<Report, AskError> {
    let path = path.to_owned();
    let answer = timeout(PATIENCE, async {
        let socket = UnixStream::connect(&path).await?;
        read_to_end(&socket).await
    });
    let document = match answer.await {
        Ok(Ok(document)) if !document.is_empty() => document,
        Ok(Err(error)) if error.kind() == io::ErrorKind::PermissionDenied => {
            return Err(AskError::Forbidden { path });
        }
        Ok(Err(source)) => return Err(AskError::NotThere { path, source }),
        Ok(Ok(_)) | Err(_) => return Err(AskError::Silent { path }),
    };
    serde_json::from_slice(&document)
        .ok()
        .filter(|report: &Report| report.format == VERSION)
        .ok_or(AskError::OtherRelease { path })
}

async fn read_to_end(socket: &UnixStream) -> io::Result<Vec<u8>> {
    let mut document = Vec::new();
    let mut part = [0; 16 << 10];
    while document.len() < MAX_BYTES {
        socket.readable().await?;
        match socket.try_read(&mut part) {
            Ok(0) => break,
            Ok(length) => document.extend_from_slice(&part[..length]),
            Err(not_yet) if not_yet.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(document)
}
