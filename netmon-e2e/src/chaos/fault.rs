//! What can go wrong.

use std::{
    fmt,
    fs::{self, File},
    io::Write as _,
};

use anyhow::Result;
use netmon_lab::Signal;
use rand::{RngExt as _, rngs::StdRng};

use super::{duplicates, site::Site};

/// One thing that goes wrong, and is put right again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL to the agent.
    AgentKilled,
    /// SIGTERM to the agent, as for an upgrade.
    AgentStopped,
    /// SIGKILL to the server: its database goes with it.
    ServerKilled,
    /// SIGTERM to the server.
    ServerStopped,
    /// SIGKILL to PostgreSQL's first process.
    DatabaseKilled,
    /// PostgreSQL's immediate stop: no checkpoint, all sessions cut.
    DatabaseStopped,
    /// PostgreSQL stands still.
    DatabaseSlow,
    /// The cable to the server is dead.
    NetworkCut,
    /// No octet left for the spool.
    DiskFull,
    /// The agent's wall clock steps.
    ClockStepped,
    /// What is in the spool is sent again, in any order, on a connection of its own.
    Duplicated,
}

impl Fault {
    const ALL: [Self; 11] = [
        Self::AgentKilled,
        Self::AgentStopped,
        Self::ServerKilled,
        Self::ServerStopped,
        Self::DatabaseKilled,
        Self::DatabaseStopped,
        Self::DatabaseSlow,
        Self::NetworkCut,
        Self::DiskFull,
        Self::ClockStepped,
        Self::Duplicated,
    ];

    /// Any of them.
    pub fn any(random: &mut StdRng) -> Self {
        Self::ALL[random.random_range(0..Self::ALL.len())]
    }

    /// Does it.
    pub fn strike(self, site: &mut Site, random: &mut StdRng) -> Result<()> {
        match self {
            Self::AgentKilled => site.end_agent(Signal::SIGKILL),
            Self::AgentStopped => site.end_agent(Signal::SIGTERM),
            Self::ServerKilled => site.end_server(Signal::SIGKILL),
            Self::ServerStopped => site.end_server(Signal::SIGTERM),
            Self::DatabaseKilled => site.signal_database(Signal::SIGKILL),
            Self::DatabaseStopped => site.signal_database(Signal::SIGQUIT),
            Self::DatabaseSlow => site.freeze(),
            Self::NetworkCut => site.uplink("down"),
            Self::DiskFull => fill(site),
            Self::ClockStepped => {
                // Up to half an hour either way, the sum within what a server accepts.
                let step_ns = random.random_range(-1800..=1800_i64) * 1_000_000_000;
                let shift_ns = site.shifts_ns.last().map_or(0, |last| last + step_ns);
                let most = 6 * 3600 * 1_000_000_000;
                site.shift_clock(shift_ns.clamp(-most, most))
            }
            Self::Duplicated => duplicates::send(site, random),
        }
    }

    /// Puts it right, as far as that is for us to do.
    pub fn heal(self, site: &mut Site) -> Result<()> {
        match self {
            Self::AgentKilled | Self::AgentStopped => site.begin_agent(),
            Self::ServerKilled | Self::ServerStopped => site.begin_server(),
            Self::DatabaseSlow => {
                site.thaw();
                Ok(())
            }
            Self::NetworkCut => site.uplink("up"),
            Self::DiskFull => {
                let _ = fs::remove_file(site.filler());
                Ok(())
            }
            // The server starts its database again; a step of the clock stays; a batch sent twice
            // stays sent.
            Self::DatabaseKilled
            | Self::DatabaseStopped
            | Self::ClockStepped
            | Self::Duplicated => Ok(()),
        }
    }
}

/// Writes until nothing fits any more.
fn fill(site: &Site) -> Result<()> {
    let mut filler = File::create(site.filler())?;
    let block = [0x5a; 4096];
    while filler.write_all(&block).is_ok() {}
    Ok(())
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AgentKilled => "agent killed",
            Self::AgentStopped => "agent stopped and started",
            Self::ServerKilled => "server killed",
            Self::ServerStopped => "server stopped and started",
            Self::DatabaseKilled => "PostgreSQL killed",
            Self::DatabaseStopped => "PostgreSQL stopped at once",
            Self::DatabaseSlow => "PostgreSQL stands still",
            Self::NetworkCut => "network cut",
            Self::DiskFull => "spool disk full",
            Self::ClockStepped => "clock stepped",
            Self::Duplicated => "spool sent again in disorder",
        })
    }
}
