//! Unmodified chronyd as NTP server, client and peer, with everything it writes in a directory of
//! its own and never touching a clock (`-x`).

pub mod daemon;
pub mod measurements;
pub mod nts;
pub mod sources;

use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

pub use self::{
    daemon::Daemon,
    measurements::Measurement,
    nts::Certificate,
    sources::{Served, Source},
};
use crate::{Namespace, patient};

/// A chronyd that serves the host's clock as it is.
#[derive(Debug)]
pub struct Server {
    daemon: Daemon,
}

impl Server {
    /// Starts a server on a port inside `place`, claiming the given stratum. `directory` is created
    /// and must be its own.
    ///
    /// # Errors
    /// When chronyd is missing or does not come up.
    pub fn start(place: &Namespace, directory: &Path, port: u16, stratum: u8) -> Result<Self> {
        let settings = format!("port {port}\nlocal stratum {stratum}\nallow all\n");
        let daemon = Daemon::start("chrony server", place, directory, &settings)?;
        Ok(Self { daemon })
    }

    /// The process id of chronyd.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.daemon.id()
    }

    /// What can be asked of any chronyd.
    #[must_use]
    pub fn daemon(&self) -> &Daemon {
        &self.daemon
    }
}

/// A chronyd that asks one server and writes down what it measured.
#[derive(Debug)]
pub struct Client {
    daemon: Daemon,
    log: PathBuf,
}

impl Client {
    /// Starts a client inside `place`. `options` follow the server's address in the configuration,
    /// as in `minpoll 0 maxpoll 0 iburst` (one request a second).
    ///
    /// # Errors
    /// When chronyd is missing, does not come up or refuses the options.
    pub fn start(
        place: &Namespace,
        directory: &Path,
        server: IpAddr,
        options: &str,
    ) -> Result<Self> {
        // noselect: chronyd would otherwise correct a clock of its own (with -x an imagined one)
        // and report offsets from that instead of from the host's.
        let settings = format!(
            "server {server} {options} noselect\nport 0\nlog measurements\nlogdir {}\n",
            directory.display()
        );
        let daemon = Daemon::start("chrony client", place, directory, &settings)?;
        let log = directory.join("measurements.log");
        Ok(Self { daemon, log })
    }

    /// The process id of chronyd.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.daemon.id()
    }

    /// Every measurement so far, oldest first.
    ///
    /// # Errors
    /// When the log cannot be read or understood.
    pub fn measurements(&self) -> Result<Vec<Measurement>> {
        if !self.log.exists() {
            return Ok(Vec::new());
        }
        let text = fs::read_to_string(&self.log)
            .with_context(|| format!("cannot read {}", self.log.display()))?;
        measurements::parse(&text)
    }

    /// Waits until there are at least `count` measurements and returns all.
    ///
    /// # Errors
    /// When `timeout`, made [`patient`], passes first.
    pub fn wait_for(&self, count: usize, timeout: Duration) -> Result<Vec<Measurement>> {
        let timeout = patient(timeout);
        let deadline = Instant::now() + timeout;
        loop {
            let measurements = self.measurements()?;
            if measurements.len() >= count {
                return Ok(measurements);
            }
            if Instant::now() >= deadline {
                bail!(
                    "waited {timeout:?} for {count} measurements, got {}: {}",
                    measurements.len(),
                    self.daemon.last_words()
                );
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
