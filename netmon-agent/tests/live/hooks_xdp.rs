//! Ingress by XDP, on drivers that have it and on others.

use anyhow::{Context as _, Result};
use aya::{
    Ebpf,
    programs::{Xdp, XdpMode},
};
use netmon_agent::sensor::PROGRAMS;
use netmon_lab::{link::ip_line, run, traffic, wait_until};

use crate::{
    bandwidth::{INTERFACE, exchange_traffic, of_the_database, of_the_kernel, peer},
    hooks::{HOOK, PATIENCE, counts, mode_is, ours, qdiscs, watched},
    site::{METRICS, Site, classifiers, has_tcx},
};

pub const XDP: &str = "NETMON_AGENT__SENSOR__XDP";
const XDP_GENERIC: &str = "NETMON_AGENT__SENSOR__XDP_GENERIC";

#[test]
fn xdp_counts_every_packet_and_sees_ntp() -> Result<()> {
    for hook in ["tcx", "clsact"] {
        if hook == "tcx" && !has_tcx("XDP with egress by TCX")? {
            continue;
        }
        let mut site = Site::with_server()?;
        let peer = peer(&site)?;
        site.agent_environment = vec![(HOOK, hook), (XDP, "[\"nm-*\"]")];
        site.start_agent(&["--include", INTERFACE])?;
        watched(&site, METRICS)?;
        mode_is(&site, "xdp_native")?;
        assert_eq!(ours(&site)?.len(), usize::from(hook == "clsact"));
        exchange_traffic(&site.namespace, &peer)?;
        let to_ntp = "198.18.0.1:123".parse()?;
        traffic::udp(&peer, &site.namespace, to_ntp, 100, 48)?;
        counts(&site, METRICS, || with_headers(&site))?;
        let events = site.metric(METRICS, "netmon_agent_ntp_packets_total")?;
        assert_eq!(events, 100.0, "{hook}");
        site.stop_agent()?;
        let kernel = with_headers(&site)?;
        assert_eq!(of_the_database(&site)?, kernel, "{hook}");
        assert_eq!(xdp_at(&site, INTERFACE)?, 0);
        assert_eq!(qdiscs(&site)?, 0);
    }
    Ok(())
}

#[test]
fn xdp_ends_with_a_killed_agent() -> Result<()> {
    let mut site = Site::with_server()?;
    let _peer = peer(&site)?;
    site.agent_environment = vec![(XDP, "[\"nm-a\"]")];
    site.start_agent(&["--include", INTERFACE])?;
    watched(&site, METRICS)?;
    let ours = xdp_at(&site, INTERFACE)?;
    assert_ne!(ours, 0);
    site.agent.take().context("an agent runs")?.kill()?;
    wait_until(PATIENCE, "the kernel to detach", || {
        (xdp_at(&site, INTERFACE).ok()? == 0).then_some(())
    })
}

#[test]
fn another_xdp_program_keeps_its_place() -> Result<()> {
    let mut site = Site::with_server()?;
    let peer = peer(&site)?;
    let _other = site.namespace.run_inside(|| {
        let mut ebpf = Ebpf::load(PROGRAMS)?;
        let program = ebpf.program_mut("netmon_xdp_ingress");
        let program = <&mut Xdp>::try_from(program.context("no program")?)?;
        program.load()?;
        program.attach(INTERFACE, XdpMode::Driver)?;
        Ok(ebpf)
    })?;
    let theirs = xdp_at(&site, INTERFACE)?;
    assert_ne!(theirs, 0);
    site.agent_environment = vec![(XDP, "[\"*\"]"), (XDP_GENERIC, "true")];
    site.start_agent(&["--include", INTERFACE])?;
    watched(&site, METRICS)?;
    mode_is(&site, classifiers()?)?;
    let log = site.log("agent.log");
    assert!(log.contains("another XDP program is there"), "{log}");
    exchange_traffic(&site.namespace, &peer)?;
    counts(&site, METRICS, || with_headers(&site))?;
    site.stop_agent()?;
    assert_eq!(xdp_at(&site, INTERFACE)?, theirs);
    Ok(())
}

#[test]
fn a_driver_without_xdp_is_watched_all_the_same() -> Result<()> {
    for (generic, expected) in [("false", classifiers()?), ("true", "xdp_generic")] {
        let mut site = Site::with_server()?;
        ip_line(&site.namespace, &["link", "add", "nm-br", "type", "bridge"])?;
        ip_line(&site.namespace, &["link", "set", "nm-br", "up"])?;
        site.agent_environment = vec![(XDP, "[\"nm-br\"]"), (XDP_GENERIC, generic)];
        site.start_agent(&["--include", "nm-br"])?;
        watched(&site, METRICS)?;
        mode_is(&site, expected)?;
        let warned = site.log("agent.log").contains("no native XDP");
        assert_eq!(warned, generic == "false");
        site.stop_agent()?;
        assert_eq!(xdp_at(&site, "nm-br")?, 0);
    }
    Ok(())
}

/// The kernel's counters of a veth with native XDP, which leave out the Ethernet header of what is
/// received, at both ends (`veth_xdp_rcv_skb` counts what is behind it).
pub fn with_headers(site: &Site) -> Result<Vec<u64>> {
    const HEADER_BYTES: u64 = 14;
    let mut kernel = of_the_kernel(site)?;
    kernel[1] += HEADER_BYTES * kernel[0];
    Ok(kernel)
}

/// The number of the XDP program at an interface, 0 if there is none.
fn xdp_at(site: &Site, interface: &str) -> Result<u64> {
    let show = ["-details", "-json", "link", "show", "dev", interface];
    let shown = run(site.agent_namespace.command("ip").args(show))?;
    let links: serde_json::Value = serde_json::from_str(&shown)?;
    Ok(links[0]["xdp"]["prog"]["id"].as_u64().unwrap_or(0))
}
