//! softflowd(8), which exports to nobody.

use std::{net::UdpSocket, path::PathBuf};

use anyhow::{Context as _, Result};
use netmon_lab::{Namespace, programs, run};

use crate::{
    contender::Claim,
    site::{INTERFACE, Site},
    tool::{Tool, number},
};

pub struct Softflowd {
    tool: Tool,
    control: PathBuf,
    place: Namespace,
    /// A collector that reads nothing: no ICMP goes back.
    _collector: UdpSocket,
}

impl Softflowd {
    pub fn start(site: &Site) -> Result<Self> {
        let collector = site
            .place
            .run_inside(|| UdpSocket::bind("127.0.0.1:0").context("cannot bind"))?;
        let control = site.path("softflowd.ctl");
        let mut command = site.place.command(programs::find("softflowd")?);
        command
            .args(["-d", "-i", INTERFACE, "-v", "9", "-n"])
            .arg(collector.local_addr()?.to_string())
            .arg("-c")
            .arg(&control)
            .arg("-p")
            .arg(site.path("softflowd.pid"));
        Ok(Self {
            tool: Tool::start(site, "softflowd", command, "starting data collection")?,
            control,
            place: site.place.clone(),
            _collector: collector,
        })
    }

    pub fn id(&self) -> u32 {
        self.tool.id()
    }

    pub fn finish(mut self) -> Result<Claim> {
        let said = self.ask("statistics")?;
        self.ask("shutdown")?;
        self.tool.wait()?;
        Ok(Claim {
            seen: number(&said, "Packets processed")?,
            dropped: number(&said, "Packets dropped by libpcap").ok(),
        })
    }

    fn ask(&self, word: &str) -> Result<String> {
        let mut control = self.place.command(programs::find("softflowctl")?);
        run(control.arg("-c").arg(&self.control).arg(word))
    }
}
