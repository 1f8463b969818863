//! Agent, server and database, each where it can be broken on its own.
//!
//! ```text
//! peer ──nm-b════nm-a── agent ──nm-up════nm-srv── server + PostgreSQL
//!        the watched cable          the way to the server
//! ```

mod agent;
mod database;
mod network;
mod server;

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use netmon_lab::{Child, Mount, Mounts, Namespace, Signal, identity, log, privileges};
use nix::unistd::Pid;
use tempfile::TempDir;

use self::network::Places;
pub use self::{
    agent::{Absence, UNSPOOLED},
    network::INTERFACE,
};
use super::{Options, kernel::Kernel, traffic::Traffic};

/// How long anything may take to come back.
const PATIENCE: Duration = Duration::from_secs(60);

/// The whole installation.
pub struct Site {
    // Declared in the order in which they end.
    traffic: Traffic,
    agent: Option<Child>,
    server: Option<Child>,
    pub kernel: Kernel,
    pub mounts: Mounts,
    pub place: Namespace,
    server_place: Namespace,
    _peer: Namespace,
    folder: TempDir,
    pub pin: bool,
    pub absences: Vec<Absence>,
    left: Option<(Instant, Instant, bool)>,
    frozen: Vec<Pid>,
    /// What the agent's wall clock was ahead, ns, all the time; the last is now.
    pub shifts_ns: Vec<i64>,
}

impl Site {
    /// Builds it, and starts everything.
    pub fn start(options: &Options) -> Result<Self> {
        let folder = folder(options)?;
        let path = folder.path();
        let places = Places::new()?;
        let mounts = mount(&places.agent, path)?;
        let mut server = server::spawn(&places.server, path)?;
        server::ready(&places.server, &mut server)
            .with_context(|| last_lines(path, "server.log"))?;
        identity::issue(&path.join("server"), "chaos", &path.join("identity"))?;
        // The first agent watches before the first packet comes.
        let mut agent = agent::spawn(&mounts, path, options.pin)?;
        agent::watching(&places.agent, &mut agent)
            .with_context(|| last_lines(path, "agent.log"))?;
        let kernel = Kernel::watch(&places.agent, INTERFACE);
        let here = (&places.agent, network::HERE);
        let traffic = Traffic::start(here, (&places.peer, network::THERE))?;
        Ok(Self {
            traffic,
            agent: Some(agent),
            server: Some(server),
            kernel,
            mounts,
            place: places.agent,
            server_place: places.server,
            _peer: places.peer,
            folder,
            pin: options.pin,
            absences: Vec::new(),
            left: None,
            frozen: Vec::new(),
            shifts_ns: vec![0],
        })
    }

    /// A file that takes all there is of the spool's disk.
    pub fn filler(&self) -> PathBuf {
        self.mounts.path(&self.folder.path().join("spool/filler"))
    }

    /// The spool's directory, as seen from here.
    pub fn spool(&self) -> PathBuf {
        self.mounts.path(&self.folder.path().join("spool/agent"))
    }

    /// Where the certificates are.
    pub fn identity(&self) -> PathBuf {
        self.folder.path().join("identity")
    }

    /// Puts the agent's wall clock ahead by so much.
    pub fn shift_clock(&mut self, shift_ns: i64) -> Result<()> {
        self.shifts_ns.push(shift_ns);
        Ok(fs::write(
            self.folder.path().join("clock-shift"),
            format!("{shift_ns}\n"),
        )?)
    }

    /// Fails if something ended that nobody ended.
    pub fn still_there(&mut self) -> Result<()> {
        for child in [&mut self.agent, &mut self.server].into_iter().flatten() {
            if let Some(status) = child.exited()? {
                bail!("{} has ended by itself with {status}", child.name());
            }
        }
        Ok(())
    }

    /// Everything runs, the traffic ends, and what the agent has is stored; then the agent stops.
    pub fn come_to_rest(&mut self) -> Result<()> {
        self.thaw();
        self.uplink("up")?;
        let _ = fs::remove_file(self.filler());
        self.begin_server()?;
        if let Some(server) = &mut self.server {
            server::ready(&self.server_place, server)?;
        }
        self.begin_agent()?;
        self.traffic.stop()?;
        // The last frame is full and its batch sealed.
        thread::sleep(UNSPOOLED);
        self.everything_stored()?;
        self.end_agent(Signal::SIGTERM)?;
        ensure!(self.traffic.answered() > 0, "NTP requests were answered");
        Ok(())
    }

    fn data_dir(&self) -> PathBuf {
        self.folder.path().join("server")
    }

    /// The last lines of both logs.
    pub fn logs(&self) -> String {
        let [agent, server] =
            ["agent.log", "server.log"].map(|name| last_lines(self.folder.path(), name));
        format!("{agent}\n{server}")
    }
}

/// Where everything lies, for as long as it is wanted.
fn folder(options: &Options) -> Result<TempDir> {
    let mut folder = tempfile::Builder::new().prefix("netmon-chaos-").tempdir()?;
    if let Some(keep) = &options.keep {
        fs::create_dir_all(keep)?;
        folder = tempfile::Builder::new().prefix("chaos-").tempdir_in(keep)?;
        folder.disable_cleanup(true);
        println!("chaos: everything stays in {}", folder.path().display());
    }
    privileges::let_in(folder.path())?;
    Ok(folder)
}

/// The agent's own file systems: a small disk for its spool, and one for pinned programs.
fn mount(place: &Namespace, folder: &Path) -> Result<Mounts> {
    for name in ["spool", "bpf"] {
        fs::create_dir(folder.join(name))?;
    }
    Mounts::new(
        place,
        &[
            Mount {
                kind: "tmpfs",
                options: "size=3m,mode=0777",
                at: &folder.join("spool"),
            },
            Mount {
                kind: "bpf",
                options: "mode=0777",
                at: &folder.join("bpf"),
            },
        ],
    )
}

fn last_lines(folder: &Path, name: &str) -> String {
    format!("{name}:\n{}", log::tail(&folder.join(name)))
}
