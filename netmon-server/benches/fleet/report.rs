//! What is printed: each figure beside its limit.

use std::{fs, time::Duration};

use anyhow::Result;
use sqlx::PgPool;

use crate::saturation::Saturated;

/// The machine, PostgreSQL and its settings that matter.
pub async fn machine(pool: &PgPool) -> Result<()> {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name\t: "))
        .unwrap_or("unknown processor");
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!("machine: {model}, {cores} CPUs, Linux {}", kernel.trim());
    let version: String = sqlx::query_scalar("SHOW server_version").fetch_one(pool).await?;
    let mut settings = Vec::new();
    for name in [
        "shared_buffers",
        "fsync",
        "synchronous_commit",
        "full_page_writes",
        "wal_compression",
        "max_wal_size",
    ] {
        let value: String = sqlx::query_scalar(&format!("SHOW {name}")).fetch_one(pool).await?;
        settings.push(format!("{name} {value}"));
    }
    println!("database: PostgreSQL {version} managed by the server: {}", settings.join(", "));
    println!(
        "method: simulated agents in this process (each with a certificate, socket and QUIC \
         connection of its own, at most 32 batches without an answer), server and database share \
         these CPUs. What agents are told is stored is counted. Every part ends with a comparison \
         of ledger and rows with the agents' own books; shares are of a rate in the same run"
    );
    Ok(())
}

pub fn heading(text: &str) {
    println!("\n{text}");
}

/// A figure with its limit; none: only told.
pub fn figure(name: &str, value: impl std::fmt::Display, limit: Option<&str>) {
    let limit = limit.map(|limit| format!("  (limit {limit})")).unwrap_or_default();
    println!("  {name:<58} {value:>14}{limit}");
}

pub fn saturation_header() {
    println!(
        "  {:>6} {:>7} {:>9} {:>9} {:>10} {:>9} {:>9} {:>7} {:>7} {:>17} {:>20} {:>17}",
        "", "samples", "batches", "rows", "samples", "bare COPY", "rows/s", "share", "share",
        "octets/sample", "CPU s per 10 k rows", "ack ms"
    );
    println!(
        "  {:>6} {:>7} {:>9} {:>9} {:>10} {:>9} {:>9} {:>7} {:>7} {:>17} {:>20} {:>17}",
        "agents", "per row", "per s", "per s", "per s", "by 1", "by n (n)", "of 1", "of n",
        "rows+ledger=all", "server + pg (agents)", "p50/p99/max"
    );
    println!(
        "  {:>6} {:>7} {:>9} {:>9} {:>10} {:>9} {:>9} {:>7} {:>7} {:>17} {:>20} {:>17}",
        "", "", "", "", "", "", "", "limit", ">= 70 %", "limit 35", "", ""
    );
}

pub fn saturation(s: &Saturated) {
    let m = &s.measured;
    let rows = m.per_second(m.rows);
    let share = |bare: f64| format!("{:.0} %", 100.0 * rows / bare);
    let [server, postgres, agents] = m.cpu_per_10k_rows();
    println!(
        "  {:>6} {:>7} {:>9.0} {:>9.0} {:>10.0} {:>9.0} {:>9} {:>7} {:>7} {:>17} {:>20} {:>17}",
        s.agents,
        s.samples_per_row,
        m.per_second(m.batches),
        rows,
        m.per_second(m.samples),
        s.bare[0],
        format!("{:.0} ({})", s.bare[1], m.writers),
        share(s.bare[0]),
        share(s.bare[1]),
        format!("{:.1}+{:.1}={:.1}", s.disk[0], s.disk[1], s.disk[2]),
        format!("{server:.2} + {postgres:.2} ({agents:.2})"),
        milliseconds([s.latency.p50, s.latency.p99, s.latency.max]),
    );
}

/// Times in milliseconds, with slashes between.
pub fn milliseconds<const N: usize>(times: [Duration; N]) -> String {
    let one = |time: Duration| format!("{:.0}", time.as_secs_f64() * 1e3);
    times.map(one).join("/")
}
