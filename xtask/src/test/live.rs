//! The live suite of netmon-agent with its agents at a hook of one's choice.

use std::{path::Path, process::ExitCode, time::Instant};

use anyhow::Result;

use super::{PACKAGES, build, directory, run_tests};
use crate::{
    setup::{self, needs},
    workspace::cargo,
};

/// Read by the tests' sites: agents get it as `sensor.hook`, unless a test is about another one.
pub const HOOK: &str = "NETMON_TEST_HOOK";
/// Read by the tests: the file in which one that has nothing to test on this kernel says so.
pub const SKIPPED: &str = "NETMON_TEST_SKIPPED";
/// Read by the tests' sites: the database of a server that has run before, to begin with.
pub const DATABASE: &str = "NETMON_TEST_DATABASE";
/// The suite, as nextest knows it.
pub const SUITE: &str = "netmon-agent::live";

/// Values of `sensor.hook`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Hook {
    /// TCX where the kernel has it
    Auto,
    /// TCX only
    Tcx,
    /// Classic filters
    Clsact,
}

impl Hook {
    /// As the configuration spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Tcx => "tcx",
            Self::Clsact => "clsact",
        }
    }
}

/// Runs the suite on this host.
pub(super) fn run(hook: Hook, filter: &[String]) -> Result<ExitCode> {
    let started = Instant::now();
    println!("[1/3] checking what the tests need");
    setup::ensure(&[needs::BUILD, needs::RUN, needs::DEMO, needs::TEST])?;
    println!("[2/3] building programs and tests (minutes the first time)");
    build()?;
    println!(
        "[3/3] running the live suite, sensor.hook = \"{}\"",
        hook.name()
    );
    let directory = directory()?;
    let skipped = directory.path().join("skipped");
    let mut nextest = cargo();
    nextest
        .args(["nextest", "run", "--no-fail-fast"])
        .args(PACKAGES)
        .args(["-E", &format!("binary_id({SUITE})")])
        .args(filter)
        .env(HOOK, hook.name())
        .env(SKIPPED, &skipped);
    let outcome = run_tests(&directory, nextest);
    tell_skipped(&skipped);
    directory.close()?;
    let (passed, closing) = outcome?;
    println!("total time: {:.0?}", started.elapsed());
    eprint!("{closing}");
    Ok(if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Names the tests that had nothing to test, of which the runner only knows that they passed.
pub fn tell_skipped(file: &Path) {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines.dedup();
    for line in lines {
        println!("nothing to test: {line}");
    }
}
