//! SIGHUP: the watch list is read again, or there is nothing to read again.

use std::{
    fs::{self, File},
    net::SocketAddr,
};

use anyhow::{Context as _, Result};
use netmon_lab::{Signal, traffic, wait_until};

use crate::{
    flows::{HERE, PATIENCE, many_flows, site_with, sum},
    site::{METRICS, Site},
    watch::listed,
};

fn hang_up(site: &mut Site) -> Result<()> {
    let agent = site.agent.as_mut().context("an agent runs")?;
    agent.signal(Signal::SIGHUP)
}

#[test]
fn sighup_without_a_watch_list_changes_nothing() -> Result<()> {
    let mut site = Site::with_server()?;
    site.start_agent(&[])?;
    for told in 1..=2 {
        hang_up(&mut site)?;
        wait_until(PATIENCE, "the agent to say so", || {
            let log = site.log("agent.log");
            (log.matches("no watch.file is set").count() >= told).then_some(())
        })?;
    }
    let connected = site.metric(METRICS, "netmon_agent_uplink_connected")?;
    assert_eq!(connected, 1.0);
    site.stop_agent()
}

#[test]
fn sighup_reads_a_watch_list_again_that_looks_the_same() -> Result<()> {
    let (mut site, peer) = site_with(&[])?;
    let list = listed(&mut site);
    fs::write(&list, "203.0.113.7\n")?;
    site.start_agent(&[])?;
    many_flows(&peer, &site, 3)?;
    assert_eq!(sum(&site, "watch_hits_total", "")?, 0);

    // Of the same length and time as before: nobody who only looks sees a change.
    let modified = fs::metadata(&list)?.modified()?;
    let beside = site.path("watch.new");
    fs::write(&beside, "198.18.0.2 \n")?;
    File::options()
        .write(true)
        .open(&beside)?
        .set_modified(modified)?;
    fs::rename(&beside, &list)?;
    assert_eq!(sum(&site, "watch_reloads_total", "used")?, 1);
    hang_up(&mut site)?;
    wait_until(PATIENCE, "the list to be read", || {
        (sum(&site, "watch_reloads_total", "used").ok()? == 2).then_some(())
    })?;
    let to = SocketAddr::new(HERE.parse()?, 30_000);
    traffic::udp(&peer, &site.namespace, to, 3, 100)?;
    wait_until(PATIENCE, "a hit", || {
        (sum(&site, "watch_hits_total", "").ok()? >= 1).then_some(())
    })?;

    fs::write(&list, "198.18.0.2\nnobody\n")?;
    hang_up(&mut site)?;
    wait_until(PATIENCE, "the wrong list to be refused", || {
        (sum(&site, "watch_reloads_total", "failed").ok()? >= 1).then_some(())
    })?;
    assert_eq!(sum(&site, "watch_entries", "")?, 1);
    site.stop_agent()
}
