//! A server with its own PostgreSQL, on loopback, in a directory of its own. Needs no privileges.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Error, Result, anyhow, bail, ensure};
use netmon_lab::{Child, Signal, log, privileges, psql, wait_until, workspace_binary};
use tempfile::TempDir;

use super::http;

/// How long anything may take to come back.
const PATIENCE: Duration = Duration::from_secs(60);

/// The installation.
pub struct Site {
    // Ends before its directory goes.
    server: Option<Child>,
    folder: TempDir,
    http: SocketAddr,
    quic: SocketAddr,
}

impl Site {
    /// Starts a server on nothing.
    pub fn start(keep: Option<&Path>) -> Result<Self> {
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut site = Self {
            server: None,
            folder: folder(keep)?,
            http: TcpListener::bind(loopback)?.local_addr()?,
            quic: UdpSocket::bind(loopback)?.local_addr()?,
        };
        site.begin_server()?;
        site.ready().with_context(|| site.log())?;
        Ok(site)
    }

    /// Where logs go.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("server")
    }

    /// Starts the server, if none runs; it takes its time.
    pub fn begin_server(&mut self) -> Result<()> {
        if self.server.is_none() {
            let mut command = self.command(&["serve"])?;
            command.args(["--http-listen", &self.http.to_string()]);
            command.args(["--quic-listen", &self.quic.to_string()]);
            log::log_to(&mut command, &self.log_path())?;
            self.server = Some(Child::spawn("netmon-server", command, Signal::SIGTERM)?);
        }
        Ok(())
    }

    /// Sends the server a SIGKILL, and waits until it is gone.
    pub fn kill_server(&mut self) -> Result<()> {
        if let Some(mut server) = self.server.take() {
            server.kill()?;
        }
        Ok(())
    }

    /// Waits until server and database answer.
    pub fn ready(&mut self) -> Result<()> {
        let socket = self.socket();
        let (server, http) = (self.server.as_mut(), self.http);
        let server = server.context("no server runs")?;
        wait_until(PATIENCE, "the server to be ready", || {
            if let Ok(Some(status)) = server.exited() {
                return Some(Err(anyhow!("the server has ended with {status}")));
            }
            let ready = http::get(http, "/readyz").ok()? == 200;
            (ready && psql(&socket, "SELECT 1").is_ok()).then_some(Ok(()))
        })?
    }

    /// Fails if the server ended that nobody ended.
    pub fn still_there(&mut self) -> Result<()> {
        if let Some(server) = &mut self.server
            && let Some(status) = server.exited()?
        {
            bail!("the server has ended by itself with {status}");
        }
        Ok(())
    }

    /// One SQL question to the server's database, which may just be coming back.
    pub fn sql(&self, sql: &str) -> Result<String> {
        let socket = self.socket();
        wait_until(PATIENCE, "the database to answer", || {
            match psql(&socket, sql) {
                Err(error) if is_away(&error) => None,
                answered => Some(answered),
            }
        })?
    }

    /// The server's own proofs: a full count of the statistics finds them as they are, and no node is
    /// without communications.
    pub fn own_books(&self) -> Result<()> {
        for arguments in [&["aggregate", "once"], &["botnet", "audit"]] {
            let output = self.command(arguments)?.output()?;
            ensure!(
                output.status.success(),
                "{} ends with {}: {}{}",
                arguments.join(" "),
                output.status,
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
        }
        let drifted =
            self.sql("SELECT count(*) FROM botnet_aggregations WHERE drift_places > 0")?;
        ensure!(drifted == "0", "{drifted} counts found other statistics");
        Ok(())
    }

    /// The last lines of the log.
    pub fn log(&self) -> String {
        format!("server.log:\n{}", log::tail(&self.log_path()))
    }

    fn command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(workspace_binary("netmon-server")?);
        command
            .args(arguments)
            .arg("--data-dir")
            .arg(self.data_dir());
        Ok(command)
    }

    fn socket(&self) -> PathBuf {
        self.data_dir().join("socket")
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("server.log")
    }
}

/// Whether that is what psql says while PostgreSQL ends, recovers or starts.
fn is_away(error: &Error) -> bool {
    let said = format!("{error:#}");
    [
        "connection to server",
        "server closed the connection",
        "terminating connection",
    ]
    .iter()
    .any(|sign| said.contains(sign))
}

/// Where everything lies, for as long as it is wanted.
fn folder(keep: Option<&Path>) -> Result<TempDir> {
    let mut folder = tempfile::Builder::new()
        .prefix("netmon-botnets-")
        .tempdir()?;
    if let Some(keep) = keep {
        fs::create_dir_all(keep)?;
        folder = tempfile::Builder::new()
            .prefix("botnets-")
            .tempdir_in(keep)?;
        folder.disable_cleanup(true);
        println!("botnets: everything stays in {}", folder.path().display());
    }
    privileges::let_in(folder.path())?;
    Ok(folder)
}
