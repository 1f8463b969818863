//! `e2e`: a whole netmon on real traffic, broken on purpose.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result};

use crate::{
    build::{self, Profile},
    run_directory::{self, RunDirectory},
    setup::{self, needs},
    workspace::{cargo, require_root, state_directory, succeed, target_directory},
};

/// What `e2e` can be told.
#[derive(clap::Args)]
pub struct Options {
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(clap::Subcommand)]
enum Scenario {
    /// Kill, cut, fill and delay at random; afterwards every packet is accounted for
    Chaos(Chaos),
    /// Kill server and PostgreSQL while logs of botnets come in; afterwards exactly what was sent is
    /// stored
    Botnets(Botnets),
}

#[derive(clap::Args)]
struct Chaos {
    /// Faults, or pairs of them, to go through
    #[arg(long, default_value_t = 50)]
    rounds: u32,
    /// Decides what happens and when; printed at the start
    #[arg(long, default_value_t = 20_261_121)]
    seed: u64,
    /// Pin the kernel's maps and programs: then not even a killed agent misses a packet
    #[arg(long)]
    pin: bool,
    /// Leave logs and data in this directory instead of removing them
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

#[derive(clap::Args)]
struct Botnets {
    /// Times that something is killed
    #[arg(long, default_value_t = 30)]
    rounds: u32,
    /// Decides what is sent, what is killed and when; printed at the start
    #[arg(long, default_value_t = 20_261_121)]
    seed: u64,
    /// Leave logs and data in this directory instead of removing them
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// When something cannot be set up or built.
pub fn run(options: &Options) -> Result<ExitCode> {
    let (name, rounds, seed, keep, pin) = match &options.scenario {
        Scenario::Chaos(chaos) => {
            require_root(
                "e2e chaos",
                "it makes network namespaces and loads programs into the kernel",
            )?;
            let Chaos {
                rounds,
                seed,
                pin,
                keep,
            } = chaos;
            setup::ensure(&[needs::BUILD, needs::RUN, needs::TEST])?;
            ("chaos", rounds, seed, keep, *pin)
        }
        Scenario::Botnets(Botnets { rounds, seed, keep }) => {
            setup::ensure(&[needs::BUILD, needs::RUN])?;
            ("botnets", rounds, seed, keep, false)
        }
    };
    build::programs(Profile::Debug)?;
    succeed(cargo().args(["build", "--quiet", "-p", "netmon-e2e"]))?;
    // Several may run side by side in one checkout.
    let path = state_directory(&format!("e2e-{}", std::process::id()));
    run_directory::clear_abandoned(&path, "netmon-e2e-")?;
    let directory = RunDirectory::claim("e2e", path)?;
    let mut command = crate::workspace::ending_with_us(target_directory().join("debug/netmon-e2e"));
    command
        .args([name, "--rounds", &rounds.to_string()])
        .args(["--seed", &seed.to_string()])
        .env("TMPDIR", directory.path());
    if pin {
        command.arg("--pin");
    }
    if let Some(keep) = keep {
        command.arg("--keep").arg(keep);
    }
    let status = directory.mark(&mut command).status();
    directory.close()?;
    let status = status.context("cannot run netmon-e2e")?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
