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
    /// The kernel programs: ns per packet, and NTP events per second through the ring
    Sensor,
    /// The kernel programs with flows and a watch list: ns per packet, draining, memory
    Flows,
    /// The API over a day, 30 days and 400 days of made data, on a temporary PostgreSQL
    Queries,
    /// A thousand simulated agents over real QUIC against a real server and its PostgreSQL
    Fleet,
}

/// Runs the command: builds with optimisation, then measures.
///
/// # Errors
/// When something cannot be built, or the books of a measurement do not balance.
pub fn run(options: &Options) -> Result<ExitCode> {
    match options.subject {
        Subject::Sensor => require_root("bench sensor", "the programs run in the kernel")?,
        Subject::Flows => require_root("bench flows", "the programs run in the kernel")?,
        Subject::Queries | Subject::Fleet => {}
    }
    let (package, bench, needed) = match options.subject {
        Subject::Sensor => ("netmon-agent", "sensor", needs::BUILD),
        Subject::Flows => ("netmon-agent", "flows", needs::BUILD),
        Subject::Queries => ("netmon-server", "queries", needs::RUN),
        Subject::Fleet => ("netmon-server", "fleet", needs::RUN),
    };
    setup::ensure(&[needed])?;
    println!("building {package} with optimisation (minutes the first time)");
    succeed(
        cargo()
            .args(["bench", "--quiet", "-p", package, "--bench", bench, "--"])
            .args(&options.arguments),
    )?;
    Ok(ExitCode::SUCCESS)
}
