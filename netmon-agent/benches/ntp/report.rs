//! What is printed: each figure beside its limit.

use netmon_lab::flood::Sent;

use crate::{
    agent::Detail,
    books::{Books, difference},
    decoders::{Captured, Decoded},
    flood::Measured,
    options::Options,
    process::Usage,
    site::INTERFACE,
};

/// Default of `ntp.max_pending`.
pub const MAX_PENDING: u64 = 65_536;
/// The agent's memory is flat if it grows by no more in the last two thirds of the time. Batches wait
/// in memory for a slow disk, 64 MiB of them at most (`spool.memory_bytes`).
const GROWTH: f64 = 0.1;

pub fn machine(options: &Options) {
    println!("{}", netmon_lab::machine());
    println!(
        "method: NTP version 4 over IPv4 into one end of a veth pair, requests of {} clients in \
         turn and the answers of one server, 128 requests and then their answers at a time, each \
         with timestamps of its own; sent by sendmmsg(2) on a packet socket past the queueing \
         discipline, by one thread that stays on the last CPU; the receiving stack runs there too \
         and throws the frames away behind the hooks. Agent: its defaults, two capabilities, spool \
         on disk; it was connected, and its server, which would take the same CPUs, is away while \
         packets come and stores everything afterwards. CPU: user and system by /proc/PID/stat, \
         both by the scheduler's clock, in parts of one core",
        options.clients
    );
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

pub fn rates(options: &Options) {
    heading(&format!(
        "rising rates, {} s each, until something is lost",
        options.step().as_secs()
    ));
    println!(
        "  {:>10} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10}",
        "wanted/s", "sent/s", "packets", "taken", "lost", "exchanges", "CPU %"
    );
}

pub fn rate(wanted: u32, sent: &Sent, arrived: u64, books: &Books, usage: Usage) {
    println!(
        "  {wanted:>10} {:>10.0} {arrived:>10} {:>10} {:>10} {:>10} {:>10.1}",
        sent.rate() / 2.0,
        books.taken(),
        books.lost(),
        books.exchanges(),
        usage.both * 100.0
    );
}

pub fn flood(options: &Options, detail: Detail) {
    heading(&format!(
        "{} requests/s and their answers for {} s, ntp.detail = \"{}\"",
        options.rate,
        options.window().as_secs(),
        detail.name()
    ));
}

pub fn flooded(measured: &Measured) {
    let Measured { sent, books, .. } = measured;
    let seconds = sent.elapsed.as_secs_f64();
    figure(
        "requests sent, a second",
        format!("{:.0}", sent.rate() / 2.0),
        None,
    );
    figure(
        "packets that arrived, requests and answers",
        measured.arrived,
        None,
    );
    figure(
        "of these counted at the interface",
        books.counted(INTERFACE),
        None,
    );
    figure("of these taken as NTP events", books.taken(), None);
    for (cause, count) in books.by_label("losses_total") {
        if count > 0 {
            figure(&format!("of these lost, {cause}"), count, None);
        }
    }
    let unaccounted = difference(measured.arrived, books.taken() + books.lost());
    figure("unaccounted for", unaccounted, Some("0"));
    figure(
        "events taken, a second",
        format!("{:.0}", books.taken() as f64 / seconds),
        None,
    );
    pairing(measured);
    cost(measured);
    memory(measured);
    storage(measured);
}

fn pairing(measured: &Measured) {
    let books = &measured.books;
    for (kind, count) in books.by_label("ntp_exchanges_total") {
        if count > 0 {
            figure(&format!("exchanges, {kind}"), count, None);
        }
    }
    figure(
        "packets counted, and in no exchange",
        books.not_paired(),
        None,
    );
    figure("packets that went astray", books.astray(), Some("0"));
    figure(
        "requests remembered, at most",
        measured.remembered,
        Some(&format!("<= {MAX_PENDING}")),
    );
    let evictions = books.by_label("ntp_table_evictions_total");
    for (table, entries) in books.by_label("ntp_table_entries") {
        if entries > 0 {
            let gone = evictions.get(table).copied().unwrap_or(0);
            figure(
                &format!("table of {table}: entries, and gone for others"),
                format!("{entries}, {gone}"),
                None,
            );
        }
    }
}

fn cost(measured: &Measured) {
    let Measured { usage, books, .. } = measured;
    let percent = |part: f64| format!("{:.1}", part * 100.0);
    figure("agent's CPU, % of a core: user", percent(usage.user), None);
    figure("system", percent(usage.system), None);
    figure("both", percent(usage.both), None);
    let seconds = usage.both * measured.sent.elapsed.as_secs_f64();
    figure(
        "its CPU time for a packet taken, ns",
        format!("{:.0}", seconds * 1e9 / books.taken().max(1) as f64),
        None,
    );
}

fn memory(measured: &Measured) {
    let [before, third, after] = measured.resident;
    figure(
        "agent's resident memory, MB: before",
        megabytes(before),
        None,
    );
    figure("after a third of the time", megabytes(third), None);
    let grown = after as f64 / third.max(1) as f64 - 1.0;
    let verdict = if grown > GROWTH { " ABOVE" } else { "" };
    figure(
        "in the end",
        format!("{}{verdict}", megabytes(after)),
        Some(&format!("+{:.0} % where the disk keeps up", GROWTH * 100.0)),
    );
    figure("at most", megabytes(measured.peak), None);
    let maps = measured.maps.map_or("-".to_owned(), megabytes);
    figure("in the kernel: its maps and rings, MB", maps, None);
}

fn storage(measured: &Measured) {
    let books = &measured.books;
    figure("exchanges to store", books.to_store(), None);
    let sealed = books.by_label("batches_total").get("sealed").copied();
    figure("batches sealed", sealed.unwrap_or(0), None);
    figure("records given up, counted", books.given_up(), None);
    match measured.stored {
        Some([whole, folded, folds]) => {
            figure("exchanges stored whole", whole, None);
            figure("exchanges stored in folds", folded, None);
            figure("these folds", folds, None);
            figure(
                "storing took, s",
                format!("{:.1}", measured.storing.as_secs_f64()),
                None,
            );
        }
        None => figure(
            "batches still in the spool",
            books.one("spool_batches"),
            None,
        ),
    }
}

pub fn decoders(options: &Options) {
    heading(&format!(
        "tcpdump and tshark: the same packets for {} s into a file in memory, then the first {} of \
         it decoded into {} fields",
        options.capture_window().as_secs(),
        options.decoded(),
        crate::decoders::FIELDS.len()
    ));
}

pub fn captured(captured: &Captured) {
    figure(
        "tcpdump -w: requests sent, a second",
        format!("{:.0}", captured.rate / 2.0),
        None,
    );
    figure("packets that arrived", captured.arrived, None);
    figure("packets captured", captured.captured, None);
    figure("packets dropped by the kernel", captured.dropped, None);
    let percent = |part: f64| format!("{:.1}", part * 100.0);
    let usage = captured.usage;
    figure("CPU, % of a core: user", percent(usage.user), None);
    figure("system", percent(usage.system), None);
    figure("both", percent(usage.both), None);
    let per_packet = usage.both * captured.arrived as f64 / captured.rate.max(1.0);
    figure(
        "CPU time for a packet captured, ns",
        format!("{:.0}", per_packet * 1e9 / captured.captured.max(1) as f64),
        None,
    );
    figure(
        "resident memory at most, MB",
        megabytes(captured.peak),
        None,
    );
    figure("file, MB", megabytes(captured.octets), None);
}

pub fn decoded(decoded: &Decoded) {
    let packets = decoded.packets as f64;
    figure("tshark: packets decoded", decoded.packets, None);
    figure(
        "packets a second",
        format!("{:.0}", packets / decoded.elapsed),
        None,
    );
    figure(
        "CPU time for a packet, ns",
        format!("{:.0}", decoded.usage.both * 1e9 / packets),
        None,
    );
    figure("resident memory at most, MB", megabytes(decoded.peak), None);
}

/// A program that could not be measured.
pub fn failed(name: &str, why: &str) {
    println!("  {name}: failed: {why}");
}

fn megabytes(octets: u64) -> String {
    format!("{:.1}", octets as f64 / 1e6)
}
