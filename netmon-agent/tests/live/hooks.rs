//! What the tests of the hooks ask: how an interface is counted, what hangs there, and by whom.

use std::time::Duration;

use anyhow::{Context as _, Result};
use netmon_lab::{Namespace, http, run, wait_until};

use crate::{bandwidth::INTERFACE, site::Site};

pub const HOOK: &str = "NETMON_AGENT__SENSOR__HOOK";
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The server is told how the one watched interface is counted.
pub fn mode_is(site: &Site, mode: &str) -> Result<()> {
    let path = format!("/api/v1/agents/{}/live", site.agent_id);
    let expected = format!("\"attach_mode\":\"{mode}\"");
    wait_until(PATIENCE, "the mode to be told", || {
        let live = site.rest(&path).ok()?.to_string();
        live.contains(&expected).then_some(())
    })
    .with_context(|| format!("{mode}: {}", site.log("agent.log")))
}

pub fn watched(site: &Site, port: u16) -> Result<()> {
    wait_until(PATIENCE, "the interface to be watched", || {
        let series = "netmon_agent_interfaces_watched";
        let watched = http::metric(&site.agent_namespace, port, series).ok()?;
        (watched == 1.0).then_some(())
    })
    .with_context(|| site.log("agent.log"))
}

pub fn counts(site: &Site, port: u16, expected: impl Fn() -> Result<Vec<u64>>) -> Result<()> {
    let counted = || -> Result<Vec<u64>> {
        let mut counted = Vec::new();
        for direction in ["ingress", "egress"] {
            for what in ["packets", "bytes"] {
                let labels = format!("{{direction=\"{direction}\",interface=\"{INTERFACE}\"}}");
                let series = format!("netmon_agent_interface_{what}_total{labels}");
                counted.push(http::metric(&site.agent_namespace, port, &series)? as u64);
            }
        }
        Ok(counted)
    };
    wait_until(PATIENCE, "the agent's counters to be the kernel's", || {
        (counted().ok()? == expected().ok()?).then_some(())
    })
    .with_context(|| format!("{port}: {:?} of {:?}", counted(), expected()))
}

/// The names of agents' filters, both directions.
pub fn ours(site: &Site) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for direction in ["ingress", "egress"] {
        let show = ["filter", "show", "dev", INTERFACE, direction];
        let shown = tc(&site.agent_namespace, &show)?;
        let words = shown.split_whitespace();
        names.extend(
            words
                .filter(|word| word.starts_with("netmon-"))
                .map(str::to_owned),
        );
    }
    Ok(names)
}

/// How many clsact qdiscs the interface has.
pub fn qdiscs(site: &Site) -> Result<usize> {
    let shown = tc(&site.agent_namespace, &["qdisc", "show", "dev", INTERFACE])?;
    Ok(shown.matches("qdisc clsact").count())
}

/// tc(8) within a namespace; what it prints.
pub fn tc(place: &Namespace, words: &[&str]) -> Result<String> {
    run(place.command("tc").args(words))
}
