//! `down`: stops what `up` started, wherever it runs, and removes what it left.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context as _, Result};
use netmon_lab::wait_until;

use crate::{
    run_directory::{self, RunDirectory},
    up,
    workspace::{require_root, state_directory},
};

/// How long an ordered stop may take: agent and server have deadlines of their own below it.
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// Runs the command.
///
/// # Errors
/// When something cannot be stopped or removed.
pub fn run() -> Result<ExitCode> {
    let path = state_directory(up::STATE);
    if !path.exists() {
        println!("nothing to stop: `cargo xtask up` does not run for this checkout");
        return Ok(ExitCode::SUCCESS);
    }
    require_root("down", "what `up` started runs as root")?;
    if let Some(owner) = run_directory::owner(&path).filter(run_directory::Owner::is_alive) {
        println!("stopping `cargo xtask up` (process {})", owner.pid);
        owner.terminate();
        if wait_until(STOP_LIMIT, "`up` to stop", || {
            (!owner.is_alive()).then_some(())
        })
        .is_err()
        {
            println!("it did not stop within {STOP_LIMIT:?}: killing it");
            owner.kill();
        } else if path.exists() {
            println!(
                "stopped; {} was kept as asked, `cargo xtask down` once more removes it",
                path.display()
            );
            return Ok(ExitCode::SUCCESS);
        }
    }
    if path.exists() {
        // Claiming ends whatever a killed `up` left running; closing removes the directory.
        let mut directory = RunDirectory::claim(up::STATE, path.clone())?;
        directory.forget();
        directory
            .close()
            .with_context(|| format!("cannot remove {}", path.display()))?;
    }
    println!("stopped, nothing is left");
    Ok(ExitCode::SUCCESS)
}
