//! Agents at their own pace: memory, time to acknowledgement, CPU.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use netmon_common::wire::Kind;

use crate::{
    agent::Pace,
    bench::Bench,
    books,
    fleet::{Fleet, Plan},
    meter,
    process::{self, Memory},
    report::{self, figure},
    source::Shape,
};

/// Live frames, as every agent sends them by default.
const LIVE: Duration = Duration::from_secs(1);

/// Measures on a server that has done nothing else yet.
pub async fn run(bench: &Bench) -> Result<()> {
    let agents = bench.options.most();
    report::heading(&format!("{agents} agents at their own pace"));
    let server = bench.site.server_id().context("no server runs")?;
    let alone = bench.alone;
    let per_agent = |name: &str, now: Memory| {
        let share = |now: u64, before: u64| now.saturating_sub(before) as f64 / agents as f64 / 1e3;
        let value = format!(
            "{:.0} kB ({:.0})",
            share(now.resident, alone.resident),
            share(now.anonymous, alone.anonymous)
        );
        figure(name, value, Some("200 kB"));
    };
    figure("server, resident, before agents come", octets(alone), None);

    let plan = Plan::default();
    let idle = Fleet::launch(&bench.identities[..agents], bench.site.quic, &plan);
    idle.all_connected(bench.patience()).await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let now = process::memory(server)?;
    figure(
        "server, resident, agents connected and silent",
        octets(now),
        None,
    );
    per_agent("  an agent: resident (of it not of files)", now);
    idle.finish(bench.patience()).await?;

    for factor in [1, 10] {
        let period = Shape::default().frame() / factor;
        report::heading(&format!(
            "{agents} agents, a batch each {period:?}, a live frame each {LIVE:?}"
        ));
        let plan = Plan {
            paces: vec![(Kind::Bandwidth, Pace::Every(period))],
            live: Some(LIVE),
            ..Plan::default()
        };
        let fleet = Fleet::launch(&bench.identities[..agents], bench.site.quic, &plan);
        fleet.all_connected(bench.patience()).await?;
        // The greetings are over.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let tally = Arc::clone(&fleet.tally);
        tally.latency();
        let window = bench.options.window().max(period);
        let measured = meter::measure(&bench.site, &bench.pool, &tally, window, || false).await?;
        let latency = tally.latency();
        let handed = fleet.finish(bench.patience()).await?;
        books::balance(&bench.pool, &handed).await?;
        let rate = format!("{:.0}/s", measured.per_second(measured.batches));
        figure("batches stored", rate, None);
        let times = report::milliseconds([latency.p50, latency.p99, latency.max]);
        let name = format!(
            "send to acknowledgement, p50/p99/max of {}, ms",
            latency.count
        );
        figure(&name, times, None);
        let name = "server, resident, at most";
        figure(name, octets(measured.memory), None);
        per_agent("  an agent: resident (of it not of files)", measured.memory);
        let busy = measured
            .cpu
            .map(|s| 100.0 * s / measured.elapsed.as_secs_f64());
        let [server, postgres, _] = busy;
        let value = format!("{server:.1} + {postgres:.1} %");
        figure("CPU of server + PostgreSQL, of one core", value, None);
        let [server, postgres, _] = measured.cpu_per_10k_rows();
        let value = format!("{server:.2} + {postgres:.2}");
        figure(
            "CPU seconds per 10,000 rows, server + PostgreSQL",
            value,
            None,
        );
    }
    Ok(())
}

fn octets(memory: Memory) -> String {
    format!("{:.1} MB", memory.resident as f64 / 1e6)
}
