//! The server: its end, its next beginning, and what it says of its books.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use netmon_lab::{
    Child, Namespace, Signal, log,
    server::{self, HTTP},
    workspace_binary,
};

use super::{PATIENCE, Site};

impl Site {
    /// Ends the server, if one runs.
    pub fn end_server(&mut self, signal: Signal) -> Result<()> {
        let Some(mut server) = self.server.take() else {
            return Ok(());
        };
        server.signal(signal)?;
        // A server that drains waits for its database, which may be frozen.
        self.thaw();
        if server.wait_for(PATIENCE)?.is_none() {
            bail!("the server does not end on {signal}");
        }
        Ok(())
    }

    /// Starts the server, if none runs; it takes its time.
    pub fn begin_server(&mut self) -> Result<()> {
        if self.server.is_none() {
            self.server = Some(spawn(&self.server_place, self.folder.path())?);
        }
        Ok(())
    }

    /// The server's own audit: exit status and what it says as JSON.
    pub fn audit(&self) -> Result<(i32, String)> {
        let mut command = self
            .server_place
            .command(workspace_binary("netmon-server")?);
        command
            .args(["audit", "--format", "json", "--data-dir"])
            .arg(self.data_dir());
        let output = command.output().context("cannot run the audit")?;
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok((
            output.status.code().unwrap_or(-1),
            format!("{said}{complaint}"),
        ))
    }
}

/// Starts a server.
pub(super) fn spawn(place: &Namespace, folder: &Path) -> Result<Child> {
    let mut command = server::serve(place, &folder.join("server"))?;
    log::log_to(&mut command, &folder.join("server.log"))?;
    Child::spawn("netmon-server", command, Signal::SIGTERM)
}

/// Waits until it is ready.
pub(super) fn ready(place: &Namespace, server: &mut Child) -> Result<()> {
    server::ready(place, HTTP, server, PATIENCE)
}
