//! The server restarted while the largest fleet sends.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use anyhow::Result;
use netmon_common::wire::Kind;
use netmon_lab::Signal;

use crate::{
    agent::Pace,
    bench::Bench,
    books,
    fleet::{Fleet, Plan},
    report::{self, figure},
    restart::restart,
};

/// How often each agent seals a batch: five times its own pace.
const PERIOD: Duration = Duration::from_secs(3);

/// SIGTERM and SIGKILL, one after the other, in one load.
pub async fn run(bench: &mut Bench) -> Result<()> {
    let agents = bench.options.most();
    let plan = Plan {
        paces: vec![(Kind::Bandwidth, Pace::Every(PERIOD))],
        live: Some(Duration::from_secs(1)),
        ..Plan::default()
    };
    let fleet = Fleet::launch(&bench.identities[..agents], bench.site.quic, &plan);
    fleet.all_connected(bench.patience()).await?;
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        tokio::time::sleep(bench.options.window().max(Duration::from_secs(11))).await;
        report::heading(&format!(
            "{signal} to the server under {agents} agents that send a batch each {PERIOD:?}"
        ));
        let restarted = restart(&mut bench.site, &fleet, signal).await?;
        let seconds = |time: Duration| format!("{:.1} s", time.as_secs_f64());
        figure("the server is gone after", seconds(restarted.gone), None);
        figure(
            "the next one lets agents in after",
            seconds(restarted.ready),
            None,
        );
        figure(
            "half of the agents are back after",
            seconds(restarted.half_back),
            None,
        );
        figure(
            "the last agent is back after",
            seconds(restarted.last_back),
            Some("30 s"),
        );
        let name = "attempts to connect, and within the busiest second";
        figure(
            name,
            format!("{}, {}", restarted.attempts, restarted.peak),
            None,
        );
    }
    let tally = Arc::clone(&fleet.tally);
    let handed = fleet.finish(bench.patience()).await?;
    // The pool's connections went with the server.
    bench.pool = bench.site.pool(2)?;
    books::balance(&bench.pool, &handed).await?;
    let sealed = handed.iter().flat_map(|one| &one.streams);
    let batches: u64 = sealed.map(|stream| stream.sealed_through).sum();
    let again = tally.again.load(Relaxed);
    report::heading("after both");
    figure(
        "batches sent, of them again",
        format!("{batches}, {again}"),
        None,
    );
    figure("lost or doubled, by ledger and rows", 0, Some("0"));
    Ok(())
}
