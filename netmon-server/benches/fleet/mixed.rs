//! What a real agent sends: bandwidth, exchanges and system samples side by side.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use netmon_common::wire::Kind;

use crate::{
    agent::Pace,
    bench::Bench,
    books,
    fleet::{Fleet, Plan},
    meter,
    report::{self, figure},
};

/// Batches of each kind of all agents together: more than are stored within the window.
const BACKLOG: u64 = 400_000;

/// A backlog of all kinds, a batch of each in turn.
pub async fn run(bench: &Bench) -> Result<()> {
    let agents = bench.options.most().min(100);
    let kinds = [Kind::Bandwidth, Kind::Exchanges, Kind::System];
    // Less than a day ahead.
    let backlog = (BACKLOG / agents as u64).min(4800);
    let plan = Plan {
        live: Some(Duration::from_secs(1)),
        paces: kinds.map(|kind| (kind, Pace::Backlog(backlog))).into(),
        ..Plan::default()
    };
    report::heading(&format!(
        "{agents} agents, a backlog of batches in turn: 2 frames of {} samples, {} exchanges, \
         1 system sample",
        plan.shape.samples, plan.shape.exchanges
    ));
    let fleet = Fleet::launch(&bench.identities[..agents], bench.site.quic, &plan);
    fleet.all_connected(bench.patience()).await?;
    fleet.begin();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let tally = Arc::clone(&fleet.tally);
    tally.latency();
    let window = bench.options.window();
    let all = backlog * (agents * kinds.len()) as u64;
    let done = || tally.stored()[0] == all;
    let measured = meter::measure(&bench.site, &bench.pool, &tally, window, done).await?;
    let latency = tally.latency();
    let handed = fleet.finish(bench.patience()).await?;
    books::balance(&bench.pool, &handed).await?;
    let per_second = |count| format!("{:.0}", measured.per_second(count));
    figure(
        "batches stored per second",
        per_second(measured.batches),
        None,
    );
    figure(
        "rows of series stored per second",
        per_second(measured.rows),
        None,
    );
    figure(
        "samples of bandwidth stored per second",
        per_second(measured.samples),
        None,
    );
    let times = report::milliseconds([latency.p50, latency.p99, latency.max]);
    figure("send to acknowledgement, p50/p99/max, ms", times, None);
    let [server, postgres, _] = measured.cpu_per_10k_rows();
    let value = format!("{server:.2} + {postgres:.2}");
    figure(
        "CPU seconds per 10,000 rows, server + PostgreSQL",
        value,
        None,
    );
    Ok(())
}
