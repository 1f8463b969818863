//! The agent: how it works here, its end and its next beginning.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow, bail};
use netmon_lab::{
    Child, Mounts, Namespace, Signal, http, log, privileges, wait_until, workspace_binary,
};

use super::{PATIENCE, Site, network};

const METRICS: u16 = 9642;

/// How the agent works here: fast, so that much can be lost in little time.
const SETTINGS: &[(&str, &str)] = &[
    ("SAMPLE_INTERVAL", "100ms"),
    ("REPORT_INTERVAL", "500ms"),
    ("FRAME_INTERVAL", "1s"),
    ("BATCH__MAX_AGE", "200ms"),
    ("SYSTEM__INTERVAL", "1s"),
    // What is not delivered by then waits in the spool.
    ("SHUTDOWN_TIMEOUT", "1s"),
    ("SERVER__RETRY_INTERVAL", "100ms"),
    ("SERVER__MAX_RETRY_INTERVAL", "1s"),
];

/// What an agent without pinned programs may miss before it was killed: an unfinished frame, the
/// age of an open batch and a sample of each.
pub const UNSPOOLED: Duration = Duration::from_millis(1000 + 200 + 300);

/// A time without an agent.
#[derive(Clone, Copy, Debug)]
pub struct Absence {
    /// Told to end, or killed.
    pub ended: Instant,
    /// The process was gone.
    pub gone: Instant,
    /// Killed, with no chance to hand over its last frame.
    pub killed: bool,
    /// The next one was started.
    pub spawned: Instant,
    /// The next one watches the interface.
    pub watching: Instant,
}

impl Site {
    /// Ends the agent, if one runs.
    pub fn end_agent(&mut self, signal: Signal) -> Result<()> {
        let Some(mut agent) = self.agent.take() else {
            return Ok(());
        };
        let ended = Instant::now();
        agent.signal(signal)?;
        let killed = signal == Signal::SIGKILL;
        match agent.wait_for(PATIENCE)? {
            Some(status) if killed || status.success() => {}
            other => bail!("the agent ended with {other:?} on {signal}"),
        }
        self.left = Some((ended, Instant::now(), killed));
        Ok(())
    }

    /// Starts the agent, if none runs, and waits until it watches again.
    pub fn begin_agent(&mut self) -> Result<()> {
        if self.agent.is_some() {
            return Ok(());
        }
        let spawned = Instant::now();
        let mut agent = spawn(&self.mounts, self.folder.path(), self.pin)?;
        watching(&self.place, &mut agent)?;
        self.agent = Some(agent);
        if let Some((ended, gone, killed)) = self.left.take() {
            self.absences.push(Absence {
                ended,
                gone,
                killed,
                spawned,
                watching: Instant::now(),
            });
        }
        Ok(())
    }

    /// Waits until the server has everything that the agent holds.
    pub(super) fn everything_stored(&self) -> Result<()> {
        wait_until(PATIENCE, "everything to be stored", || {
            let metric = |name| http::metric(&self.place, METRICS, name).ok();
            let connected = metric("netmon_agent_uplink_connected")?;
            let waiting = metric("netmon_agent_spool_batches")?;
            (connected == 1.0 && waiting == 0.0).then_some(())
        })
    }
}

/// Starts an agent.
pub(super) fn spawn(mounts: &Mounts, folder: &Path, pin: bool) -> Result<Child> {
    let program = privileges::copy_into(folder, &workspace_binary("netmon-agent")?)?;
    let mut command = privileges::as_agent(|setpriv| mounts.command(setpriv), &program);
    command
        .args(["run", "--include", network::INTERFACE, "--server"])
        .arg(network::server_address())
        .arg("--identity")
        .arg(folder.join("identity"))
        .env("NETMON_AGENT_CLOCK_SHIFT", folder.join("clock-shift"))
        .env("NETMON_AGENT__SPOOL__DIRECTORY", folder.join("spool/agent"))
        .env("NETMON_AGENT__SENSOR__PIN", pin.to_string())
        .env(
            "NETMON_AGENT__SENSOR__PIN_DIRECTORY",
            folder.join("bpf/netmon"),
        );
    for (key, value) in SETTINGS {
        command.env(format!("NETMON_AGENT__{key}"), value);
    }
    log::log_to(&mut command, &folder.join("agent.log"))?;
    Child::spawn("netmon-agent", command, Signal::SIGTERM)
}

/// Waits until the agent watches its interface; a server it need not have.
pub(super) fn watching(place: &Namespace, agent: &mut Child) -> Result<()> {
    wait_until(PATIENCE, "the agent to watch its interface", || {
        if let Ok(Some(status)) = agent.exited() {
            return Some(Err(anyhow!("the agent has ended with {status}")));
        }
        let watched = http::metric(place, METRICS, "netmon_agent_interfaces_watched").ok()?;
        (watched == 1.0).then_some(Ok(()))
    })?
}
