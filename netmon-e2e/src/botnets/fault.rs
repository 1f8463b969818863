//! What is killed.

use std::{fmt, thread, time::Duration};

use anyhow::Result;
use netmon_lab::{Signal, database};
use nix::sys::signal::kill;
use rand::{RngExt as _, rngs::StdRng};

use super::site::Site;

/// One thing that is killed, and started again where nobody else does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL to the server: its database is told to end by that.
    ServerKilled,
    /// SIGKILL to the server, and once more to the next one while it starts.
    ServerKilledTwice,
    /// SIGKILL to PostgreSQL's first process.
    DatabaseKilled,
    /// PostgreSQL's immediate stop: no checkpoint, all sessions cut.
    DatabaseStopped,
    /// SIGKILL to any other process of PostgreSQL, which ends all sessions then.
    BackendKilled,
    /// SIGKILL to both.
    BothKilled,
}

impl Fault {
    const ALL: [Self; 6] = [
        Self::ServerKilled,
        Self::ServerKilledTwice,
        Self::DatabaseKilled,
        Self::DatabaseStopped,
        Self::BackendKilled,
        Self::BothKilled,
    ];

    /// Any of them.
    pub fn any(random: &mut StdRng) -> Self {
        Self::ALL[random.random_range(0..Self::ALL.len())]
    }

    /// Does it.
    pub fn strike(self, site: &mut Site, random: &mut StdRng) -> Result<()> {
        match self {
            Self::ServerKilled => site.kill_server(),
            Self::ServerKilledTwice => {
                site.kill_server()?;
                site.begin_server()?;
                thread::sleep(Duration::from_millis(random.random_range(0..1500)));
                site.kill_server()
            }
            Self::DatabaseKilled => {
                signal_database(site, Signal::SIGKILL);
                Ok(())
            }
            Self::DatabaseStopped => {
                signal_database(site, Signal::SIGQUIT);
                Ok(())
            }
            Self::BackendKilled => {
                kill_backend(site, random);
                Ok(())
            }
            Self::BothKilled => {
                signal_database(site, Signal::SIGKILL);
                site.kill_server()
            }
        }
    }

    /// Starts again what nobody else starts: the server sees to its database.
    pub fn heal(self, site: &mut Site) -> Result<()> {
        site.begin_server()
    }
}

/// One that is just ending has what it is sent.
fn signal_database(site: &Site, signal: Signal) {
    if let Ok(postmaster) = database::postmaster(&site.data_dir()) {
        let _ = kill(postmaster, signal);
    }
}

fn kill_backend(site: &Site, random: &mut StdRng) {
    let processes = database::processes(&site.data_dir()).unwrap_or_default();
    let Some((_, others)) = processes.split_first() else {
        return;
    };
    if !others.is_empty() {
        let _ = kill(
            others[random.random_range(0..others.len())],
            Signal::SIGKILL,
        );
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ServerKilled => "server killed",
            Self::ServerKilledTwice => "server killed twice",
            Self::DatabaseKilled => "PostgreSQL killed",
            Self::DatabaseStopped => "PostgreSQL stopped at once",
            Self::BackendKilled => "a process of PostgreSQL killed",
            Self::BothKilled => "server and PostgreSQL killed",
        })
    }
}
