//! The server's watch list: it reaches the agent, and what is seen of its addresses becomes
//! communications.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use netmon_lab::{Child, Namespace, Signal, http, traffic, wait_until};

use crate::{
    flows::{HERE, PATIENCE, site_with, sum},
    site::{HTTP, Site},
    watch::peak_memory,
};

const THERE: &str = "198.18.0.2";

/// Within so long after its first packet a flow is to be a communication …
const PROMISED: Duration = Duration::from_secs(5);
/// … and so long is waited for it, on a machine that is busy with other tests.
const PATIENT: Duration = Duration::from_secs(15);

/// Payload of five datagrams to a port, and what they are on the wire.
const DATAGRAMS: u32 = 5;
const PAYLOAD: usize = 100;
const ON_THE_WIRE: u64 = DATAGRAMS as u64 * (PAYLOAD as u64 + 8 + 20 + 14);

/// Replaces what a family has listed.
fn list(site: &Site, family: &str, text: &str) -> Result<()> {
    let path = format!("/api/v1/botnets/{family}/watch");
    let (status, body) = http::put(&site.namespace, HTTP, &path, text)?;
    ensure!(status == 200, "{status} {body}");
    Ok(())
}

/// Waits until the agent watches so many addresses that the server told.
fn told(site: &Site, entries: u64) -> Result<()> {
    told_within(site, entries, PATIENCE)
}

fn told_within(site: &Site, entries: u64, patience: Duration) -> Result<()> {
    wait_until(patience, "the server's list to be in force", || {
        let served = sum(site, "watch_list_entries", "source=\"server\"").ok()?;
        (served == entries).then_some(())
    })
    .with_context(|| site.log("agent.log"))
}

/// Datagrams from the peer.
fn contact(site: &Site, peer: &Namespace, port: u16) -> Result<()> {
    let to = SocketAddr::new(HERE.parse()?, port);
    traffic::udp(peer, &site.namespace, to, DATAGRAMS, PAYLOAD).map(drop)
}

/// Sightings of the family in communications by this agent, and the octets in them.
fn communicated(site: &Site, family: &str) -> Result<Vec<u64>> {
    site.sql_numbers(&format!(
        "select coalesce(sum(c.count), 0), coalesce(sum(c.inbound_bytes), 0), \
                coalesce(sum(c.inbound_packets), 0), coalesce(sum(c.outbound_packets), 0) \
         from botnet_communications c \
         join botnet_families f on f.family_id = c.family_id \
         join botnet_sources s on s.source_id = c.source_id \
         where f.name = '{family}' and c.ip = '{THERE}' and s.kind = 'agent' \
           and s.name = '{}'",
        site.agent_id
    ))
}

#[test]
fn a_flow_with_a_node_of_a_watched_family_is_a_communication_within_seconds() -> Result<()> {
    let (mut site, peer) = site_with(&[])?;
    // A node, as a log would have brought it, without a communication of its own.
    site.sql(&format!(
        "update botnet_families set watched = true where name = 'mozi'; \
         insert into botnet_nodes (family_id, ip, first_seen, last_seen, communications, place_id, \
                                   edition_id) \
         select family_id, '{THERE}', now(), now(), 0, 0, 0 from botnet_families \
         where name = 'mozi'; \
         insert into botnet_deltas (family_id, place_ids, nodes, communications, days) \
         select family_id, '{{0}}', '{{1}}', '{{0}}', '{{}}' from botnet_families \
         where name = 'mozi'",
    ))?;
    site.start_agent(&[])?;
    told(&site, 1)?;
    let began = Instant::now();
    contact(&site, &peer, 30_000)?;
    wait_until(PATIENT, "the communication", || {
        (communicated(&site, "mozi").ok()?[0] == 1).then_some(())
    })
    .with_context(|| site.log("server.log"))?;
    println!(
        "a communication {:?} after the first packet (promised: {PROMISED:?})",
        began.elapsed()
    );
    wait_until(PATIENCE, "its packets", || {
        (communicated(&site, "mozi").ok()? == [1, ON_THE_WIRE, DATAGRAMS.into(), 0]).then_some(())
    })
    .with_context(|| format!("{:?}", communicated(&site, "mozi")))?;
    let ports = site.sql(
        "select array_length(ports, 1), local_ports, last_seen >= first_seen \
         from botnet_communications",
    )?;
    assert_eq!(ports.trim(), "1|{30000}|t");
    // Nodes, communications and statistics say the same.
    let counted = site.sql_numbers(
        "select (select sum(communications) from botnet_nodes), \
                (select sum(count) from botnet_communications), \
                (select coalesce(sum(communications), 0) from botnet_statistics) \
                + (select coalesce(sum(u.c), 0) from botnet_deltas, unnest(communications) as u (c)), \
                (select coalesce(sum(nodes), 0) from botnet_statistics) \
                + (select coalesce(sum(u.n), 0) from botnet_deltas, unnest(nodes) as u (n))",
    )?;
    assert_eq!(counted, [1, 1, 1, 1]);
    site.stop_agent()?;
    assert_eq!(
        communicated(&site, "mozi")?,
        [1, ON_THE_WIRE, DATAGRAMS.into(), 0]
    );
    Ok(())
}

#[test]
fn a_changed_list_reaches_the_agent_by_its_difference_and_what_was_removed_is_no_more_told_of()
-> Result<()> {
    let (mut site, peer) = site_with(&[])?;
    site.start_agent(&[])?;
    list(
        &site,
        "ramnit",
        "203.0.113.0/24\n2001:db8::1\n198.18.0.2 # the peer\n",
    )?;
    told(&site, 3)?;
    contact(&site, &peer, 30_000)?;
    wait_until(PATIENT, "the communication", || {
        (communicated(&site, "ramnit").ok()?[0] == 1).then_some(())
    })?;

    let whole = sum(&site, "watch_updates_total", "whole")?;
    let differences = sum(&site, "watch_updates_total", "difference")?;
    list(
        &site,
        "ramnit",
        "203.0.113.0/24\n2001:db8::1\n192.0.2.77\n192.0.2.78\n",
    )?;
    told(&site, 4)?;
    assert_eq!(sum(&site, "watch_updates_total", "whole")?, whole);
    assert_eq!(
        sum(&site, "watch_updates_total", "difference")?,
        differences + 1
    );
    let path = format!("/api/v1/agents/{}/watch", site.agent_id);
    wait_until(PATIENCE, "the agent to say so", || {
        let watch = site.rest(&path).ok()?;
        (watch["up_to_date"] == true && watch["entries"] == 4).then_some(())
    })?;
    let seen = sum(&site, "watch_flows_total", "")?;
    for port in 30_001..30_004 {
        contact(&site, &peer, port)?;
    }
    let flows = sum(&site, "flows_born_total", "")?;
    wait_until(PATIENCE, "the flows to be seen", || {
        (sum(&site, "flows_born_total", "").ok()? >= flows.max(4)).then_some(())
    })?;
    assert_eq!(sum(&site, "watch_flows_total", "")?, seen);
    site.stop_agent()?;
    assert_eq!(communicated(&site, "ramnit")?[0], 1);
    Ok(())
}

#[test]
fn an_agent_that_starts_without_its_server_watches_what_it_was_told() -> Result<()> {
    let (mut site, peer) = site_with(&[])?;
    site.start_agent(&[])?;
    list(&site, "moobot", "198.18.0.0/31\n198.18.0.2\n")?;
    told(&site, 2)?;
    let file = site.spool()?.join("watch-list");
    wait_until(PATIENCE, "the list to be written down", || {
        file.exists().then_some(())
    })?;
    site.stop_agent()?;
    drop(site.server.take());

    let mut command = site.agent_command("run", &[])?;
    command
        .env("NETMON_AGENT__SERVER__MAX_RETRY_INTERVAL", "2s")
        .env("NETMON_AGENT__SPOOL__DIRECTORY", site.spool()?)
        .envs(site.agent_environment.iter().copied());
    site.log_to(&mut command, "agent.log")?;
    site.agent = Some(Child::spawn("netmon-agent", command, Signal::SIGTERM)?);
    told(&site, 2)?;
    wait_until(PATIENCE, "the interface to be watched", || {
        (sum(&site, "interfaces_watched", "").ok()? >= 1).then_some(())
    })?;
    contact(&site, &peer, 30_000)?;
    wait_until(PATIENCE, "the flow to be seen", || {
        (sum(&site, "watch_flows_total", "").ok()? == 1).then_some(())
    })?;
    site.start_server()?;
    wait_until(PATIENCE, "the communication", || {
        (communicated(&site, "moobot").ok()?[0] == 1).then_some(())
    })
    .with_context(|| site.log("agent.log"))?;
    // It holds what the server has: nothing was told again.
    assert_eq!(sum(&site, "watch_updates_total", "")?, 0);
    site.stop_agent()
}

/// Adds nodes of a family, as if logs had brought them.
fn add_nodes(site: &Site, family: &str, first: u32, count: u32) -> Result<()> {
    site.sql(&format!(
        "insert into botnet_nodes (family_id, ip, first_seen, last_seen, communications, place_id, \
                                   edition_id) \
         select family_id, '60.0.0.0'::inet + n * 7, now(), now(), 0, 0, 0 \
         from botnet_families, generate_series({first}, {first} + {count} - 1) as n \
         where name = '{family}'; \
         insert into botnet_deltas (family_id, place_ids, nodes, communications, days) \
         select family_id, '{{0}}', '{{{count}}}', '{{0}}', '{{}}' from botnet_families \
         where name = '{family}'",
    ))
    .map(drop)
}

#[test]
fn nearly_a_million_nodes_reach_the_agent_and_a_thousand_more_by_their_difference() -> Result<()> {
    const NODES: u32 = 900_000;
    const MORE: u32 = 1000;
    let octets = |site: &Site| site.metric(HTTP, "netmon_server_watch_update_bytes_total");
    let (mut site, _peer) = site_with(&[])?;
    site.sql("update botnet_families set watched = true where name = 'mozi'")?;
    add_nodes(&site, "mozi", 0, NODES)?;
    let began = Instant::now();
    site.start_agent(&[])?;
    told_within(&site, NODES.into(), 4 * PATIENCE)?;
    let whole = octets(&site)?;
    println!(
        "{NODES} nodes in force {:?} after the start: {whole} octets",
        began.elapsed()
    );
    assert!(whole < 4.0 * f64::from(NODES), "{whole}");

    add_nodes(&site, "mozi", NODES, MORE)?;
    let began = Instant::now();
    told_within(&site, (NODES + MORE).into(), 4 * PATIENCE)?;
    let difference = octets(&site)? - whole;
    println!(
        "{MORE} more {:?} after they came: {difference} octets",
        began.elapsed()
    );
    assert!(difference < 10.0 * f64::from(MORE), "{difference}");
    println!("agent: at most {} KiB", peak_memory(&site)?);
    site.stop_agent()
}
