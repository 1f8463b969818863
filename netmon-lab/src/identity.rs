//! The identity of an agent, made by the server that will know it by that.

use std::{path::Path, process::Command};

use anyhow::Result;

use crate::{privileges, run, workspace_binary};

/// Makes an agent's certificate in `folder`, for one that runs as [`privileges::UNPRIVILEGED`], by
/// the authority of the server whose data is in `data_dir`; returns the agent's id.
///
/// # Errors
/// When the server is not built or refuses, for instance because there is an identity already.
pub fn issue(data_dir: &Path, alias: &str, folder: &Path) -> Result<String> {
    let mut command = Command::new(workspace_binary("netmon-server")?);
    command.args(["issue-agent", alias, "--out"]).arg(folder);
    let id = run(command.arg("--data-dir").arg(data_dir))?;
    privileges::give_all_in(folder)?;
    privileges::let_in(folder)?;
    Ok(id.trim().to_owned())
}
