//! tcpdump(8), whose packets go nowhere.

use anyhow::Result;
use netmon_lab::{Signal, programs};

use crate::{
    contender::Claim,
    site::{INTERFACE, Site},
    tool::{Tool, number},
};

pub struct Tcpdump(Tool);

impl Tcpdump {
    pub fn start(site: &Site) -> Result<Self> {
        let mut command = site.place.command(programs::find("tcpdump")?);
        command.args(["-i", INTERFACE, "-n", "-w", "/dev/null"]);
        Tool::start(site, "tcpdump", command, "listening on").map(Self)
    }

    pub fn id(&self) -> u32 {
        self.0.id()
    }

    pub fn finish(mut self) -> Result<Claim> {
        self.0.end(Signal::SIGINT)?;
        let said = self.0.said();
        Ok(Claim {
            seen: number(&said, "packets captured")?,
            dropped: number(&said, "packets dropped by kernel").ok(),
        })
    }
}
