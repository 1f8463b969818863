//! Runs the scenarios outside of the tests; `cargo xtask e2e` calls it.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use netmon_e2e::{botnets, chaos};

/// Break a whole netmon at random moments and balance the books afterwards
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Subcommand)]
enum Scenario {
    /// Kill, cut, fill and delay at random; afterwards every packet is accounted for
    Chaos(chaos::Options),
    /// Kill server and PostgreSQL at random while logs of botnets come in; afterwards exactly what was
    /// sent is stored
    Botnets(botnets::Options),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().scenario {
        Scenario::Chaos(options) => chaos::run(&options),
        Scenario::Botnets(options) => botnets::run(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
