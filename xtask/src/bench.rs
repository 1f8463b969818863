//! `bench`: figures beside their limits, with machine and method. What is printed is measured in
//! that run.

use std::process::ExitCode;

use anyhow::Result;

use crate::{
    setup::{self, needs},
    workspace::{cargo, require_root, succeed},
};

/// What `bench` can be told.
#[derive(clap::Args)]
pub struct Options {
    /// What to measure
    #[arg(value_enum)]
    subject: Subject,
    /// What the measurement itself is told, such as --quick; --help lists it
    #[arg(last = true)]
    arguments: Vec<String>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Subject {
    /// The kernel programs: ns per packet; the agent beside tcpdump, softflowd and pmacct; its memory
    Sensor,
    /// Of these only the programs with flows and a watch list
    Flows,
    /// 200,000 NTP requests a second and their answers: what the agent keeps up with, its CPU and
    /// memory; tcpdump and tshark on the same traffic
    Ntp,
    /// The API over a day, 30 days and 400 days of made data, on a temporary PostgreSQL
    Queries,
    /// A thousand simulated agents over real QUIC against a real server and its PostgreSQL
    Fleet,
    /// Logs of botnets by one and by four clients, full counts of up to ten million nodes with readers
    /// beside them, statistics and look-ups over HTTP, octets on disk
    Botnet,
    /// Where addresses are: look-ups a second, files and memory
    Geo,
}

/// Runs the command: builds with optimisation, then measures.
///
/// # Errors
/// When something cannot be built, or the books of a measurement do not balance.
pub fn run(options: &Options) -> Result<ExitCode> {
    let (package, bench, needed, arguments): (_, _, _, &[&str]) = match options.subject {
        Subject::Sensor => ("netmon-agent", "sensor", needs::RUN, &[]),
        Subject::Flows => ("netmon-agent", "sensor", &[][..], &["--only", "flows"]),
        Subject::Ntp => ("netmon-agent", "ntp", needs::RUN, &[]),
        Subject::Queries => ("netmon-server", "queries", needs::RUN, &[]),
        Subject::Fleet => ("netmon-server", "fleet", needs::RUN, &[]),
        Subject::Botnet => ("netmon-server", "botnet", needs::RUN, &[]),
        Subject::Geo => ("netmon-geo", "geo", &[][..], &[]),
    };
    if package == "netmon-agent" {
        require_root(
            &format!("bench {bench}"),
            "it loads programs into the kernel",
        )?;
    }
    setup::ensure(&[needs::BUILD, needed])?;
    match options.subject {
        Subject::Sensor => prepare_comparison(needs::SENSORS)?,
        Subject::Ntp => prepare_comparison(needs::DECODERS)?,
        Subject::Flows | Subject::Queries | Subject::Fleet | Subject::Botnet | Subject::Geo => {}
    }
    println!("building {package} with optimisation (minutes the first time)");
    succeed(
        cargo()
            .args(["bench", "--quiet", "-p", package, "--bench", bench, "--"])
            .args(arguments)
            .args(&options.arguments),
    )?;
    Ok(ExitCode::SUCCESS)
}

/// What the agent is compared with, and a server for the agent.
fn prepare_comparison(others: &[needs::Need]) -> Result<()> {
    if let Err(problem) = setup::ensure(&[others]) {
        println!("what is missing is shown as failed: {problem:#}");
    }
    println!("building netmon-server with optimisation (minutes the first time)");
    succeed(cargo().args([
        "build",
        "--quiet",
        "--release",
        "-p",
        "netmon-server",
        "--bin",
        "netmon-server",
    ]))
}
