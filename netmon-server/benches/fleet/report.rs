//! What is printed: each figure beside its limit.

use std::time::Duration;

use anyhow::Result;
use sqlx::PgPool;

use crate::{bare::Copied, machine, saturation::Saturated};

/// The machine, the database, and what is done.
pub async fn machine(pool: &PgPool, packet: u16) -> Result<()> {
    machine::print(pool).await?;
    println!(
        "method: simulated agents in this process (each with a certificate, socket and QUIC \
         connection of its own, packets of at most {packet} octets, at most 32 batches without an \
         answer), server and database share these CPUs. What agents are told is stored is counted. \
         Batches are about now, unless said otherwise. \
         Share: of the rate of bare COPY BINARY of the same rows, which has all CPUs for itself; \
         \"agents elsewhere\" is the share if the CPU time that the simulated agents took had \
         gone to server and database, as it does where agents run on hosts of their own. Every \
         part ends with a comparison of ledger and rows with the agents' own books"
    );
    Ok(())
}

pub fn heading(text: &str) {
    println!("\n{text}");
}

/// A figure with its limit; none: only told.
pub fn figure(name: &str, value: impl std::fmt::Display, limit: Option<&str>) {
    let limit = limit
        .map(|limit| format!("  (limit {limit})"))
        .unwrap_or_default();
    println!("  {name:<58} {value:>14}{limit}");
}

/// The columns of [`saturation`]: three lines of heading, and their width.
const COLUMNS: [([&str; 3], usize); 15] = [
    (["", "agents", ""], 6),
    (["rows per", "batch", ""], 8),
    (["samples", "per row", ""], 7),
    (["batches", "per s", ""], 8),
    (["rows", "per s", ""], 8),
    (["samples", "per s", ""], 9),
    (["bare COPY", "by 1", ""], 9),
    (["rows per s", "by n (n)", ""], 11),
    (["share", "of 1", ">= 70 %"], 7),
    (["share", "of n", ">= 70 %"], 7),
    (["of 1, agents", "elsewhere", ""], 12),
    (["CPU s per 10 k rows", "server+pg (agents; bare)", ""], 25),
    (["ack, ms", "p50/p99/max", ""], 15),
    (["octets per sample", "rows+ledger; all", "<= 35"], 17),
    (["kB per agent", "at most", "<= 200"], 12),
];

/// The heading of [`saturation`]'s lines.
pub fn saturation_header() {
    for line in 0..3 {
        row(COLUMNS.map(|(heading, _)| heading[line].to_owned()));
    }
}

/// One fleet's figures.
pub fn saturation(s: &Saturated) {
    let m = &s.measured;
    let rows = m.per_second(m.rows);
    let share = |bare: Copied| format!("{:.0} %", 100.0 * rows / bare.rate);
    let [server, postgres, agents] = m.cpu_per_10k_rows();
    let [one, many] = s.bare;
    // The CPU time that was used, spent on server and database alone.
    let freed = (server + postgres + agents) / (server + postgres);
    let elsewhere = format!("{:.0} %", 100.0 * rows * freed / one.rate);
    row([
        s.agents.to_string(),
        s.shape.interfaces.to_string(),
        s.shape.samples.to_string(),
        format!("{:.0}", m.per_second(m.batches)),
        format!("{rows:.0}"),
        format!("{:.0}", m.per_second(m.samples)),
        format!("{:.0}", one.rate),
        format!("{:.0} ({})", many.rate, m.writers),
        share(one),
        share(many),
        elsewhere,
        format!(
            "{server:.2}+{postgres:.2} ({agents:.2}; {:.2})",
            one.cpu_per_10k_rows
        ),
        milliseconds([s.latency.p50, s.latency.p99, s.latency.max]),
        format!("{:.1}+{:.1}; {:.1}", s.disk[0], s.disk[1], s.disk[2]),
        format!("{:.0}", s.memory_per_agent / 1e3),
    ]);
}

fn row(cells: [String; COLUMNS.len()]) {
    let padded = cells
        .iter()
        .zip(COLUMNS)
        .map(|(cell, (_, width))| format!("{cell:>width$}"));
    println!("  {}", padded.collect::<Vec<_>>().join("  ").trim_end());
}

/// Times in milliseconds, with slashes between.
pub fn milliseconds<const N: usize>(times: [Duration; N]) -> String {
    let one = |time: Duration| format!("{:.0}", time.as_secs_f64() * 1e3);
    times.map(one).join("/")
}
