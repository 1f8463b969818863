//! The processes of the PostgreSQL that a server of this workspace runs.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use nix::unistd::Pid;

/// The first process of the database of the server whose data is in `data_dir`: PostgreSQL itself
/// has written its id down, and it is still PostgreSQL that has it.
///
/// # Errors
/// When none runs.
pub fn postmaster(data_dir: &Path) -> Result<Pid> {
    let file = data_dir.join("postgres/postmaster.pid");
    let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let pid: i32 = text.lines().next().context("an empty pid file")?.parse()?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).context("it has ended")?;
    ensure!(
        name.trim() == "postgres",
        "process {pid} is not of PostgreSQL"
    );
    Ok(Pid::from_raw(pid))
}

/// That process and its children.
///
/// # Errors
/// As [`postmaster`].
pub fn processes(data_dir: &Path) -> Result<Vec<Pid>> {
    let postmaster = postmaster(data_dir)?;
    let children = fs::read_to_string(format!("/proc/{postmaster}/task/{postmaster}/children"))?;
    let children = children
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok());
    Ok([postmaster]
        .into_iter()
        .chain(children.map(Pid::from_raw))
        .collect())
}
