//! Flows against the interface's counters, and the watch list.

use std::{fs, net::SocketAddr, time::Duration};

use anyhow::Result;
use netmon_lab::{Namespace, traffic, wait_until};

use crate::{
    bandwidth::{INTERFACE, exchange_traffic, peer},
    site::{METRICS, Site},
};

const PATIENCE: Duration = Duration::from_secs(30);
const HERE: &str = "198.18.0.1";

/// The sum of all series of a family of the agent's that hold a text.
fn sum(site: &Site, family: &str, label: &str) -> Result<u64> {
    let (_, text) = site.get(METRICS, "/metrics")?;
    let prefix = format!("netmon_agent_{family}");
    let values = text
        .lines()
        .filter(|line| {
            let name = line.split(['{', ' ']).next();
            name == Some(prefix.as_str()) && line.contains(label)
        })
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    Ok(values.sum::<f64>() as u64)
}

fn of_interface(site: &Site, family: &str) -> Result<u64> {
    sum(site, family, &format!("interface=\"{INTERFACE}\""))
}

/// Flows and what belongs to none, beside what the interface has counted: packets, then bytes.
fn books(site: &Site) -> Result<[[u64; 2]; 2]> {
    Ok([
        [
            of_interface(site, "flow_packets_total")?
                + of_interface(site, "flow_untracked_packets_total")?,
            of_interface(site, "interface_packets_total")?,
        ],
        [
            of_interface(site, "flow_bytes_total")?
                + of_interface(site, "flow_untracked_bytes_total")?,
            of_interface(site, "interface_bytes_total")?,
        ],
    ])
}

fn balanced(site: &Site, at_least: u64) -> Result<()> {
    let last = std::cell::RefCell::new(None);
    let waited = wait_until(PATIENCE, "the books to balance", || {
        let books = books(site).ok()?;
        last.replace(Some(books));
        let balanced = books.iter().all(|[flows, counters]| flows == counters);
        (balanced && books[0][0] >= at_least).then_some(())
    });
    waited.map_err(|error| error.context(format!("{:?}\n{}", last.take(), site.log("agent.log"))))
}

/// A datagram to each of many ports: as many flows.
fn many_flows(peer: &Namespace, site: &Site, flows: u16) -> Result<()> {
    for port in 0..flows {
        let to = SocketAddr::new(HERE.parse()?, 20_000 + port);
        traffic::udp(peer, &site.namespace, to, 3, 100)?;
    }
    Ok(())
}

fn site_with(environment: &[(&'static str, &'static str)]) -> Result<(Site, Namespace)> {
    let mut site = Site::with_server()?;
    let peer = peer(&site)?;
    site.agent_environment
        .push(("NETMON_AGENT__FLOWS__DRAIN_INTERVAL", "300ms"));
    site.agent_environment.extend(environment);
    Ok((site, peer))
}

#[test]
fn flows_and_what_belongs_to_none_are_all_packets_of_the_interface() -> Result<()> {
    let (mut site, peer) = site_with(&[])?;
    site.start_agent(&[])?;
    exchange_traffic(&site.namespace, &peer)?;
    balanced(&site, 2000)?;
    assert_eq!(sum(&site, "flow_untracked_packets_total", "map_full")?, 0);
    assert_eq!(sum(&site, "flow_untracked_packets_total", "unparsed")?, 0);
    assert_eq!(sum(&site, "flow_events_lost_total", "")?, 0);
    let born = sum(&site, "flows_born_total", "")?;
    assert!(born >= 5, "two TCP, two UDP, one ping: {born}");
    assert!(sum(&site, "flow_events_total", "kind=\"new\"")? >= born);
    site.stop_agent()
}

#[test]
fn what_finds_no_room_in_the_kernels_map_is_counted() -> Result<()> {
    let (mut site, peer) = site_with(&[("NETMON_AGENT__FLOWS__MAX_ENTRIES", "16")])?;
    site.agent_environment
        .push(("NETMON_AGENT__FLOWS__DRAIN_INTERVAL", "5s"));
    site.start_agent(&[])?;
    many_flows(&peer, &site, 100)?;
    exchange_traffic(&site.namespace, &peer)?;
    balanced(&site, 2000)?;
    assert!(sum(&site, "flow_untracked_packets_total", "map_full")? > 0);
    assert!(sum(&site, "flow_map_entries", "ipv4")? <= 16);
    site.stop_agent()
}

#[test]
fn flows_that_are_switched_off_are_not_kept() -> Result<()> {
    let (mut site, peer) = site_with(&[("NETMON_AGENT__FLOWS__ENABLED", "false")])?;
    site.start_agent(&[])?;
    many_flows(&peer, &site, 3)?;
    wait_until(PATIENCE, "the packets to be counted", || {
        (of_interface(&site, "interface_packets_total").ok()? >= 9).then_some(())
    })?;
    assert_eq!(sum(&site, "flows_born_total", "")?, 0);
    assert_eq!(of_interface(&site, "flow_packets_total")?, 0);
    site.stop_agent()
}

#[test]
fn a_watch_list_is_in_force_at_once_when_its_file_changes() -> Result<()> {
    let (mut site, peer) = site_with(&[])?;
    let list = site.path("watch.txt");
    fs::write(&list, "# nobody here\n203.0.113.0/24\n2001:db8::/32\n")?;
    let path: &'static str = Box::leak(list.display().to_string().into_boxed_str());
    site.agent_environment
        .push(("NETMON_AGENT__WATCH__FILE", path));
    site.start_agent(&[])?;
    assert_eq!(sum(&site, "watch_entries", "")?, 2);
    many_flows(&peer, &site, 3)?;
    balanced(&site, 9)?;
    assert_eq!(sum(&site, "watch_hits_total", "")?, 0);

    fs::write(&list, "198.18.0.2 # the peer\n")?;
    wait_until(PATIENCE, "the new list to be in force", || {
        (sum(&site, "watch_entries", "").ok()? == 1).then_some(())
    })?;
    let to = SocketAddr::new(HERE.parse()?, 30_000);
    traffic::udp(&peer, &site.namespace, to, 3, 100)?;
    wait_until(PATIENCE, "a hit", || {
        (sum(&site, "watch_hits_total", "").ok()? >= 1).then_some(())
    })?;

    fs::write(&list, "198.18.0.2\nnobody\n")?;
    wait_until(PATIENCE, "the wrong list to be refused", || {
        let failed = sum(&site, "watch_reloads_total", "failed").ok()?;
        (failed == 1).then_some(())
    })?;
    assert_eq!(sum(&site, "watch_entries", "")?, 1);
    let log = site.log("agent.log");
    assert!(log.contains("line 2"), "{log}");
    site.stop_agent()
}
