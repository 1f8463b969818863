//! The full count of families, while others read.

use std::{
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow, bail, ensure};
use netmon_lab::{Child, Signal};
use sqlx::Row as _;

use crate::{bench::Bench, made, options::Size, queries, report, times::Times};

/// How often each family is counted.
const ROUNDS: usize = 3;

/// Ten million nodes, in seconds.
const LIMIT_S: f64 = 10.0;

/// Families from this size on have readers beside them.
const LARGE: u32 = 1_000_000;

/// How long readers are watched while nothing else happens.
const IDLE: Duration = Duration::from_secs(8);

/// Pause of a reader between two requests.
const PAUSE: Duration = Duration::from_millis(20);

/// One full count.
struct Rebuilt {
    /// By the log of runs.
    run: f64,
    /// From the start of the command to its end.
    command: f64,
    places: i64,
}

pub async fn run(bench: &Bench) -> Result<()> {
    report::heading(&format!(
        "full count: `netmon-server aggregate once --family F` beside the server, {ROUNDS} times each; nodes \
         filled by SQL, 1 of 100 seen in the hour that is not over, all families in one table; seconds by \
         the log of runs (median, longest), of the whole command (median), and of a bare GROUP BY"
    ));
    println!(
        "  {:>12} {:>8} {:>10} {:>10} {:>10} {:>10}   limit",
        "nodes", "places", "run", "longest", "command", "GROUP BY"
    );
    let mut disturbed = Vec::new();
    for size in bench.options.sizes() {
        let idle = match size.nodes {
            LARGE.. => {
                let reader = Reader::start(bench, size)?;
                tokio::time::sleep(IDLE).await;
                Some(reader.end()?)
            }
            _ => None,
        };
        let reader = idle
            .as_ref()
            .map(|_| Reader::start(bench, size))
            .transpose()?;
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            rounds.push(rebuild(bench, size).await?);
        }
        if let (Some(reader), Some(idle)) = (reader, idle) {
            disturbed.push((size, idle, reader.end()?));
        }
        line(size, &rounds, group_by(bench, size).await?);
    }
    report::heading(&format!(
        "readers beside the full count: a question every {} ms, ms as p50/p95/max",
        PAUSE.as_millis()
    ));
    for (size, idle, busy) in disturbed {
        for (name, idle, busy) in [
            ("statistics by province", &idle.provinces, &busy.provinces),
            ("look-up of an address", &idle.addresses, &busy.addresses),
        ] {
            let shown = |times: &Times| {
                [0.5, 0.95, 1.0]
                    .map(|share| report::number(times.ms(share)))
                    .join("/")
            };
            println!(
                "  {name:<24} at {:>10} nodes: {:>18} idle, {:>18} beside it ({} questions)",
                size.nodes,
                shown(idle),
                shown(busy),
                busy.count()
            );
        }
    }
    Ok(())
}

fn line(size: Size, rounds: &[Rebuilt], group_by: f64) {
    let sorted = |of: fn(&Rebuilt) -> f64| {
        let mut seconds: Vec<f64> = rounds.iter().map(of).collect();
        seconds.sort_by(f64::total_cmp);
        seconds
    };
    let runs = sorted(|round| round.run);
    let commands = sorted(|round| round.command);
    let median = runs[ROUNDS / 2];
    let limit = match size.nodes {
        10_000_000 if median > LIMIT_S => format!("<= {LIMIT_S} s  ABOVE"),
        10_000_000 => format!("<= {LIMIT_S} s"),
        _ => String::new(),
    };
    println!(
        "  {:>12} {:>8} {:>10.3} {:>10.3} {:>10.3} {:>10.3}   {limit}",
        size.nodes,
        rounds[0].places,
        median,
        runs[ROUNDS - 1],
        commands[ROUNDS / 2],
        group_by
    );
}

async fn rebuild(bench: &Bench, size: Size) -> Result<Rebuilt> {
    let mut command = Command::new(bench.options.program());
    command
        .args(["aggregate", "once", "--family", size.family, "--data-dir"])
        .arg(bench.site.data_dir())
        .env("NETMON_SERVER__LOG__FILTER", "warn")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let began = Instant::now();
    let mut child = Child::spawn("netmon-server aggregate", command, Signal::SIGTERM)?;
    let status = loop {
        if let Some(status) = child.exited()? {
            break status;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    };
    let took = began.elapsed();
    ensure!(status.success(), "aggregate once ends with {status}");
    let row = sqlx::query(
        "SELECT extract(epoch FROM finished_at - started_at)::float8, places, nodes, drift_places
         FROM botnet_aggregations
         WHERE family_id = (SELECT family_id FROM botnet_families WHERE name = $1)
         ORDER BY run_id DESC LIMIT 1",
    )
    .bind(size.family)
    .fetch_one(&bench.pool)
    .await?;
    let (nodes, drift): (i64, i64) = (row.get(2), row.get(3));
    if drift != 0 || nodes != i64::from(size.nodes) {
        bail!(
            "{nodes} of {} nodes were counted; the statistics of {drift} places were wrong",
            size.nodes
        );
    }
    Ok(Rebuilt {
        run: row.get(0),
        command: took.as_secs_f64(),
        places: row.get(1),
    })
}

/// The same sums without anything that makes them right; seconds, the median.
async fn group_by(bench: &Bench, size: Size) -> Result<f64> {
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let began = Instant::now();
        sqlx::query(
            "SELECT place_id, count(*), sum(communications) FROM botnet_nodes
             WHERE family_id = (SELECT family_id FROM botnet_families WHERE name = $1)
             GROUP BY place_id",
        )
        .bind(size.family)
        .fetch_all(&bench.pool)
        .await?;
        times.push(began.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    Ok(times[ROUNDS / 2])
}

/// Somebody who looks at statistics and addresses all the time.
struct Reader {
    thread: JoinHandle<Result<Read>>,
    done: Arc<AtomicBool>,
}

/// How long their questions took.
#[derive(Clone, Debug, Default)]
struct Read {
    provinces: Times,
    addresses: Times,
}

impl Reader {
    fn start(bench: &Bench, size: Size) -> Result<Self> {
        let mut connection = bench.connect()?;
        let done = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&done);
        let thread = thread::spawn(move || {
            let mut read = Read::default();
            let (mut number, mut all) = (0, None);
            while !ended.load(Relaxed) {
                let (took, nodes) = queries::provinces(&mut connection, size)?;
                read.provinces.add(took);
                // Nobody writes: whoever sees another number sees a half-built one.
                let first = *all.get_or_insert(nodes);
                ensure!(
                    nodes == first,
                    "a reader saw {nodes} nodes, and {first} before"
                );
                thread::sleep(PAUSE);
                number += 1;
                let address = made::address(size, queries::nth(size, number));
                let took = queries::address(&mut connection, address)?;
                read.addresses.add(took);
                thread::sleep(PAUSE);
            }
            Ok(read)
        });
        Ok(Self { thread, done })
    }

    fn end(self) -> Result<Read> {
        self.done.store(true, Relaxed);
        let ended = self.thread.join();
        ended.map_err(|_| anyhow!("a reader panicked"))?
    }
}
