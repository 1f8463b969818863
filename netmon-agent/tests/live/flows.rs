//! Flows against the interface's counters.

use std::{fs, net::SocketAddr, time::Duration};

use anyhow::Result;
use netmon_lab::{
    Namespace,
    frames::{ethernet, ipv4, udp},
    traffic, wait_until,
};

use crate::{
    bandwidth::{INTERFACE, exchange_traffic, peer},
    site::{METRICS, Site},
};

pub const PATIENCE: Duration = Duration::from_secs(30);
/// Two of TCP, two of UDP, a ping: the flows of [`exchange_traffic`].
pub const OF_EXCHANGE: u64 = 5;
pub const HERE: &str = "198.18.0.1";

/// The sum of all series of a family of the agent's that hold a text.
pub fn sum(site: &Site, family: &str, label: &str) -> Result<u64> {
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

pub fn of_interface(site: &Site, family: &str) -> Result<u64> {
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

/// Flows and what belongs to none become all packets and bytes that the interface has counted, and at
/// least so many packets.
pub fn balanced(site: &Site, at_least: u64) -> Result<()> {
    let last = std::cell::RefCell::new(None);
    let waited = wait_until(PATIENCE, "the books to balance", || {
        let books = books(site).ok()?;
        last.replace(Some(books));
        let balanced = books.iter().all(|[flows, counters]| flows == counters);
        (balanced && books[0][0] >= at_least).then_some(())
    });
    waited.map_err(|error| error.context(format!("{:?}\n{}", last.take(), site.log("agent.log"))))
}

/// Waits until the agent has seen so many flows. The books may balance before: over what it had read
/// of a part of the traffic.
pub fn born(site: &Site, flows: u64) -> Result<()> {
    wait_until(PATIENCE, "every flow to be seen", || {
        (sum(site, "flows_born_total", "").ok()? >= flows).then_some(())
    })
}

/// A datagram to each of many ports: as many flows.
pub fn many_flows(peer: &Namespace, site: &Site, flows: u16) -> Result<()> {
    for port in 0..flows {
        let to = SocketAddr::new(HERE.parse()?, 20_000 + port);
        traffic::udp(peer, &site.namespace, to, 3, 100)?;
    }
    Ok(())
}

/// A site without an agent yet, and a peer; both speak IPv4 only, so that no flow comes unasked.
pub fn site_with(environment: &[(&'static str, &'static str)]) -> Result<(Site, Namespace)> {
    let mut site = Site::with_server()?;
    let peer = peer(&site)?;
    for place in [&site.agent_namespace, &peer] {
        place.run_inside(|| Ok(fs::write("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1")?))?;
    }
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
    born(&site, OF_EXCHANGE)?;
    balanced(&site, 2000)?;
    assert_eq!(sum(&site, "flow_untracked_packets_total", "map_full")?, 0);
    assert_eq!(sum(&site, "flow_untracked_packets_total", "unparsed")?, 0);
    assert_eq!(sum(&site, "flow_events_lost_total", "")?, 0);
    let born = sum(&site, "flows_born_total", "")?;
    assert_eq!(born, OF_EXCHANGE, "both directions are one flow");
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
fn one_flow_on_every_cpu_at_once_keeps_its_totals() -> Result<()> {
    const FROM_EACH: u32 = 200_000;
    let (mut site, peer) = site_with(&[])?;
    site.start_agent(&["--include", INTERFACE])?;
    let packet = ipv4(17, 0, 0, &udp(40_000, 9, &[0x5a; 58]));
    let frame = ethernet(&[], 0x0800, &packet);
    let sent = traffic::from_every_cpu(&peer, "nm-b", &frame, FROM_EACH)?;
    println!("sent from each CPU: {sent:?}");
    assert!(sent.iter().all(|from_one| *from_one > 0), "{sent:?}");
    let sent: u64 = sent.iter().sum();
    balanced(&site, sent)?;
    // Nobody else sends IP here, and whatever is no IP is in no flow.
    assert_eq!(of_interface(&site, "flow_packets_total")?, sent);
    let octets = sent * frame.len() as u64;
    assert_eq!(of_interface(&site, "flow_bytes_total")?, octets);
    assert_eq!(sum(&site, "flows_born_total", "")?, 1);
    site.stop_agent()
}
