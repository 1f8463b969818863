//! The upsert-heavy path: 100,000 NTP clients, each asked for several times, beside the server's own
//! upsert alone and bare COPY of the exchanges.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use netmon_common::wire::{Batch, Kind};
use netmon_server::{
    agent_id::AgentId,
    store::{Rows, Store},
};
use sqlx::{Executor as _, postgres::PgPoolOptions};
use tokio::task::JoinSet;

use crate::{
    agent::Pace,
    bare,
    bench::Bench,
    books, exchanges,
    fleet::{Fleet, Plan},
    meter, packed, process,
    report::{self, figure},
    source::{Shape, now_ns},
};

const AGENTS: usize = 8;

/// All agents' together.
const CLIENTS: usize = 100_000;

/// Batches of a transaction: as many exchanges as a writer groups.
const GROUP: usize = 4;

fn shape() -> Shape {
    Shape {
        exchanges: 1000,
        clients: CLIENTS / AGENTS,
        ..Shape::default()
    }
}

/// Batches in which an agent's every client comes once, about.
fn pass() -> u64 {
    shape().clients.div_ceil(shape().exchanges) as u64
}

/// Measures updates: a first pass, not measured, has inserted the clients.
pub async fn run(bench: &Bench) -> Result<()> {
    report::heading(&format!(
        "{CLIENTS} NTP clients of {AGENTS} agents, batches of {} exchanges",
        shape().exchanges
    ));
    let plan = |passes: u64| Plan {
        shape: shape(),
        paces: vec![(Kind::Exchanges, Pace::Backlog(passes * pass()))],
        live: Some(Duration::from_secs(1)),
        ..Plan::default()
    };
    let agents = &bench.identities[..AGENTS.min(bench.identities.len())];
    let first = Fleet::launch(agents, bench.site.quic, &plan(1));
    first.all_connected(bench.patience()).await?;
    first.begin();
    let all = pass() * agents.len() as u64;
    first.all_stored(all, bench.patience()).await?;
    let handed = first.finish(bench.patience()).await?;
    books::balance(&bench.pool, &handed).await?;

    packed::checkpoint(&bench.site).await?;
    let passes = bench.options.window().as_secs() * 2;
    let fleet = Fleet::launch(agents, bench.site.quic, &plan(passes));
    fleet.all_connected(bench.patience()).await?;
    fleet.begin();
    let (tally, epoch) = (Arc::clone(&fleet.tally), fleet.epoch);
    tally.latency();
    let all = passes * pass() * agents.len() as u64;
    let window = bench.options.window();
    let done = || tally.stored()[0] == all;
    let measured = meter::measure(&bench.site, &bench.pool, &tally, window, done).await?;
    let latency = tally.latency();
    let handed = fleet.finish(bench.patience()).await?;
    books::balance(&bench.pool, &handed).await?;

    let rate = measured.per_second(measured.rows);
    figure(
        "exchanges stored, clients upserted, per second",
        format!("{rate:.0}"),
        None,
    );
    let times = report::milliseconds([latency.p50, latency.p99, latency.max]);
    figure("send to acknowledgement, p50/p99/max, ms", times, None);
    let [server, postgres, _] = measured.cpu_per_10k_rows();
    let value = format!("{server:.2} + {postgres:.2}");
    figure(
        "CPU seconds per 10,000 exchanges, server + PostgreSQL",
        value,
        None,
    );

    let select = format!("SELECT * FROM ntp_exchanges WHERE epoch = {epoch}");
    let rows = bare::rows(&bench.pool, &select).await?;
    let ids: Vec<AgentId> = agents.iter().map(|one| one.agent).collect();
    for connections in [1, 2] {
        let (upsert, cpu) = alone(bench, &ids, connections).await?;
        let copy = bare::copy(&bench.site, "ntp_exchanges", &rows, connections).await?;
        // Both have to be done for every exchange.
        let both = 1.0 / (1.0 / upsert + 1.0 / copy.rate);
        let share = |of: f64| format!("{:.0} %", 100.0 * rate / of);
        let by = format!("by {connections} connection(s)");
        figure(
            &format!("the upsert alone, per second, {by}"),
            format!("{upsert:.0}"),
            None,
        );
        figure("  the server's share of it", share(upsert), Some(">= 70 %"));
        let name = format!("COPY of the exchanges alone, per second, {by}");
        figure(&name, format!("{:.0}", copy.rate), None);
        figure(
            "  the server's share of COPY and upsert after each other",
            share(both),
            None,
        );
        let value = format!("{:.2}", cpu + copy.cpu_per_10k_rows);
        figure(
            "  CPU seconds of PostgreSQL per 10,000 of both",
            value,
            None,
        );
    }
    Ok(())
}

/// Clients upserted per second, and PostgreSQL's CPU seconds for 10,000, by the server's own
/// statement in a table like the server's.
async fn alone(bench: &Bench, agents: &[AgentId], connections: usize) -> Result<(f64, f64)> {
    bench
        .pool
        .execute(
            "DROP SCHEMA IF EXISTS alone CASCADE; CREATE SCHEMA alone;
             CREATE TABLE alone.ntp_clients (LIKE ntp_clients INCLUDING ALL) WITH (fillfactor = 70)",
        )
        .await?;
    let options = bench.site.options()?.options([("search_path", "alone")]);
    let pool = PgPoolOptions::new()
        .max_connections(connections as u32)
        .connect_with(options)
        .await?;
    let store = Arc::new(Store::new(pool, Duration::from_secs(7 * 86_400)));
    // Agents share no clients, so connections meet nowhere.
    let mut passes: Vec<Vec<Rows>> = Vec::new();
    for connection in 0..connections {
        let of = agents
            .iter()
            .enumerate()
            .skip(connection)
            .step_by(connections);
        passes.push(
            of.map(|(index, id)| groups(&store, index, *id))
                .collect::<Result<Vec<_>>>()?
                .into_iter()
                .flatten()
                .collect(),
        );
    }
    let passes = Arc::new(passes);
    upsert(&store, &passes).await?;
    packed::checkpoint(&bench.site).await?;
    let postmaster = bench.site.postmaster_id()?;
    let (began, cpu) = (Instant::now(), process::cpu_with_children(postmaster)?);
    let mut count = 0;
    for _ in 0..3 {
        count += upsert(&store, &passes).await?;
    }
    let rate = count as f64 / began.elapsed().as_secs_f64();
    let used = process::cpu_with_children(postmaster)? - cpu;
    bench.pool.execute("DROP SCHEMA alone CASCADE").await?;
    Ok((rate, used * 10_000.0 / count as f64))
}

/// One pass over an agent's clients, in groups.
fn groups(store: &Store, index: usize, agent: AgentId) -> Result<Vec<Rows>> {
    let sequences: Vec<u64> = (1..=pass()).collect();
    let group = |sequences: &[u64]| {
        let mut rows = Rows::default();
        for sequence in sequences {
            let batch = Batch {
                epoch: 1,
                sequence: *sequence,
                kind: Kind::Exchanges.into(),
                sealed_at_unix_ns: now_ns(),
                exchanges: exchanges::of(index, *sequence, shape()),
                ..Batch::default()
            };
            rows.push(agent, &batch, store.window())?;
        }
        Ok(rows)
    };
    sequences.chunks(GROUP).map(group).collect()
}

async fn upsert(store: &Arc<Store>, passes: &Arc<Vec<Vec<Rows>>>) -> Result<usize> {
    let mut tasks = JoinSet::new();
    for connection in 0..passes.len() {
        let (store, passes) = (Arc::clone(store), Arc::clone(passes));
        tasks.spawn(async move {
            let mut count = 0;
            for rows in &passes[connection] {
                count += store.upsert_clients_alone(rows).await?;
            }
            Ok::<_, anyhow::Error>(count)
        });
    }
    let mut count = 0;
    while let Some(done) = tasks.join_next().await {
        count += done.context("an upserting task panicked")??;
    }
    Ok(count)
}
