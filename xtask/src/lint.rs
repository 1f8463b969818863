//! `lint`: everything about the source that a machine can judge without running it.

use std::{process::ExitCode, time::Instant};

use anyhow::{Result, bail};

use crate::{
    setup::{self, needs},
    workspace::{cargo, succeed},
};

const CHECKS: [(&str, &[&str]); 3] = [
    ("formatting", &["fmt", "--all", "--check"]),
    (
        "clippy",
        &[
            "clippy",
            "--workspace",
            "--exclude",
            "netmon-ebpf",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ],
    ),
    // Advisories are left out: their database cannot be reached from everywhere.
    (
        "dependencies",
        &[
            "deny",
            "--workspace",
            "check",
            "bans",
            "licenses",
            "sources",
        ],
    ),
];

/// Runs the command: every check, also after one has failed.
///
/// # Errors
/// When a check does not pass.
pub fn run() -> Result<ExitCode> {
    setup::ensure(&[needs::BUILD, needs::LINT])?;
    let mut failed = Vec::new();
    for (name, words) in CHECKS {
        println!("checking {name}: cargo {}", words.join(" "));
        let started = Instant::now();
        match succeed(cargo().args(words)) {
            Ok(()) => println!("{name}: good ({:.0?})", started.elapsed()),
            Err(error) => {
                eprintln!("{name}: {error:#}");
                failed.push(name);
            }
        }
    }
    if !failed.is_empty() {
        bail!("not clean: {}", failed.join(", "));
    }
    Ok(ExitCode::SUCCESS)
}
