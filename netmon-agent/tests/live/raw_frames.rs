//! Frames as the kernel lays them out: tags taken off, packets in several pieces.

use std::time::Duration;

use anyhow::{Context as _, Result};
use netmon_lab::{
    Namespace,
    frames::{ethernet, icmp, ipv4, ipv6, pppoe, udp},
    link::ip_line,
    traffic, wait_until,
};

use crate::{
    bandwidth::{INTERFACE, of_the_database, of_the_kernel, peer},
    site::{METRICS, Site},
};

const PATIENCE: Duration = Duration::from_secs(20);
const ROUNDS: usize = 50;

fn watched_site() -> Result<(Site, Namespace)> {
    let mut site = Site::with_server()?;
    let peer = peer(&site)?;
    for (place, name) in [(&site.namespace, INTERFACE), (&peer, "nm-b")] {
        ip_line(place, &["link", "set", name, "mtu", "9000"])?;
    }
    site.start_agent(&["--include", INTERFACE])?;
    wait_until(PATIENCE, "the interface to be watched", || {
        let watched = site.metric(METRICS, "netmon_agent_interfaces_watched");
        (watched.ok()? == 1.0).then_some(())
    })?;
    Ok((site, peer))
}

/// Each of the frames must become an event, and nothing a loss.
fn all_become_events(frames: &[Vec<u8>], linear_bytes: u16) -> Result<()> {
    let (mut site, peer) = watched_site()?;
    for _ in 0..ROUNDS {
        traffic::frames(&peer, "nm-b", frames, linear_bytes)?;
    }
    let sent = (frames.len() * ROUNDS) as f64;
    let seen = || site.metric(METRICS, "netmon_agent_ntp_packets_total").ok();
    wait_until(PATIENCE, "the events", || (seen()? >= sent).then_some(()))
        .with_context(|| format!("{:?} of {sent}; {}", seen(), site.log("agent.log")))?;
    assert_eq!(seen(), Some(sent));
    for cause in ["truncated", "malformed", "vlan_depth", "unreadable"] {
        let series = format!("netmon_agent_losses_total{{cause=\"{cause}\"}}");
        assert_eq!(site.metric(METRICS, &series)?, 0.0, "{cause}");
    }
    site.stop_agent()?;
    assert_eq!(
        of_the_database(&site)?,
        of_the_kernel(&site)?,
        "with every tag"
    );
    Ok(())
}

#[test]
fn ntp_is_found_behind_tags_that_the_kernel_takes_off() -> Result<()> {
    let request = udp(40_000, 123, &[0x23; 48]);
    let (old, new) = (ipv4(17, 0, 0, &request), ipv6(&[], 17, &request));
    all_become_events(
        &[
            ethernet(&[(0x8100, 100)], 0x0800, &old),
            ethernet(&[(0x8100, 0)], 0x86dd, &new),
            ethernet(&[(0x88a8, 200), (0x8100, 100)], 0x86dd, &new),
            ethernet(&[(0x8100, 7)], 0x8864, &pppoe(0, 0x0021, &old)),
        ],
        0,
    )
}

#[test]
fn ntp_is_found_in_packets_in_several_pieces() -> Result<()> {
    let long = udp(40_000, 123, &[0x23; 5000]);
    let (old, new) = (ipv4(17, 0, 0, &long), ipv6(&[], 17, &long));
    all_become_events(
        &[
            ethernet(&[], 0x0800, &old),
            ethernet(&[], 0x86dd, &new),
            ethernet(&[(0x8100, 100)], 0x0800, &ipv4(17, 40, 0, &long)),
        ],
        14,
    )
}

#[test]
fn an_icmp_error_refuses_the_request_that_it_quotes() -> Result<()> {
    let (mut site, peer) = watched_site()?;
    let request = ipv4(17, 0, 0, &udp(40_000, 123, &[0x23; 48]));
    let unreachable = ipv4(1, 0, 0, &icmp(3, 3, &request));
    let frames = [
        ethernet(&[], 0x0800, &request),
        ethernet(&[], 0x0800, &unreachable),
    ];
    traffic::frames(&peer, "nm-b", &frames, 0)?;
    let series = "netmon_agent_ntp_exchanges_total{match=\"refused\"}";
    wait_until(PATIENCE, "the refusal", || {
        (site.metric(METRICS, series).ok()? == 1.0).then_some(())
    })
    .with_context(|| site.log("agent.log"))?;
    site.stop_agent()?;
    assert_eq!(site.sql("select match from ntp_exchanges")?, "refused");
    Ok(())
}
