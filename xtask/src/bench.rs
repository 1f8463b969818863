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
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Subject {
    /// The kernel programs: ns per packet, and NTP events per second through the ring
    Sensor,
}

/// Runs the command: builds with optimisation, then measures.
///
/// # Errors
/// When something cannot be built, or the books of a measurement do not balance.
pub fn run(options: &Options) -> Result<ExitCode> {
    require_root("bench", "the programs run in the kernel")?;
    setup::ensure(&[needs::BUILD])?;
    let (package, bench) = match options.subject {
        Subject::Sensor => ("netmon-agent", "sensor"),
    };
    println!("building {package} with optimisation (minutes the first time)");
    succeed(cargo().args(["bench", "--quiet", "-p", package, "--bench", bench]))?;
    Ok(ExitCode::SUCCESS)
}
