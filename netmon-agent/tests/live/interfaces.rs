//! Interfaces that come and go, and agents that go.

use std::{fs, thread, time::Duration};

use anyhow::{Context as _, Result};
use aya::programs::{SchedClassifier, TcAttachType};
use netmon_lab::{
    InterfaceStatistics, Namespace,
    link::{add_address, delete, ip_line},
    traffic, wait_until,
};

use crate::{
    bandwidth::{INTERFACE, of_the_database, of_the_kernel, peer},
    flows::{balanced, of_interface, site_with, sum},
    hooks::ours,
    site::{METRICS, Site, classifiers, uses_tcx},
};

const PAIRS: usize = 100;
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn a_hundred_pairs_come_and_go_without_a_trace() -> Result<()> {
    let site = Site::start(&[])?;
    let agent = site.agent.as_ref().context("an agent runs")?.id();
    let watched = || site.metric(METRICS, "netmon_agent_interfaces_watched").ok();
    let map_entries = || site.metric(METRICS, "netmon_agent_map_entries").ok();
    assert_eq!(watched(), Some(0.0));
    let descriptors = open_descriptors(agent)?;
    for round in 0..2 {
        for number in 0..PAIRS {
            // One end with an index beyond the counters' array, one within.
            let (name, peer) = (format!("nm-{number}"), format!("nm-p{number}"));
            let index = (5000 + round * PAIRS + number).to_string();
            let pair = [
                "link", "add", &name, "index", &index, "type", "veth", "peer", "name", &peer,
            ];
            ip_line(&site.namespace, &pair)?;
            ip_line(&site.namespace, &["link", "set", &name, "up"])?;
            ip_line(&site.namespace, &["link", "set", &peer, "up"])?;
        }
        let all = 2.0 * PAIRS as f64;
        wait_until(PATIENCE, "all to be watched", || {
            (watched()? == all).then_some(())
        })
        .with_context(|| format!("round {round}, watched {:?}", watched()))?;
        wait_until(PATIENCE, "the high indices to be in the hash", || {
            (map_entries()? == all).then_some(())
        })?;
        for number in 0..PAIRS {
            delete(&site.namespace, &format!("nm-{number}"))?;
        }
        wait_until(PATIENCE, "none to be watched", || {
            (watched()? == 0.0).then_some(())
        })?;
    }
    wait_until(PATIENCE, "the counters to be removed", || {
        (map_entries()? == 0.0).then_some(())
    })?;
    wait_until(PATIENCE, "the file descriptors to be closed", || {
        (open_descriptors(agent).ok()? <= descriptors).then_some(())
    })
    .with_context(|| format!("{descriptors} before, {:?} now", open_descriptors(agent)))?;
    let stored = wait_until(PATIENCE, "the server to know", || {
        let names = site
            .sql_numbers("select count(*) from interfaces where not monitored")
            .ok()?;
        (names == [2 * PAIRS as u64]).then_some(names)
    });
    stored.map(|_| ())
}

#[test]
fn an_interface_with_a_high_index_is_counted_like_any_other() -> Result<()> {
    let mut site = Site::with_server()?;
    let peer = Namespace::new()?;
    let path = peer.path();
    let path = path.to_str().context("a plain path")?;
    let pair = [
        "link", "add", INTERFACE, "index", "70000", "type", "veth", "peer", "name", "nm-b",
    ];
    ip_line(&site.namespace, &[&pair[..], &["netns", path]].concat())?;
    address_both(&site.namespace, &peer)?;
    site.start_agent(&[])?;
    traffic::ping(&peer, "198.18.0.1".parse()?, 20, 56)?;
    site.stop_agent()?;
    let kernel = of_the_kernel(&site)?;
    assert!(kernel[0] >= 20, "{kernel:?}");
    let counted = of_the_database(&site)?;
    assert!(
        counted[0] >= 20 && counted[0] <= kernel[0],
        "{counted:?} of {kernel:?}"
    );
    Ok(())
}

pub fn address_both(here: &Namespace, there: &Namespace) -> Result<()> {
    for (place, name, address) in [
        (here, INTERFACE, "198.18.0.1/24"),
        (there, "nm-b", "198.18.0.2/24"),
    ] {
        ip_line(place, &["link", "set", name, "up"])?;
        add_address(place, name, address)?;
    }
    Ok(())
}

#[test]
fn joining_and_leaving_a_bridge_interrupts_nothing() -> Result<()> {
    let mut site = Site::with_server()?;
    let peer = peer(&site)?;
    site.start_agent(&["--include", INTERFACE])?;
    ip_line(&site.namespace, &["link", "add", "nm-br", "type", "bridge"])?;
    ip_line(&site.namespace, &["link", "set", "nm-br", "up"])?;
    for change in [&["master", "nm-br"][..], &["nomaster"]] {
        traffic::ping(&peer, "198.18.0.1".parse()?, 20, 56)?;
        let words = [&["link", "set", INTERFACE][..], change].concat();
        ip_line(&site.namespace, &words)?;
        thread::sleep(Duration::from_millis(300));
    }
    traffic::ping(&peer, "198.18.0.1".parse()?, 20, 56)?;
    site.stop_agent()?;
    assert_eq!(of_the_database(&site)?, of_the_kernel(&site)?);
    Ok(())
}

#[test]
fn a_renamed_interface_keeps_every_packet() -> Result<()> {
    let mut site = Site::with_server()?;
    let peer = peer(&site)?;
    site.start_agent(&[])?;
    traffic::ping(&peer, "198.18.0.1".parse()?, 20, 56)?;
    // The kernel renames interfaces that are up since 6.2 (commit bd039b5ea2a9).
    ip_line(
        &site.namespace,
        &["link", "set", INTERFACE, "name", "nm-new"],
    )?;
    traffic::ping(&peer, "198.18.0.1".parse()?, 20, 56)?;
    site.stop_agent()?;
    let stored = site.sql_numbers("select sum(ingress_packets) from bandwidth_samples")?;
    let kernel = InterfaceStatistics::read(&site.namespace, "nm-new")?;
    assert_eq!(stored, [kernel.rx_packets]);
    let names = site.sql("select string_agg(distinct interface, ' ') from bandwidth_stats")?;
    assert_eq!(names, format!("{INTERFACE} nm-new"));
    Ok(())
}

#[test]
fn a_killed_agent_leaves_no_program_behind() -> Result<()> {
    let mut site = Site::with_server()?;
    let _peer = peer(&site)?;
    site.start_agent(&[])?;
    wait_until(PATIENCE, "the interface to be watched", || {
        (site
            .metric(METRICS, "netmon_agent_interfaces_watched")
            .ok()?
            == 1.0)
            .then_some(())
    })?;
    assert_eq!(attached(&site)?, [1, 1]);
    site.agent.take().context("an agent runs")?.kill()?;
    if !uses_tcx("the end of links with a killed agent")? {
        return Ok(());
    }
    wait_until(PATIENCE, "the kernel to detach", || {
        (attached(&site).ok()? == [0, 0]).then_some(())
    })
}

#[test]
fn an_interface_that_goes_down_and_up_is_watched_again() -> Result<()> {
    let mut site = Site::with_server()?;
    let _peer = peer(&site)?;
    site.start_agent(&[])?;
    for (state, programs) in [("down", [0, 0]), ("up", [1, 1])] {
        ip_line(&site.namespace, &["link", "set", INTERFACE, state])?;
        wait_until(PATIENCE, state, || {
            (attached(&site).ok()? == programs).then_some(())
        })?;
    }
    Ok(())
}

#[test]
fn an_interface_that_comes_back_begins_with_no_flows() -> Result<()> {
    // Between going and coming nothing is drained.
    let (mut site, peer) = site_with(&[("NETMON_AGENT__FLOWS__DRAIN_INTERVAL", "3s")])?;
    site.start_agent(&["--include", INTERFACE])?;
    let send = |packets| {
        let to = "198.18.0.1:9".parse()?;
        traffic::udp(&peer, &site.namespace, to, packets, 100)
    };
    send(500)?;
    wait_until(PATIENCE, "its packets to be counted", || {
        (of_interface(&site, "interface_packets_total").ok()? >= 500).then_some(())
    })?;
    for (state, programs) in [("down", [0, 0]), ("up", [1, 1])] {
        ip_line(&site.namespace, &["link", "set", INTERFACE, state])?;
        wait_until(PATIENCE, state, || {
            (attached(&site).ok()? == programs).then_some(())
        })?;
    }
    send(100)?;
    balanced(&site, 100)?;
    let counted = of_interface(&site, "interface_packets_total")?;
    assert!(counted < 500, "from zero on: {counted}");
    assert_eq!(sum(&site, "flow_unaccounted_packets_total", "")?, 0);
    site.stop_agent()
}

#[test]
fn addresses_that_come_and_go_decide_where_a_prefix_is_given() -> Result<()> {
    let mut site = Site::with_server()?;
    let _peer = peer(&site)?;
    site.start_agent(&[
        "--interface-cidr",
        "203.0.113.0/24",
        "--interface-cidr",
        "2001:db8::/32",
    ])?;
    // Up, but with 198.18.0.1 only.
    assert_eq!(attached(&site)?, [0, 0]);
    for address in ["203.0.113.1/25", "2001:db8::1/64"] {
        add_address(&site.namespace, INTERFACE, address)?;
        wait_until(PATIENCE, "the interface to be watched", || {
            (attached(&site).ok()? == [1, 1]).then_some(())
        })?;
        let gone = ["address", "delete", address, "dev", INTERFACE];
        ip_line(&site.namespace, &gone)?;
        wait_until(PATIENCE, "the interface to be left alone", || {
            (attached(&site).ok()? == [0, 0]).then_some(())
        })?;
    }
    Ok(())
}

#[test]
fn an_index_that_is_used_again_is_another_interface() -> Result<()> {
    let mut site = Site::with_server()?;
    site.start_agent(&["--include", "nm-first", "--include", "nm-second"])?;
    for name in ["nm-first", "nm-second"] {
        let peer = Namespace::new()?;
        let path = peer.path();
        let path = path.to_str().context("a plain path")?;
        let pair = [
            "link", "add", name, "index", "700", "type", "veth", "peer", "name", "nm-b", "netns",
            path,
        ];
        ip_line(&site.namespace, &pair)?;
        for (place, name, address) in [
            (&site.namespace, name, "198.18.0.1/24"),
            (&peer, "nm-b", "198.18.0.2/24"),
        ] {
            ip_line(place, &["link", "set", name, "up"])?;
            add_address(place, name, address)?;
        }
        let series = format!(
            "netmon_agent_interface_packets_total{{direction=\"ingress\",interface=\"{name}\"}}"
        );
        wait_until(PATIENCE, "the interface to be counted", || {
            site.metric(METRICS, &series).ok()
        })?;
        let before = site.metric(METRICS, &series)?;
        traffic::ping(&peer, "198.18.0.1".parse()?, 20, 56)?;
        wait_until(PATIENCE, "its packets to be counted", || {
            (site.metric(METRICS, &series).ok()? >= before + 20.0).then_some(())
        })?;
        delete(&site.namespace, name)?;
        wait_until(PATIENCE, "it to be forgotten", || {
            let (_, text) = site.get(METRICS, "/metrics").ok()?;
            (!text.contains(name)).then_some(())
        })?;
    }
    // Which looks into the books of both.
    site.stop_agent()
}

#[test]
fn another_link_layer_address_reaches_the_server_and_interrupts_nothing() -> Result<()> {
    let mut site = Site::with_server()?;
    let peer = peer(&site)?;
    site.start_agent(&[])?;
    traffic::ping(&peer, "198.18.0.1".parse()?, 20, 56)?;
    let mac = "02:6e:6d:00:00:77";
    ip_line(&site.namespace, &["link", "set", INTERFACE, "address", mac])?;
    // The other end must not send to the address there was.
    ip_line(&peer, &["neighbour", "flush", "dev", "nm-b"])?;
    traffic::ping(&peer, "198.18.0.1".parse()?, 20, 56)?;
    wait_until(PATIENCE, "the server to know", || {
        let known = site.sql("select encode(mac, 'hex') from interfaces").ok()?;
        (known == "026e6d000077").then_some(())
    })
    .with_context(|| {
        format!(
            "{:?}",
            site.sql("select encode(mac, 'hex') from interfaces")
        )
    })?;
    site.stop_agent()?;
    assert_eq!(of_the_database(&site)?, of_the_kernel(&site)?);
    Ok(())
}

/// How many programs hang on the interface, ingress and egress.
fn attached(site: &Site) -> Result<[usize; 2]> {
    if classifiers()? == "clsact" {
        let names = ours(site)?;
        let of = |direction| names.iter().filter(|name| name.contains(direction)).count();
        return Ok([of("netmon-ingress-"), of("netmon-egress-")]);
    }
    site.namespace.run_inside(|| {
        let count = |direction| -> Result<usize> {
            let (_, programs) = SchedClassifier::query_tcx(INTERFACE, direction)?;
            Ok(programs.len())
        };
        Ok([count(TcAttachType::Ingress)?, count(TcAttachType::Egress)?])
    })
}

/// Without segments of the spool: one of each kind is open from its first batch on.
pub fn open_descriptors(process: u32) -> Result<usize> {
    let mut open = 0;
    for entry in fs::read_dir(format!("/proc/{process}/fd"))? {
        // One that has been closed meanwhile is not open.
        let target = fs::read_link(entry?.path()).unwrap_or_default();
        open += usize::from(
            target
                .extension()
                .is_none_or(|extension| extension != "seg"),
        );
    }
    Ok(open)
}
