//! A veth pair between two namespaces, and a server beside the sensors.

use std::{
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use netmon_lab::{
    Child, Flood, InterfaceStatistics, Namespace, Signal, identity, link, log, privileges, server,
};
use tempfile::TempDir;

use crate::{frames, interrupt};

/// The interface that sensors watch.
pub const INTERFACE: &str = "in";
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Site {
    // Declared in the order in which they end.
    server: Option<Child>,
    /// Sends.
    pub flood: Flood,
    /// Where sensors are.
    pub place: Namespace,
    folder: TempDir,
}

impl Site {
    pub fn new() -> Result<Self> {
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
            place,
            folder,
        })
    }

    /// A server for the agents, at its default ports in the sensors' namespace, once.
    pub fn start_server(&mut self) -> Result<()> {
        if self.server.is_some() {
            return Ok(());
        }
        let data = self.path("server");
        let log_path = self.path("server.log");
        let mut command = server::serve(&self.place, &data)?;
        log::log_to(&mut command, &log_path)?;
        let server = Child::spawn("netmon-server", command, Signal::SIGTERM)?;
        let server = self.server.insert(server);
        server::ready(&self.place, server::HTTP, server, PATIENCE)
            .with_context(|| log::tail(&log_path))?;
        identity::issue(&data, "bench", &self.path("identity")).map(drop)
    }

    /// What has arrived at the sensors' interface.
    pub fn arrived(&self) -> Result<u64> {
        Ok(InterfaceStatistics::read(&self.place, INTERFACE)?.rx_packets)
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A list of 100,000 addresses, none of which sends anything.
    pub fn watch_list(&self) -> Result<PathBuf> {
        let path = self.path("watch.txt");
        if !path.exists() {
            let lines: Vec<_> = crate::costs::watched_addresses().collect();
            std::fs::write(&path, lines.join("\n") + "\n")?;
        }
        Ok(path)
    }

    /// Sends each of many flows once, at a rate at which the agent hears of each.
    pub fn make_flows(&self, count: u32) -> Result<u64> {
        // The ring of new flows has room for 14,000, and the agent looks into it every 50 ms.
        Ok(self.flood.send_once(&frames::flows(count), 100)?.frames)
    }
}

/// The CPU that sends: the last one, where there are several.
pub fn sending_cpu() -> Option<usize> {
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
