//! A bridge with its ports: every interface counts what crosses it, an NTP exchange is one row.

use std::{
    net::{SocketAddr, UdpSocket},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result};
use netmon_lab::{
    InterfaceStatistics, Namespace,
    link::{End, Mac, add_address, ip_line, veth},
    wait_until,
};

use crate::site::{METRICS, Site};

const BRIDGE: &str = "nm-br";
const PORTS: [&str; 2] = ["nm-p0", "nm-p1"];
const HOST: &str = "198.18.0.1";
const NEIGHBOURS: [&str; 2] = ["198.18.0.2", "198.18.0.3"];
pub const EXCHANGES: usize = 20;
const PATIENCE: Duration = Duration::from_secs(20);
const UNIX_EPOCH_IN_NTP_S: u64 = 2_208_988_800;

/// A bridge with the host's address, and a neighbour behind each of its two ports.
fn bridged() -> Result<(Site, [Namespace; 2])> {
    let site = Site::with_server()?;
    ip_line(&site.namespace, &["link", "add", BRIDGE, "type", "bridge"])?;
    ip_line(&site.namespace, &["link", "set", BRIDGE, "up"])?;
    add_address(&site.namespace, BRIDGE, &format!("{HOST}/24"))?;
    let neighbours = [Namespace::new()?, Namespace::new()?];
    for (number, (port, neighbour)) in PORTS.into_iter().zip(&neighbours).enumerate() {
        let number = u8::try_from(number)?;
        veth(
            End {
                place: &site.namespace,
                name: port,
                mac: Mac::local(0x10 + number),
            },
            End {
                place: neighbour,
                name: "nm-b",
                mac: Mac::local(0x20 + number),
            },
        )?;
        ip_line(&site.namespace, &["link", "set", port, "master", BRIDGE])?;
        add_address(
            neighbour,
            "nm-b",
            &format!("{}/24", NEIGHBOURS[usize::from(number)]),
        )?;
    }
    Ok((site, neighbours))
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let since = since.expect("the clock is right");
    let fraction = (u64::from(since.subsec_nanos()) << 32) / 1_000_000_000;
    (since.as_secs() + UNIX_EPOCH_IN_NTP_S) << 32 | fraction
}

fn packet(first: u8, stratum: u8, stamps: [u64; 4]) -> Vec<u8> {
    let mut packet = vec![first, stratum, 0, 0xe8];
    packet.extend_from_slice(&[0; 12]);
    packet.extend(stamps.iter().flat_map(|stamp| stamp.to_be_bytes()));
    packet
}

/// [`EXCHANGES`] requests with their responses, one after the other.
pub fn exchange(client: &Namespace, server: &Namespace, server_address: &str) -> Result<()> {
    let at = SocketAddr::new(server_address.parse()?, 123);
    let listener = server.run_inside(|| Ok(UdpSocket::bind(at)?))?;
    listener.set_read_timeout(Some(PATIENCE))?;
    let asker = client.run_inside(|| Ok(UdpSocket::bind("0.0.0.0:0")?))?;
    asker.set_read_timeout(Some(PATIENCE))?;
    thread::scope(|scope| {
        let serving = scope.spawn(move || -> Result<()> {
            let mut request = [0; 48];
            for _ in 0..EXCHANGES {
                let (_, client) = listener.recv_from(&mut request)?;
                let origin = u64::from_be_bytes(request[40..].try_into()?);
                let (received, sent) = (now(), now());
                let response = packet(0x24, 1, [received, origin, received, sent]);
                listener.send_to(&response, client)?;
            }
            Ok(())
        });
        for _ in 0..EXCHANGES {
            asker.send_to(&packet(0x23, 0, [0, 0, 0, now()]), at)?;
            let length = asker.recv(&mut [0; 48]).context("no response")?;
            anyhow::ensure!(length == 48);
        }
        serving.join().expect("serving does not panic")
    })
}

/// What became of [`EXCHANGES`] exchanges: each has one row, at `interface`.
pub fn one_row_each(mut site: Site, interface: &str, copies: usize) -> Result<()> {
    let series = "netmon_agent_ntp_unpaired_total{cause=\"duplicate_capture\"}";
    wait_until(PATIENCE, "the copies to be counted", || {
        (site.metric(METRICS, series).ok()? == copies as f64).then_some(())
    })
    .with_context(|| format!("{:?} of {copies} copies", site.metric(METRICS, series)))?;
    site.stop_agent()?;
    let rows = site
        .sql("select match, interface, count(*) from ntp_exchanges group by 1, 2 order by 1, 2")?;
    assert_eq!(rows, format!("basic|{interface}|{EXCHANGES}"));
    let measured = site.sql_numbers(
        "select count(*) from ntp_exchanges where response_time_ns > 0 and network_delay_ns is not null",
    )?;
    assert_eq!(measured, [EXCHANGES as u64]);
    Ok(())
}

#[test]
fn an_exchange_with_a_server_on_the_bridge_is_one_row() -> Result<()> {
    let (mut site, neighbours) = bridged()?;
    site.start_agent(&[])?;
    all_watched(&site)?;
    exchange(&neighbours[0], &site.namespace, HOST)?;
    one_row_each(site, BRIDGE, 2 * EXCHANGES)
}

#[test]
fn an_exchange_of_a_client_on_the_bridge_is_one_row() -> Result<()> {
    let (mut site, neighbours) = bridged()?;
    site.start_agent(&[])?;
    all_watched(&site)?;
    exchange(&site.namespace, &neighbours[0], NEIGHBOURS[0])?;
    one_row_each(site, PORTS[0], 2 * EXCHANGES)
}

#[test]
fn an_exchange_that_the_bridge_forwards_is_one_row_and_counted_at_both_ports() -> Result<()> {
    let (mut site, neighbours) = bridged()?;
    site.start_agent(&[])?;
    all_watched(&site)?;
    let before = PORTS.map(|port| InterfaceStatistics::read(&site.namespace, port));
    exchange(&neighbours[0], &neighbours[1], NEIGHBOURS[1])?;
    for (port, before) in PORTS.into_iter().zip(before) {
        let before = before?.rx_packets as f64;
        let series = format!(
            "netmon_agent_interface_packets_total{{direction=\"ingress\",interface=\"{port}\"}}"
        );
        wait_until(PATIENCE, "the port to have counted", || {
            let kernel = InterfaceStatistics::read(&site.namespace, port).ok()?;
            let counted = site.metric(METRICS, &series).ok()?;
            let crossed = kernel.rx_packets as f64 - before;
            (counted >= crossed && crossed >= EXCHANGES as f64).then_some(())
        })?;
    }
    one_row_each(site, PORTS[1], 2 * EXCHANGES)
}

fn all_watched(site: &Site) -> Result<()> {
    wait_until(PATIENCE, "bridge and ports to be watched", || {
        let watched = site.metric(METRICS, "netmon_agent_interfaces_watched");
        (watched.ok()? == 3.0).then_some(())
    })
}
