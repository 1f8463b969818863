//! The agent as an operator runs it: a user without privileges and two capabilities, a spool on
//! disk, a server that it is connected to.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result, anyhow, bail};
use netmon_lab::{Child, Namespace, Signal, http, log, privileges, wait_until};

use crate::site::{INTERFACE, Site};

const METRICS: u16 = 9642;
const PATIENCE: Duration = Duration::from_secs(30);
/// Flows are whole after two drains.
const DRAINS: Duration = Duration::from_secs(15);

pub struct Agent {
    child: Child,
    place: Namespace,
    with_flows: bool,
    log: std::path::PathBuf,
}

impl Agent {
    /// Starts an agent with its defaults, which include flows, and a watch list of 100,000
    /// addresses; or one that only counts.
    pub fn start(site: &mut Site, with_flows: bool) -> Result<Self> {
        site.start_server()?;
        let built = Path::new(env!("CARGO_BIN_EXE_netmon-agent"));
        let program = privileges::copy_into(site.folder(), built)?;
        let spool = site.path("spool");
        if !spool.exists() {
            std::fs::create_dir(&spool)?;
            privileges::give(&spool)?;
        }
        let mut command = privileges::as_agent(|setpriv| site.place.command(setpriv), &program);
        command
            .arg("run")
            .arg("--identity")
            .arg(site.path("identity"))
            .env("NETMON_AGENT__SPOOL__DIRECTORY", spool);
        if with_flows {
            command.env("NETMON_AGENT__WATCH__FILE", site.watch_list()?);
        } else {
            command.env("NETMON_AGENT__FLOWS__ENABLED", "false");
        }
        let log = site.path("agent.log");
        log::log_to(&mut command, &log)?;
        let mut agent = Self {
            child: Child::spawn("netmon-agent", command, Signal::SIGTERM)?,
            place: site.place.clone(),
            with_flows,
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
            let connected = self.metric("uplink_connected").ok()?;
            (connected == 1.0).then_some(Ok(()))
        });
        waited.flatten().with_context(|| log::tail(&self.log))
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The value of one series without labels.
    pub fn metric(&self, series: &str) -> Result<f64> {
        http::metric(&self.place, METRICS, &format!("netmon_agent_{series}"))
    }

    /// What the programs have counted at the interface's ingress.
    pub fn counted(&self) -> Result<u64> {
        let labels = format!("{{direction=\"ingress\",interface=\"{INTERFACE}\"}}");
        let series = format!("interface_packets_total{labels}");
        Ok(self.metric(&series).unwrap_or(0.0) as u64)
    }

    /// What belongs to flows, and what belongs to none.
    fn in_flows(&self) -> Result<[u64; 2]> {
        let (_, page) = http::get(&self.place, METRICS, "/metrics")?;
        let sum = |family: &str| {
            let values = page
                .lines()
                .filter(|line| line.starts_with(family) && line.contains(INTERFACE))
                .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
            values.sum::<f64>() as u64
        };
        Ok([
            sum("netmon_agent_flow_packets_total"),
            sum("netmon_agent_flow_untracked_packets_total"),
        ])
    }

    /// Waits until the agent has seen so many packets, each of which belongs to a flow if it keeps
    /// flows; returns what it has seen after a while at most.
    pub fn seen(&self, expected: u64) -> Result<u64> {
        let within = |time, read: &dyn Fn() -> Result<u64>| -> Result<u64> {
            let enough = || (read().ok()? >= expected).then_some(());
            // Whatever is missing is reported by whoever compares.
            let _ = wait_until(time, "all packets", enough);
            read()
        };
        let counted = within(Duration::from_secs(3), &|| self.counted())?;
        if !self.with_flows {
            return Ok(counted);
        }
        let tracked = within(DRAINS, &|| Ok(self.in_flows()?[0]))?;
        let [_, untracked] = self.in_flows()?;
        if untracked != 0 {
            bail!("{untracked} packets belong to no flow");
        }
        Ok(counted.min(tracked))
    }

    pub fn stop(mut self) -> Result<()> {
        self.child.signal(Signal::SIGTERM)?;
        match self.child.wait_for(PATIENCE)? {
            Some(status) if status.success() => Ok(()),
            other => bail!("the agent ended with {other:?}:\n{}", log::tail(&self.log)),
        }
    }
}
