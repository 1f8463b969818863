//! Counters against the kernel's own, and the database against the counters.

use std::{net::SocketAddr, thread, time::Duration};

use anyhow::Result;
use netmon_lab::{
    InterfaceStatistics, Namespace,
    link::{End, Mac, add_address, veth},
    traffic, wait_until,
};

use crate::site::{HTTP, METRICS, Site};

pub const INTERFACE: &str = "nm-a";
const HERE: &str = "198.18.0.1";
const THERE: &str = "198.18.0.2";

/// A cable from the site to a peer.
pub fn peer(site: &Site) -> Result<Namespace> {
    let peer = Namespace::new()?;
    veth(
        End {
            place: &site.agent_namespace,
            name: INTERFACE,
            mac: Mac::local(1),
        },
        End {
            place: &peer,
            name: "nm-b",
            mac: Mac::local(2),
        },
    )?;
    add_address(&site.agent_namespace, INTERFACE, &format!("{HERE}/24"))?;
    add_address(&peer, "nm-b", &format!("{THERE}/24"))?;
    Ok(peer)
}

fn at(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(address.parse().expect("a literal address"), port)
}

/// TCP, UDP and ping, both ways.
pub fn exchange_traffic(site: &Namespace, peer: &Namespace) -> Result<()> {
    let patience = Duration::from_secs(20);
    traffic::tcp(peer, site, at(HERE, 5001), 20 << 20, patience)?;
    traffic::tcp(site, peer, at(THERE, 5001), 20 << 20, patience)?;
    traffic::udp(peer, site, at(HERE, 5002), 2000, 700)?;
    traffic::udp(site, peer, at(THERE, 5002), 2000, 1200)?;
    traffic::ping(peer, HERE.parse()?, 50, 56)
}

/// Packets and bytes, ingress then egress, as sysfs has them.
pub fn of_the_kernel(site: &Site) -> Result<Vec<u64>> {
    let s = InterfaceStatistics::read(&site.agent_namespace, INTERFACE)?;
    Ok(vec![s.rx_packets, s.rx_bytes, s.tx_packets, s.tx_bytes])
}

/// The same as the database sums it.
pub fn of_the_database(site: &Site) -> Result<Vec<u64>> {
    site.sql_numbers(&format!(
        "select coalesce(sum(ingress_packets), 0), coalesce(sum(ingress_bytes), 0), \
         coalesce(sum(egress_packets), 0), coalesce(sum(egress_bytes), 0) \
         from bandwidth_samples where interface = '{INTERFACE}'"
    ))
}

#[test]
fn counters_equal_sysfs_and_the_database_equals_the_counters() -> Result<()> {
    let mut site = Site::with_server()?;
    let peer = peer(&site)?;
    site.start_agent(&[])?;
    exchange_traffic(&site.namespace, &peer)?;
    // Two samples later the agent has read the last packet too.
    thread::sleep(Duration::from_millis(1200));
    let kernel = of_the_kernel(&site)?;
    assert!(
        kernel[0] > 2000 && kernel[3] > 20 << 20,
        "traffic flowed: {kernel:?}"
    );
    for (index, series) in [
        "interface_packets_total{direction=\"ingress\"",
        "interface_bytes_total{direction=\"ingress\"",
        "interface_packets_total{direction=\"egress\"",
        "interface_bytes_total{direction=\"egress\"",
    ]
    .into_iter()
    .enumerate()
    {
        let series = format!("netmon_agent_{series},interface=\"{INTERFACE}\"}}");
        assert_eq!(
            site.metric(METRICS, &series)? as u64,
            kernel[index],
            "{series}"
        );
    }
    wait_until(
        Duration::from_secs(10),
        "the server's metrics to tell the same",
        || (of_the_servers_metrics(&site).ok()? == kernel).then_some(()),
    )?;
    site.stop_agent()?;
    assert_eq!(
        of_the_kernel(&site)?,
        kernel,
        "nothing was sent in the meantime"
    );
    assert_eq!(
        of_the_database(&site)?,
        kernel,
        "nothing lost, nothing doubled"
    );
    let (points, _) = rest_sums(&site)?;
    assert_eq!(points, kernel, "REST tells the same");
    Ok(())
}

/// The same as the server's /metrics tells, from the newest live frame.
fn of_the_servers_metrics(site: &Site) -> Result<Vec<u64>> {
    [
        "ingress_packets",
        "ingress_bytes",
        "egress_packets",
        "egress_bytes",
    ]
    .into_iter()
    .map(|what| {
        let agent = &site.agent_id;
        let labels = format!("{{agent=\"{agent}\",interface=\"{INTERFACE}\"}}");
        Ok(site.metric(HTTP, &format!("netmon_interface_{what}_total{labels}"))? as u64)
    })
    .collect()
}

/// The sums of REST's points, and their number.
fn rest_sums(site: &Site) -> Result<(Vec<u64>, usize)> {
    let path = format!(
        "/api/v1/agents/{}/interfaces/{INTERFACE}/bandwidth?step=10s",
        site.agent_id
    );
    let answer = site.rest(&path)?;
    let points = answer["items"].as_array().cloned().unwrap_or_default();
    let sum = |direction: &str, what: &str| {
        points
            .iter()
            .filter_map(|point| point[direction][what].as_u64())
            .sum()
    };
    let sums = vec![
        sum("ingress", "packets"),
        sum("ingress", "bytes"),
        sum("egress", "packets"),
        sum("egress", "bytes"),
    ];
    Ok((sums, points.len()))
}

#[test]
fn segments_on_the_wire_are_told_from_socket_buffers() -> Result<()> {
    let mut site = Site::with_server()?;
    let peer = peer(&site)?;
    site.start_agent(&[])?;
    traffic::tcp(
        &site.namespace,
        &peer,
        at(THERE, 5001),
        20 << 20,
        Duration::from_secs(20),
    )?;
    site.stop_agent()?;
    let sums = site.sql_numbers(&format!(
        "select sum(egress_packets), sum(egress_bytes), sum(egress_wire_packets), \
         sum(egress_wire_bytes) from bandwidth_samples where interface = '{INTERFACE}'"
    ))?;
    let [packets, bytes, wire_packets, wire_bytes] = sums[..] else {
        unreachable!()
    };
    assert!(
        wire_packets > 2 * packets,
        "one buffer stands for many packets: {sums:?}"
    );
    // Every packet on the wire fits the MTU with its link-layer header.
    assert!(wire_bytes <= wire_packets * 1514, "{sums:?}");
    assert!(
        wire_bytes > bytes,
        "each segment repeats the headers: {sums:?}"
    );
    Ok(())
}
