//! A server of this workspace inside a namespace.

use std::{path::Path, process::Command, time::Duration};

use anyhow::{Result, anyhow};

use crate::{Child, Namespace, http, wait_until, workspace_binary};

/// The port of REST, unless it is configured otherwise.
pub const HTTP: u16 = 8080;

/// A command that will run a server with its data in `data_dir` inside `place`.
///
/// # Errors
/// When the server is not built.
pub fn serve(place: &Namespace, data_dir: &Path) -> Result<Command> {
    let mut command = place.command(workspace_binary("netmon-server")?);
    command.arg("serve").arg("--data-dir").arg(data_dir);
    Ok(command)
}

/// Waits until the server whose REST is on `port` says that it is ready.
///
/// # Errors
/// When it does not within `patience`, or ends.
pub fn ready(place: &Namespace, port: u16, server: &mut Child, patience: Duration) -> Result<()> {
    wait_until(patience, "the server to be ready", || {
        if let Ok(Some(status)) = server.exited() {
            return Some(Err(anyhow!("the server has ended with {status}")));
        }
        let (status, _) = http::get(place, port, "/readyz").ok()?;
        (status == 200).then_some(Ok(()))
    })?
}
