//! An agent at one place of a path, with an identity of its own and a way to the server beside the
//! path.

use std::{env, fs, path::Path, time::Duration};

use anyhow::{Context as _, Result, bail};
use netmon_lab::{
    Child, Namespace, Signal, identity,
    link::{End, Mac, add_address, veth},
    privileges, wait_until,
};

use crate::site::{HOOK, Site};

/// The cable that does not carry what is measured.
const MANAGEMENT: &str = "beside";

pub struct Observer {
    alias: &'static str,
    agent: Child,
}

/// Lays a cable from a place to the server's; gives the server's address at it.
pub fn connect(to: &Namespace, place: &Namespace, number: u8) -> Result<String> {
    let inside = End {
        place,
        name: MANAGEMENT,
        mac: Mac::local(0x20 + number),
    };
    let outside = End {
        place: to,
        name: &format!("{MANAGEMENT}{number}"),
        mac: Mac::local(0x30 + number),
    };
    veth(inside, outside)?;
    add_address(place, MANAGEMENT, &format!("198.19.{number}.1/24"))?;
    add_address(to, outside.name, &format!("198.19.{number}.254/24"))?;
    Ok(format!("198.19.{number}.254"))
}

impl Observer {
    /// Starts an agent that watches one interface of a place.
    pub fn start(
        site: &Site,
        alias: &'static str,
        place: &Namespace,
        server: &str,
        interface: &str,
    ) -> Result<Self> {
        let identity = site.path(&format!("identity-{alias}"));
        identity::issue(&site.data_dir(), alias, &identity)?;
        let spool = site.path(&format!("spool-{alias}"));
        fs::create_dir(&spool)?;
        privileges::give(&spool)?;
        let built = Path::new(env!("CARGO_BIN_EXE_netmon-agent"));
        let program = privileges::copy_into(site.folder.path(), built)?;
        let mut command = privileges::as_agent(|setpriv| place.command(setpriv), &program);
        command
            .args([
                "run",
                "--alias",
                alias,
                "--server",
                &format!("{server}:8082"),
            ])
            .args(["--include", interface, "--identity"])
            .arg(identity)
            .env("NETMON_AGENT__SPOOL__DIRECTORY", spool)
            .envs(env::var(HOOK).map(|hook| ("NETMON_AGENT__SENSOR__HOOK", hook)));
        site.log_to(&mut command, &format!("{alias}.log"))?;
        let agent = Child::spawn("netmon-agent", command, Signal::SIGTERM)?;
        Ok(Self { alias, agent })
    }

    /// Waits until so many answered requests are stored.
    pub fn wait_for_exchanges(&self, site: &Site, count: u64) -> Result<()> {
        let question = format!(
            "select count(*) from ntp_exchanges join agents using (agent_id) \
             where alias = '{}' and match = 'basic'",
            self.alias
        );
        wait_until(Duration::from_secs(60), "the agent to see NTP", || {
            let stored = site.sql_numbers(&question).ok()?;
            (stored[0] >= count).then_some(())
        })
        .with_context(|| site.log(&format!("{}.log", self.alias)))
    }

    /// Stops it as systemd would; everything it saw must be stored when it has exited.
    pub fn stop(mut self, site: &Site) -> Result<()> {
        self.agent.signal(Signal::SIGTERM)?;
        match self.agent.wait_for(Duration::from_secs(30))? {
            Some(status) if status.success() => Ok(()),
            other => bail!(
                "{} ended with {other:?}:\n{}",
                self.alias,
                site.log(&format!("{}.log", self.alias))
            ),
        }
    }
}
