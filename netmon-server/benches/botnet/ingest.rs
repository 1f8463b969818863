//! Logs sent as fast as they are acknowledged, beside bare COPY of the very same rows.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use time::OffsetDateTime;
use tokio::task::{JoinSet, spawn_blocking};

use crate::{
    bare,
    bench::Bench,
    books::{self, Amounts},
    disk::Sizes,
    http::Connection,
    packed, process,
    report::{self, Limit},
    times::Times,
    tracker::{self, LINES, Mix},
};

/// As many clients as the aim is about.
const MOST: usize = 4;

/// Lines a second that are stored with that many.
const AIM: f64 = 60_000.0;

/// What was stored, how fast, and at what cost.
struct Stored {
    lines: u64,
    took: Duration,
    /// CPU seconds of server, PostgreSQL and clients.
    cpu: [f64; 3],
    uploads: Times,
    /// The most memory the server had, octets.
    memory: u64,
    amounts: Amounts,
}

impl Stored {
    fn rate(&self) -> f64 {
        self.lines as f64 / self.took.as_secs_f64()
    }
}

pub async fn run(bench: &Bench) -> Result<()> {
    let addresses = bench.options.addresses();
    report::heading(&format!(
        "ingest: {} addresses over three days, `time,ip,port` in the order of time, POSTs of {} lines \
         without compression, all for one family; what is acknowledged is counted, and statistics are \
         compared with a count after each row",
        report::number(f64::from(addresses)),
        report::number(LINES as f64)
    ));
    println!(
        "  {:<42} {:>7} {:>10} {:>9} {:>24} {:>18} {:>9}",
        "", "clients", "lines", "lines/s", "CPU s per 100 k lines:", "upload, ms", "server"
    );
    println!(
        "  {:<42} {:>7} {:>10} {:>9} {:>24} {:>18} {:>9}",
        "", "", "", "", "server+pg (clients)", "p50/p95/max", "MB"
    );
    for clients in [1, MOST] {
        bench.empty().await?;
        let twice = measure(bench, "mozi", Mix::Twice, clients).await?;
        row("each address twice, at any times", clients, &twice);
        if clients == MOST {
            compare(bench, &twice).await?;
        }
        bench.empty().await?;
        for (name, mix) in [
            ("all new: each address once", Mix::Once),
            ("all known: once more, in another hour", Mix::OtherHour),
            ("all known: once more, in the same hour", Mix::SameHour),
        ] {
            row(
                name,
                clients,
                &measure(bench, "moobot", mix, clients).await?,
            );
        }
    }
    Ok(())
}

fn row(name: &str, clients: usize, stored: &Stored) {
    let [server, postgres, own] = stored
        .cpu
        .map(|seconds| seconds * 100_000.0 / stored.lines as f64);
    let uploads = [0.5, 0.95, 1.0].map(|share| format!("{:.0}", stored.uploads.ms(share)));
    println!(
        "  {name:<42} {clients:>7} {:>10} {:>9} {:>24} {:>18} {:>9.0}",
        stored.lines,
        report::number(stored.rate()),
        format!("{server:.2}+{postgres:.2} ({own:.2})"),
        uploads.join("/"),
        stored.memory as f64 / 1e6
    );
}

async fn compare(bench: &Bench, stored: &Stored) -> Result<()> {
    report::figure(
        "lines per second by 4 clients, each address twice",
        stored.rate(),
        "lines/s",
        Some(Limit::AtLeast(AIM)),
    );
    let Amounts { nodes, rows, .. } = stored.amounts;
    println!(
        "  the same {nodes} nodes and {rows} communications (without the raw lines) by bare COPY:"
    );
    for copied in bare::copy(&bench.site, &bench.pool, MOST).await? {
        let rate = stored.lines as f64 / copied.took.as_secs_f64();
        let indexes = if copied.indexes {
            "the same indexes"
        } else {
            "no index"
        };
        let by = if copied.connections == 1 {
            "connection"
        } else {
            "connections"
        };
        report::figure(
            &format!(
                "  {} {by}, {indexes}: the server has {:.0} % of it",
                copied.connections,
                100.0 * stored.rate() / rate
            ),
            rate,
            "lines/s",
            None,
        );
    }
    let sizes = Sizes::read(&bench.pool).await?;
    let per_million = |octets: i64| octets as f64 / nodes as f64;
    println!("  on disk, for a million nodes that were seen twice:");
    for (name, octets) in [
        ("  nodes", sizes.nodes[0]),
        ("  indexes of nodes", sizes.nodes[1]),
        ("  communications by hour", sizes.communications[0]),
        ("  indexes of communications", sizes.communications[1]),
        ("  the lines as they came", sizes.raw),
        ("  together", sizes.total()),
    ] {
        report::figure(name, per_million(octets), "MB", None);
    }
    Ok(())
}

async fn measure(bench: &Bench, family: &str, mix: Mix, clients: usize) -> Result<Stored> {
    let addresses = bench.options.addresses();
    let now = OffsetDateTime::now_utc();
    let logs = spawn_blocking(move || tracker::logs(mix, addresses, now)).await?;
    let sightings = i64::from(addresses) * if mix == Mix::Twice { 2 } else { 1 };
    let queue = Arc::new(Mutex::new(VecDeque::from(logs)));
    let before = books::balance(&bench.pool, family).await?;
    packed::checkpoint(&bench.site).await?;

    let processes = bench.processes()?;
    let (began, cpu) = (Instant::now(), used(processes)?);
    let mut senders = JoinSet::new();
    for _ in 0..clients {
        let (connection, queue) = (bench.connect()?, Arc::clone(&queue));
        let path = format!("/api/v1/botnets/{family}/logs");
        senders.spawn_blocking(move || send(connection, &path, &queue));
    }
    let (mut uploads, mut accepted, mut memory) = (Times::default(), 0, 0);
    loop {
        memory = memory.max(process::memory(processes[0])?.resident);
        tokio::select! {
            ended = senders.join_next() => {
                let Some(ended) = ended else { break };
                let (times, lines) = ended.context("a client panicked")??;
                uploads.extend(times);
                accepted += lines;
            }
            () = tokio::time::sleep(Duration::from_millis(50)) => {}
        }
    }
    let took = began.elapsed();
    let after = used(processes)?;

    let amounts = books::balance(&bench.pool, family).await?;
    ensure!(
        accepted == sightings as u64 && amounts.communications - before.communications == sightings,
        "{sightings} lines were sent, {accepted} accepted; {before:?} became {amounts:?}"
    );
    ensure!(
        amounts.nodes == i64::from(addresses),
        "{addresses} addresses were sent, {amounts:?} is stored"
    );
    Ok(Stored {
        lines: accepted,
        took,
        cpu: std::array::from_fn(|i| after[i] - cpu[i]),
        uploads,
        memory,
        amounts,
    })
}

/// Sends one log after the other; how long each took, and how many lines were accepted.
fn send(
    mut connection: Connection,
    path: &str,
    queue: &Mutex<VecDeque<Vec<u8>>>,
) -> Result<(Vec<Duration>, u64)> {
    let (mut times, mut accepted) = (Vec::new(), 0);
    loop {
        let next = queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front();
        let Some(log) = next else {
            return Ok((times, accepted));
        };
        let answer = connection.post(path, &log)?;
        times.push(answer.took);
        let said: Value = serde_json::from_slice(&answer.body)?;
        accepted += said["accepted"].as_u64().context("no number of lines")?;
    }
}

/// CPU seconds of server, PostgreSQL and this process so far.
fn used([server, postgres]: [u32; 2]) -> Result<[f64; 3]> {
    Ok([
        process::cpu(server)?,
        process::cpu_with_children(postgres)?,
        process::cpu(std::process::id())?,
    ])
}
