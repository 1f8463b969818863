//! A veth pair between two namespaces; an agent, or whoever else, at one end, and a server there.

use std::{
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use netmon_lab::{
    Child, Flood, InterfaceStatistics, Namespace, Signal,
    flood::{Pace, Sent},
    identity, link, log, privileges, psql_numbers, server,
};
use tempfile::TempDir;

use crate::{interrupt, options::Options, traffic::Traffic};

/// The interface that is watched.
pub const INTERFACE: &str = "in";
const PATIENCE: Duration = Duration::from_secs(60);
/// Before anybody's books are read: packets may be on their way.
const SETTLE: Duration = Duration::from_millis(700);

pub struct Site {
    // Declared in the order in which they end.
    server: Option<Child>,
    flood: Flood,
    traffic: Traffic,
    /// Where the interface is.
    pub place: Namespace,
    folder: TempDir,
    has_identity: bool,
}

impl Site {
    pub fn new(options: &Options) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("netmon-bench-").tempdir()?;
        privileges::let_in(folder.path())?;
        let (sender, place) = (Namespace::new()?, Namespace::new()?);
        let end = |place, name, number| link::End {
            place,
            name,
            mac: link::Mac::local(number),
        };
        link::veth(end(&sender, "out", 1), end(&place, INTERFACE, 2))?;
        Ok(Self {
            server: None,
            flood: Flood::open(&sender, "out")?,
            traffic: Traffic::of(options.clients),
            place,
            folder,
            has_identity: false,
        })
    }

    /// Starts the server, at its default ports beside the agent.
    pub fn start_server(&mut self) -> Result<()> {
        let data = self.path("server");
        let log_path = self.path("server.log");
        let mut command = server::serve(&self.place, &data)?;
        log::log_to(&mut command, &log_path)?;
        let server = Child::spawn("netmon-server", command, Signal::SIGTERM)?;
        let server = self.server.insert(server.with_grace(PATIENCE));
        server::ready(&self.place, server::HTTP, server, PATIENCE)
            .with_context(|| log::tail(&log_path))?;
        if !self.has_identity {
            identity::issue(&data, "bench", &self.path("identity"))?;
            self.has_identity = true;
        }
        Ok(())
    }

    /// Ends the server; its database goes on with the next one.
    pub fn stop_server(&mut self) {
        self.server = None;
    }

    /// Numbers that the server's database answers with.
    pub fn stored(&self, sql: &str) -> Result<Vec<u64>> {
        psql_numbers(&self.path("server").join("socket"), sql)
    }

    /// Sends exchanges for some time.
    pub fn send(&mut self, pace: Pace) -> Result<Sent> {
        self.traffic.send(&self.flood, pace, sending_cpu())
    }

    /// What has arrived at the interface.
    pub fn arrived(&self) -> Result<u64> {
        pause(SETTLE)?;
        Ok(InterfaceStatistics::read(&self.place, INTERFACE)?.rx_packets)
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// The CPU that sends: the last one, where there are several.
fn sending_cpu() -> Option<usize> {
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    (cpus > 1).then_some(cpus - 1)
}

/// Waits, unless somebody wants the end.
pub fn pause(time: Duration) -> Result<()> {
    thread::sleep(time);
    if interrupt::is_wanted() {
        bail!("interrupted");
    }
    Ok(())
}
