//! Two agents at the same interface: each counts everything.

use anyhow::{Context as _, Result};
use netmon_lab::{Child, Signal, traffic};

use crate::{
    bandwidth::{INTERFACE, exchange_traffic, of_the_kernel, peer},
    hooks::{HOOK, PATIENCE, counts, ours, qdiscs, watched},
    site::{METRICS, Site, has_tcx},
};

/// Another agent's metrics.
const OTHER_METRICS: u16 = 9643;

#[test]
fn two_agents_side_by_side_both_count_everything_by_tcx() -> Result<()> {
    side_by_side("tcx", "tcx")
}

#[test]
fn two_agents_side_by_side_both_count_everything_by_classic_filters() -> Result<()> {
    side_by_side("clsact", "clsact")
}

#[test]
fn two_agents_side_by_side_both_count_everything_by_either() -> Result<()> {
    side_by_side("tcx", "clsact")
}

fn side_by_side(one: &'static str, another: &'static str) -> Result<()> {
    if one == "tcx" && !has_tcx("two agents side by side, one by TCX")? {
        return Ok(());
    }
    let mut site = Site::with_server()?;
    let peer = peer(&site)?;
    site.agent_environment = vec![(HOOK, one)];
    site.start_agent(&["--include", INTERFACE])?;
    let mut other = start_other(&mut site, another)?;
    watched(&site, METRICS)?;
    watched(&site, OTHER_METRICS)?;
    exchange_traffic(&site.namespace, &peer)?;
    for port in [METRICS, OTHER_METRICS] {
        counts_all(&site, port)?;
    }
    // One dies: the other has lost nothing, and neither has who comes next.
    site.agent.take().context("an agent runs")?.kill()?;
    traffic::ping(&peer, "198.18.0.1".parse()?, 20, 56)?;
    counts_all(&site, OTHER_METRICS)?;
    site.start_agent(&["--include", INTERFACE])?;
    watched(&site, METRICS)?;
    traffic::ping(&peer, "198.18.0.1".parse()?, 20, 56)?;
    counts_all(&site, OTHER_METRICS)?;
    // The other ends properly: what it has made is gone, and nothing else.
    other.signal(Signal::SIGTERM)?;
    other.wait_for(PATIENCE)?.context("it does not end")?;
    assert_eq!(ours(&site)?.len(), if one == "clsact" { 2 } else { 0 });
    site.stop_agent()?;
    assert_eq!(ours(&site)?, Vec::<String>::new());
    assert_eq!(qdiscs(&site)?, 0);
    Ok(())
}

/// A second agent at the same interface, of no server.
fn start_other(site: &mut Site, hook: &str) -> Result<Child> {
    let servers = std::mem::replace(&mut site.servers, vec!["127.0.0.1:1".to_owned()]);
    let listen = format!("127.0.0.1:{OTHER_METRICS}");
    let arguments = ["--include", INTERFACE, "--metrics-listen", &listen];
    let command = site.agent_command("run", &arguments);
    site.servers = servers;
    let mut command = command?;
    command
        .env(HOOK, hook)
        .env("NETMON_AGENT__SPOOL__DIRECTORY", "")
        .env("NETMON_AGENT__SHUTDOWN_TIMEOUT", "0s");
    site.log_to(&mut command, "other.log")?;
    Child::spawn("the other agent", command, Signal::SIGTERM)
}

/// The agent's counters are the kernel's. Neighbours ask after each other now and then: it may take
/// a second look.
fn counts_all(site: &Site, port: u16) -> Result<()> {
    counts(site, port, || of_the_kernel(site))
}
