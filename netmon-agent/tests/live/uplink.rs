//! The connection to the server when the network changes under it.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use netmon_lab::{
    Namespace,
    link::{End, Mac, add_address, ip_line, veth},
    wait_until,
};

use crate::{
    bandwidth::peer,
    outages::{balanced, under_traffic},
    site::{HTTP, METRICS, Site},
    uplink_nat::Nat,
};

const AGENTS_SIDE: &str = "up-a";
const SERVERS_SIDE: &str = "up-s";
const SERVER: &str = "198.18.1.254";

/// A site whose agent reaches its server over a cable only.
fn apart() -> Result<Site> {
    let mut site = Site::with_server()?;
    site.agent_namespace = Namespace::new()?;
    veth(
        End {
            place: &site.agent_namespace,
            name: AGENTS_SIDE,
            mac: Mac::local(11),
        },
        End {
            place: &site.namespace,
            name: SERVERS_SIDE,
            mac: Mac::local(12),
        },
    )?;
    add_address(&site.agent_namespace, AGENTS_SIDE, "198.18.1.1/24")?;
    add_address(&site.namespace, SERVERS_SIDE, &format!("{SERVER}/24"))?;
    site.servers = vec![format!("{SERVER}:8082")];
    Ok(site)
}

/// Changes the network under a connected agent while there is something to count; gives the other
/// end of the cable whose packets are counted.
fn under_way(site: &mut Site, change: impl FnOnce(&mut Site) -> Result<()>) -> Result<Namespace> {
    let peer = peer(site)?;
    site.agent_environment = vec![("NETMON_AGENT__FRAME_INTERVAL", "1s")];
    site.start_agent(&[])?;
    let place = site.agent_namespace.clone();
    under_traffic(&place, &peer, || {
        thread::sleep(Duration::from_secs(2));
        change(site)?;
        thread::sleep(Duration::from_secs(2));
        Ok(())
    })?;
    Ok(peer)
}

/// Connections on which the agent has introduced itself.
fn handshakes(site: &Site) -> Result<f64> {
    site.metric(HTTP, "netmon_server_agent_connections_total")
}

fn rebinds(site: &Site, cause: &str) -> Result<f64> {
    let series = format!("netmon_agent_uplink_rebinds_total{{cause=\"{cause}\"}}");
    site.metric(METRICS, &series)
}

/// Waits until something sent from now on has been stored.
fn stores_on(site: &Site) -> Result<()> {
    let stored = || {
        let series = "netmon_agent_batches_total{state=\"stored\"}";
        site.metric(METRICS, series)
    };
    let before = stored()?;
    wait_until(Duration::from_secs(12), "batches to be stored", || {
        (stored().ok()? >= before + 2.0).then_some(())
    })
}

/// Waits until the connection's packets are of such a length.
fn path_mtu_becomes(site: &Site, is_right: impl Fn(f64) -> bool) -> Result<()> {
    wait_until(Duration::from_secs(20), "packets as long as fit", || {
        let found = site.metric(METRICS, "netmon_agent_uplink_path_mtu_bytes");
        is_right(found.ok()?).then_some(())
    })
}

#[test]
fn packets_are_as_long_as_the_path_takes() -> Result<()> {
    let mut wide = Site::with_server()?;
    wide.start_agent(&[])?;
    path_mtu_becomes(&wide, |octets| octets > 8900.0)?;
    wide.stop_agent()?;

    // Ethernet without jumbo frames: what does not fit costs probes and no batch.
    let mut usual = apart()?;
    usual.agent_environment = vec![("NETMON_AGENT__FRAME_INTERVAL", "1s")];
    usual.start_agent(&[])?;
    path_mtu_becomes(&usual, |octets| (1400.0..=1472.0).contains(&octets))?;
    stores_on(&usual)?;
    assert_eq!(handshakes(&usual)?, 1.0);
    usual.stop_agent()
}

#[test]
fn a_connection_survives_another_address_of_the_host() -> Result<()> {
    let mut site = apart()?;
    let _peer = under_way(&mut site, |site| {
        let place = &site.agent_namespace;
        ip_line(
            place,
            &["address", "del", "198.18.1.1/24", "dev", AGENTS_SIDE],
        )?;
        thread::sleep(Duration::from_millis(500));
        add_address(place, AGENTS_SIDE, "198.18.1.2/24")?;
        wait_until(Duration::from_secs(5), "a fresh socket", || {
            (rebinds(site, "address_changed").ok()? == 1.0).then_some(())
        })?;
        stores_on(site)
    })?;
    assert_eq!(handshakes(&site)?, 1.0);
    balanced(&mut site)
}

#[test]
fn a_connection_survives_another_port_of_the_nat() -> Result<()> {
    let mut site = apart()?;
    let inside = format!("{SERVER}:9000");
    let nat = Nat::start(&site.namespace, inside.parse()?, "127.0.0.1:8082".parse()?)?;
    site.servers = vec![inside];
    let _peer = under_way(&mut site, |site| {
        for _ in 0..3 {
            nat.change_port()?;
            stores_on(site)?;
        }
        Ok(())
    })?;
    assert_eq!(handshakes(&site)?, 1.0);
    assert_eq!(rebinds(&site, "silence")?, 0.0, "the server just follows");
    balanced(&mut site)
}

#[test]
fn a_connection_survives_a_nat_that_has_forgotten_it() -> Result<()> {
    let mut site = apart()?;
    let inside = format!("{SERVER}:9000");
    let nat = Nat::start(&site.namespace, inside.parse()?, "127.0.0.1:8082".parse()?)?;
    site.servers = vec![inside];
    let _peer = under_way(&mut site, |site| {
        nat.forget_client();
        wait_until(Duration::from_secs(8), "a fresh socket", || {
            (rebinds(site, "silence").ok()? == 1.0).then_some(())
        })?;
        stores_on(site)
    })?;
    assert_eq!(handshakes(&site)?, 1.0);
    balanced(&mut site)
}

#[test]
fn a_dead_path_is_noticed_and_the_agent_returns_when_it_lives_again() -> Result<()> {
    let mut site = apart()?;
    let _peer = under_way(&mut site, |site| {
        let connected = |site: &Site| site.metric(METRICS, "netmon_agent_uplink_connected");
        ip_line(&site.namespace, &["link", "set", SERVERS_SIDE, "down"])?;
        let began = Instant::now();
        wait_until(Duration::from_secs(20), "the agent to notice", || {
            (connected(site).ok()? == 0.0).then_some(())
        })?;
        let noticed = began.elapsed();
        thread::sleep(Duration::from_secs(5));
        ip_line(&site.namespace, &["link", "set", SERVERS_SIDE, "up"])?;
        let began = Instant::now();
        wait_until(Duration::from_secs(30), "the agent to be back", || {
            (connected(site).ok()? == 1.0).then_some(())
        })?;
        println!(
            "noticed after {noticed:?}, back after {:?}",
            began.elapsed()
        );
        Ok(())
    })?;
    balanced(&mut site)
}
