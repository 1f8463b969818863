//! The agent as an operator runs it: a user without privileges and two capabilities, its defaults,
//! a spool on disk.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail};
use netmon_lab::{Child, Namespace, Signal, http, log, privileges, wait_until};

use crate::{books::Books, site::Site};

const METRICS: u16 = 9642;
const PATIENCE: Duration = Duration::from_secs(90);

/// How much is kept of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    Exchanges,
    Folded,
}

impl Detail {
    pub const ALL: [Self; 2] = [Self::Exchanges, Self::Folded];

    /// As `ntp.detail` has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exchanges => "exchanges",
            Self::Folded => "folded",
        }
    }
}

pub struct Agent {
    child: Child,
    place: Namespace,
    log: PathBuf,
}

impl Agent {
    /// Starts an agent with an empty spool, which is connected in the end. The server runs.
    pub fn start(site: &Site, detail: Detail) -> Result<Self> {
        let built = Path::new(env!("CARGO_BIN_EXE_netmon-agent"));
        let program = privileges::copy_into(site.folder(), built)?;
        let spool = site.path("spool");
        let _ = std::fs::remove_dir_all(&spool);
        std::fs::create_dir(&spool)?;
        privileges::give(&spool)?;
        let mut command = privileges::as_agent(|setpriv| site.place.command(setpriv), &program);
        command
            .arg("run")
            .arg("--identity")
            .arg(site.path("identity"))
            .env("NETMON_AGENT__SPOOL__DIRECTORY", spool)
            .env("NETMON_AGENT__NTP__DETAIL", detail.name())
            .env("NETMON_AGENT__SHUTDOWN_TIMEOUT", "60s");
        let log = site.path("agent.log");
        log::log_to(&mut command, &log)?;
        let mut agent = Self {
            child: Child::spawn("netmon-agent", command, Signal::SIGTERM)?.with_grace(PATIENCE),
            place: site.place.clone(),
            log,
        };
        agent.connected()?;
        Ok(agent)
    }

    fn connected(&mut self) -> Result<()> {
        let waited = wait_until(PATIENCE, "the agent to be connected", || {
            if let Ok(Some(status)) = self.child.exited() {
                return Some(Err(anyhow!("the agent has ended with {status}")));
            }
            let connected = self.books().ok()?.one("uplink_connected");
            (connected == 1).then_some(Ok(()))
        });
        waited.flatten().with_context(|| log::tail(&self.log))
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it says of itself.
    pub fn books(&self) -> Result<Books> {
        let (_, page) = http::get(&self.place, METRICS, "/metrics")?;
        Ok(Books::read(&page))
    }

    /// Ends it as it is.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill().map(drop)
    }

    /// Asks it to end: it hands over what is not stored yet.
    pub fn stop(mut self) -> Result<()> {
        self.child.signal(Signal::SIGTERM)?;
        match self.child.wait_for(PATIENCE)? {
            Some(status) if status.success() => Ok(()),
            other => bail!("the agent ended with {other:?}:\n{}", log::tail(&self.log)),
        }
    }
}
