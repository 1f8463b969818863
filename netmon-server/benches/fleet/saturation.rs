//! Backlogs sent as fast as they are acknowledged, beside bare COPY of the very same rows.

use std::time::Duration;

use anyhow::Result;
use netmon_common::wire::Kind;

use crate::{
    agent::Pace,
    bare::{self, Copied},
    bench::Bench,
    books,
    disk::Sizes,
    fleet::{Fleet, Plan},
    meter::{self, Measured},
    packed, report,
    source::Shape,
    tally::Latency,
};

/// Batches of all agents together: more than are stored within the window, as a rule.
const BACKLOG: u64 = 800_000;

/// An agent's backlog covers no more: the server takes nothing that is a day ahead of its clock.
const LONGEST: Duration = Duration::from_secs(20 * 3600);

/// What is let pass before measuring.
const WARM_UP: Duration = Duration::from_secs(1);

/// One fleet's figures.
pub struct Saturated {
    pub agents: usize,
    pub shape: Shape,
    pub measured: Measured,
    pub latency: Latency,
    /// Octets on disk for one sample: samples, ledger, everything.
    pub disk: [f64; 3],
    /// The most memory the server had, less what it had alone, octets.
    pub memory_per_agent: f64,
    /// Bare COPY by one connection, and by as many as the server used.
    pub bare: [Copied; 2],
}

impl Saturated {
    /// Rows stored in a second, of those that bare COPY by one connection stores.
    pub fn share(&self) -> f64 {
        self.measured.per_second(self.measured.rows) / self.bare[0].rate
    }
}

/// Measures every size of fleet, the largest several times, since what a shared machine does varies
/// more than what is measured, and then with other batches.
pub async fn run(bench: &mut Bench) -> Result<()> {
    report::heading(
        "saturation: a backlog of bandwidth batches, a batch per frame of each interface",
    );
    report::saturation_header();
    let usual = Shape::default();
    let most = bench.options.most();
    for agents in bench.options.fleets() {
        if agents != most {
            report::saturation(&saturate(bench, agents, usual).await?);
        }
    }
    let mut shares = Vec::new();
    for _ in 0..bench.options.rounds() {
        let saturated = saturate(bench, most, usual).await?;
        report::saturation(&saturated);
        shares.push(saturated.share());
    }
    shares.sort_by(f64::total_cmp);
    report::figure(
        &format!(
            "share of bare COPY, {most} agents, median of {}",
            shares.len()
        ),
        format!("{:.0} %", 100.0 * shares[shares.len() / 2]),
        Some(">= 70 %"),
    );
    let long = Shape {
        samples: 60,
        ..usual
    };
    report::saturation(&saturate(bench, most, long).await?);
    let wide = Shape {
        interfaces: 20,
        ..usual
    };
    report::saturation(&saturate(bench, most.min(100), wide).await?);
    report::heading("the same with data of two days ago, its hours summed up meanwhile (quiet 0s)");
    bench
        .restart_with("NETMON_SERVER__ROLLUP__QUIET", "0s")
        .await?;
    let late = Shape {
        age: Duration::from_secs(2 * 86_400),
        ..usual
    };
    report::saturation(&saturate(bench, most, late).await?);
    bench
        .restart_with("NETMON_SERVER__ROLLUP__QUIET", "1h")
        .await
}

async fn saturate(bench: &Bench, agents: usize, shape: Shape) -> Result<Saturated> {
    let longest = LONGEST.as_secs() / shape.frame().as_secs();
    let batches = BACKLOG * 2 / (agents * shape.interfaces) as u64;
    let backlog = batches.min(longest);
    let plan = Plan {
        shape,
        paces: vec![(Kind::Bandwidth, Pace::Backlog(backlog))],
        // Live frames are not stored: what they cost, the agents' own pace shows.
        live: None,
        ..Plan::default()
    };
    let before = Sizes::read(&bench.pool).await?;
    packed::checkpoint(&bench.site).await?;
    let fleet = Fleet::launch(&bench.identities[..agents], bench.site.quic, &plan);
    fleet.all_connected(bench.patience()).await?;
    fleet.begin();
    tokio::time::sleep(WARM_UP).await;
    let tally = std::sync::Arc::clone(&fleet.tally);
    tally.latency();
    let all = backlog * agents as u64;
    let window = bench.options.window();
    let measured = meter::measure(&bench.site, &bench.pool, &tally, window, || {
        tally.stored()[0] == all
    })
    .await?;
    let latency = tally.latency();
    let epoch = fleet.epoch;
    let handed = fleet.finish(bench.patience()).await?;
    books::balance(&bench.pool, &handed).await?;
    let added = Sizes::read(&bench.pool).await?.since(before);
    let stored = tally.stored()[2] as f64;
    let per_sample = |octets: i64| octets as f64 / stored;

    let select = format!("SELECT * FROM bandwidth_stats WHERE epoch = {epoch}");
    let rows = bare::rows(&bench.pool, &select).await?;
    let writers = measured.writers.max(1);
    let one = bare::copy(&bench.site, "bandwidth_stats", &rows, 1).await?;
    let many = bare::copy(&bench.site, "bandwidth_stats", &rows, writers).await?;
    let memory = measured
        .memory
        .resident
        .saturating_sub(bench.alone.resident);
    Ok(Saturated {
        memory_per_agent: memory as f64 / agents as f64,
        agents,
        shape,
        measured,
        latency,
        disk: [
            per_sample(added.samples),
            per_sample(added.ledger),
            per_sample(added.total()),
        ],
        bare: [one, many],
    })
}
