//! What people ask, over HTTP.

use std::{net::Ipv4Addr, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tokio::task::spawn_blocking;

use crate::{
    bench::Bench,
    http::Connection,
    made,
    options::Size,
    report::{self, Limit},
    times::Times,
};

/// Requests of each kind.
const ROUNDS: usize = 500;

/// Milliseconds: 95 of 100 requests take no longer.
const PROVINCES: [(u32, f64); 2] = [(1_000_000, 5.0), (10_000_000, 10.0)];
const ADDRESS: f64 = 2.0;

pub async fn run(bench: &Bench) -> Result<()> {
    report::heading(&format!(
        "questions: {ROUNDS} of each over HTTP on one connection, one after the other, from the first octet \
         sent to the last one received; 95 of 100 took at most"
    ));
    for (nodes, limit) in PROVINCES {
        let sizes = bench.options.sizes();
        let Some(size) = sizes.into_iter().find(|size| size.nodes == nodes) else {
            continue;
        };
        let mut connection = bench.connect()?;
        let asked = spawn_blocking(move || ask(&mut connection, size)).await??;
        for ((name, times), limit) in asked.into_iter().zip([limit, limit, ADDRESS, ADDRESS]) {
            report::figure(
                &format!("{name}, {} nodes", report::number(f64::from(nodes))),
                times.ms(0.95),
                &format!(
                    "ms, p50 {}, longest {}",
                    report::number(times.ms(0.5)),
                    report::number(times.ms(1.0))
                ),
                Some(Limit::AtMost(limit)),
            );
        }
    }
    Ok(())
}

fn ask(connection: &mut Connection, size: Size) -> Result<[(&'static str, Times); 4]> {
    let mut asked = [
        ("statistics by province", Times::default()),
        (
            "amounts by province as existing pages ask",
            Times::default(),
        ),
        ("an address in all families", Times::default()),
        ("a node of a family", Times::default()),
    ];
    // Nobody has asked anything before.
    for _ in 0..10 {
        provinces(connection, size)?;
    }
    for round in 0..ROUNDS as u32 {
        asked[0].1.add(provinces(connection, size)?.0);
        let amounts = connection.get(&format!("/api/province-amounts?type={}", size.family))?;
        asked[1].1.add(amounts.took);
        let [one, other] = [0, 1].map(|n| made::address(size, nth(size, 2 * round + n)));
        asked[2].1.add(address(connection, one)?);
        let node = format!("/api/v1/botnets/{}/nodes/{other}", size.family);
        asked[3].1.add(connection.get(&node)?.took);
    }
    Ok(asked)
}

/// Asks for the statistics of a family by province: how long that took, and how many nodes they are of.
pub fn provinces(connection: &mut Connection, size: Size) -> Result<(Duration, u64)> {
    let path = format!("/api/v1/botnets/{}/statistics/provinces", size.family);
    let answer = connection.get(&path)?;
    let said: Value = serde_json::from_slice(&answer.body)?;
    let nodes = said["nodes"].as_u64().context("no number of nodes")?;
    Ok((answer.took, nodes))
}

/// Looks an address up that is there.
pub fn address(connection: &mut Connection, address: Ipv4Addr) -> Result<Duration> {
    let answer = connection.get(&format!("/api/v1/addresses/{address}"))?;
    let said: Value = serde_json::from_slice(&answer.body)?;
    let families = said["items"].as_array().context("no families")?;
    ensure!(!families.is_empty(), "{address} is not found: {said}");
    Ok(answer.took)
}

/// The number of the nth node that somebody asks for, in no order.
pub fn nth(size: Size, n: u32) -> u32 {
    (u64::from(n) * 2_654_435_761 % u64::from(size.nodes)) as u32
}
