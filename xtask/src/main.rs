//! Everything one does with a checkout of netmon: `cargo xtask COMMAND`. One file per command.

mod bench;
mod build;
mod build_ebpf;
mod demo_net;
mod down;
mod e2e;
mod geo;
mod lint;
mod run_directory;
mod setup;
mod signals;
mod test;
mod toolchain;
mod up;
mod vm;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Set up, run, test and measure netmon")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check what netmon needs on this machine and install what is missing
    Setup(setup::Options),
    /// Compile the kernel programs
    BuildEbpf,
    /// Run server and agent on this host and show its traffic live
    Up(up::Options),
    /// Stop what `up` started and remove what it kept
    Down,
    /// Run a small network with NTP traffic until Ctrl-C
    DemoNet,
    /// Run every test
    Test(test::Options),
    /// Break a whole netmon on purpose and balance the books afterwards
    E2e(e2e::Options),
    /// Measure, with figures beside their limits
    Bench(bench::Options),
    /// Make the embedded files of places from the packages that have the data
    Geo(geo::Options),
    /// Check formatting, clippy, licences and sources of dependencies
    Lint,
    /// Clean up after a command that was killed
    #[command(hide = true)]
    Guard(run_directory::guard::Options),
}

fn main() -> ExitCode {
    let outcome = run(Arguments::parse().command);
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Setup(options) => setup::run(&options),
        Command::BuildEbpf => build_ebpf::run(),
        Command::Up(options) => up::run(&options),
        Command::Down => down::run(),
        Command::DemoNet => demo_net::run(),
        Command::Test(options) => test::run(&options),
        Command::E2e(options) => e2e::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Geo(options) => geo::run(&options),
        Command::Lint => lint::run(),
        Command::Guard(options) => run_directory::guard::run(&options),
    }
}
