//! Runs the scenarios outside of the tests; `cargo xtask e2e` calls it.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use netmon_e2e::chaos;

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
}

fn main() -> ExitCode {
    let Scenario::Chaos(options) = Arguments::parse().scenario;
    match chaos::run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
