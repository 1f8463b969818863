//! Programs and counters that outlive the agent.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result};
use netmon_lab::{
    Mount, Mounts, Namespace, Signal,
    link::{delete, ip_line},
    run, traffic, wait_until,
};

use crate::{
    bandwidth::{INTERFACE, of_the_database, of_the_kernel, peer},
    flows::{of_interface, sum},
    interfaces::address_both,
    site::{METRICS, Site, open_folder, uses_tcx},
};

/// A site whose agent finds a BPF file system, and a peer.
pub fn pinned() -> Result<(Site, Namespace)> {
    let mut site = Site::with_server()?;
    let peer = peer(&site)?;
    let folder = site.path("bpf");
    open_folder(&folder)?;
    let mount = Mount {
        kind: "bpf",
        options: "mode=0777",
        at: &folder,
    };
    site.mounts = Some(Mounts::new(&site.namespace, &[mount])?);
    Ok((site, peer))
}

fn start(site: &mut Site) -> Result<()> {
    let directory = site.path("bpf/netmon");
    site.agent_environment = vec![
        ("NETMON_AGENT__SENSOR__PIN", "true"),
        (
            "NETMON_AGENT__SENSOR__PIN_DIRECTORY",
            Box::leak(directory.display().to_string().into_boxed_str()),
        ),
        ("NETMON_AGENT__FRAME_INTERVAL", "1s"),
        ("NETMON_AGENT__FLOWS__DRAIN_INTERVAL", "300ms"),
    ];
    site.start_agent(&["--include", "nm-a"])?;
    wait_until(
        Duration::from_secs(10),
        "the interface to be watched",
        || {
            let watched = site
                .metric(METRICS, "netmon_agent_interfaces_watched")
                .ok()?;
            (watched == 1.0).then_some(())
        },
    )
}

fn send(site: &Site, peer: &Namespace, count: u32) -> Result<()> {
    traffic::udp(peer, &site.namespace, "198.18.0.1:0".parse()?, count, 400)?;
    Ok(())
}

#[test]
fn counting_goes_on_while_agents_are_killed_stopped_and_started() -> Result<()> {
    if !uses_tcx("counting by pinned programs")? {
        return Ok(());
    }
    let (mut site, peer) = pinned()?;
    start(&mut site)?;
    send(&site, &peer, 300)?;
    let mut agent = site.agent.take().context("an agent runs")?;
    agent.kill()?;
    send(&site, &peer, 200)?;
    start(&mut site)?;
    send(&site, &peer, 100)?;
    site.stop_agent()?;
    send(&site, &peer, 50)?;
    start(&mut site)?;
    site.stop_agent()?;
    let kernel = of_the_kernel(&site)?;
    assert!(kernel[0] >= 650, "what was sent: {kernel:?}");
    assert_eq!(
        of_the_database(&site)?,
        kernel,
        "nothing missed, nothing doubled"
    );
    assert_eq!(site.sql("select count(*) from sensor_gaps")?, "0");
    assert_eq!(
        site.sql("select count(distinct attachment) from bandwidth_stats")?,
        "1",
        "the same attachment all the time"
    );
    Ok(())
}

#[test]
fn what_belongs_to_no_flow_is_counted_by_the_next_agent_whatever_the_index() -> Result<()> {
    if !uses_tcx("flows of pinned programs")? {
        return Ok(());
    }
    let (mut site, peer) = pinned()?;
    // Beyond the array of low indices.
    delete(&peer, "nm-b")?;
    let path = peer.path();
    let path = path.to_str().context("a plain path")?;
    let pair = [
        "link", "add", INTERFACE, "index", "700", "type", "veth", "peer", "name", "nm-b", "netns",
        path,
    ];
    ip_line(&site.namespace, &pair)?;
    address_both(&site.namespace, &peer)?;
    start(&mut site)?;
    send(&site, &peer, 30)?;
    site.stop_agent()?;
    start(&mut site)?;
    // Whose answers are neither IPv4 nor IPv6.
    for place in [&site.namespace, &peer] {
        ip_line(place, &["neighbour", "flush", "all"])?;
    }
    send(&site, &peer, 20)?;
    wait_until(Duration::from_secs(10), "flows and what is none", || {
        let flows = of_interface(&site, "flow_packets_total").ok()?;
        let untracked = of_interface(&site, "flow_untracked_packets_total").ok()?;
        (flows >= 20 && untracked > 0).then_some(())
    })
    .with_context(|| site.log("agent.log"))?;
    assert_eq!(sum(&site, "map_read_failures_total", "")?, 0);
    site.stop_agent()
}

#[test]
fn counters_without_a_spool_to_go_on_from_are_a_gap() -> Result<()> {
    if !uses_tcx("pinned counters without a spool")? {
        return Ok(());
    }
    let (mut site, peer) = pinned()?;
    start(&mut site)?;
    send(&site, &peer, 100)?;
    site.stop_agent()?;
    let last_seen = of_the_kernel(&site)?[0];
    send(&site, &peer, 100)?;
    let unseen = of_the_kernel(&site)?[0] - last_seen;
    fs::remove_dir_all(site.spool()?)?;
    start(&mut site)?;
    send(&site, &peer, 30)?;
    site.stop_agent()?;
    let expected = of_the_kernel(&site)?[0] - unseen;
    assert_eq!(
        of_the_database(&site)?[0],
        expected,
        "what passed unseen is not made up"
    );
    Ok(())
}

#[test]
fn unpin_ends_the_counting() -> Result<()> {
    if !uses_tcx("the end of counting by pinned programs")? {
        return Ok(());
    }
    let (mut site, peer) = pinned()?;
    start(&mut site)?;
    site.stop_agent()?;
    let mut unpin = site.agent_command("unpin", &[])?;
    unpin.env(
        "NETMON_AGENT__SENSOR__PIN_DIRECTORY",
        site.path("bpf/netmon"),
    );
    let said = run(&mut unpin)?;
    assert!(said.starts_with("removed 6 pinned objects"), "{said}");
    send(&site, &peer, 100)?;
    start(&mut site)?;
    site.stop_agent()?;
    assert_eq!(of_the_database(&site)?[0], 0, "nobody counted");
    Ok(())
}

#[test]
fn a_second_agent_does_not_take_over_what_the_first_has_pinned() -> Result<()> {
    let (mut site, _peer) = pinned()?;
    start(&mut site)?;
    let mut second = site.agent_command("unpin", &[])?;
    second.env(
        "NETMON_AGENT__SENSOR__PIN_DIRECTORY",
        site.path("bpf/netmon"),
    );
    let error = run(&mut second).unwrap_err().to_string();
    assert!(error.contains("another agent"), "{error}");
    let mut agent = site.agent.take().context("an agent runs")?;
    agent.signal(Signal::SIGTERM)
}
