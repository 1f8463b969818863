//! The sensors that are compared.

use anyhow::Result;

use crate::{agent::Agent, pmacct::Pmacct, site::Site, softflowd::Softflowd, tcpdump::Tcpdump};

/// A sensor, with its configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// No sensor
    None,
    /// The agent, flows switched off
    Counting,
    /// The agent with its defaults and a watch list of 100,000 addresses
    Flows,
    /// tcpdump into /dev/null
    Tcpdump,
    /// softflowd, exporting NetFlow version 9
    Softflowd,
    /// pmacctd with a table of 5-tuples
    Pmacct,
}

impl Kind {
    /// All of them, in the order in which they are measured.
    pub const ALL: [Self; 6] = [
        Self::None,
        Self::Counting,
        Self::Flows,
        Self::Tcpdump,
        Self::Softflowd,
        Self::Pmacct,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Counting => "netmon, counting",
            Self::Flows => "netmon, flows and watch list",
            Self::Tcpdump => "tcpdump -w /dev/null",
            Self::Softflowd => "softflowd",
            Self::Pmacct => "pmacctd",
        }
    }

    pub const fn is_netmon(self) -> bool {
        matches!(self, Self::Counting | Self::Flows)
    }

    /// Starts it and waits until it sees packets; nothing for none.
    pub fn start(self, site: &mut Site) -> Result<Option<Running>> {
        Ok(Some(match self {
            Self::None => return Ok(None),
            Self::Counting => Running::Netmon(Agent::start(site, false)?),
            Self::Flows => Running::Netmon(Agent::start(site, true)?),
            Self::Tcpdump => Running::Tcpdump(Tcpdump::start(site)?),
            Self::Softflowd => Running::Softflowd(Softflowd::start(site)?),
            Self::Pmacct => Running::Pmacct(Pmacct::start(site)?),
        }))
    }
}

/// A sensor that sees packets.
pub enum Running {
    Netmon(Agent),
    Tcpdump(Tcpdump),
    Softflowd(Softflowd),
    Pmacct(Pmacct),
}

/// What a sensor says of itself.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// Packets.
    pub seen: u64,
    /// Packets that the kernel had no room for, where it is told.
    pub dropped: Option<u64>,
}

impl Running {
    /// The group of its processes.
    pub fn group(&self) -> u32 {
        match self {
            Self::Netmon(agent) => agent.id(),
            Self::Tcpdump(tcpdump) => tcpdump.id(),
            Self::Softflowd(softflowd) => softflowd.id(),
            Self::Pmacct(pmacct) => pmacct.id(),
        }
    }

    /// Asks it and stops it. `arrived`: as many packets as it can have seen.
    pub fn finish(self, arrived: u64) -> Result<Claim> {
        match self {
            Self::Netmon(agent) => {
                let seen = agent.seen(arrived)?;
                agent.stop()?;
                Ok(Claim {
                    seen,
                    dropped: None,
                })
            }
            Self::Tcpdump(tcpdump) => tcpdump.finish(),
            Self::Softflowd(softflowd) => softflowd.finish(),
            Self::Pmacct(pmacct) => pmacct.finish(),
        }
    }
}
