//! What is printed: each figure beside its limit.

use crate::{compare::Measured, options::Options};

pub fn machine() {
    println!("{}", netmon_lab::machine());
    println!(
        "method: costs by BPF_PROG_TEST_RUN, one frame a million times (NTP: 10,000 times, as many \
         as the ring holds), median of the rounds; cost: over the empty program in the same round"
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

pub fn costs_header() {
    println!(
        "  {:<28} {:>8} {:>8} {:>8} {:>8}",
        "packet", "empty", "netmon", "cost", "limit"
    );
}

/// The time of the empty program and of netmon's, ns.
pub fn cost(name: &str, [empty, netmon]: [u64; 2], limit: Option<u64>) {
    let cost = netmon.saturating_sub(empty);
    let (limit, verdict) = match limit {
        None => ("-".to_owned(), ""),
        Some(limit) if cost <= limit => (limit.to_string(), ""),
        Some(limit) => (limit.to_string(), "  ABOVE"),
    };
    println!("  {name:<28} {empty:>8} {netmon:>8} {cost:>8} {limit:>8}{verdict}");
}

/// The columns of [`compared`]: two lines of heading, and their width.
const COLUMNS: [([&str; 2], usize); 11] = [
    (["sent", "kpps"], 6),
    (["rate kept", "of none"], 9),
    (["path, ns", "a packet"], 8),
    (["arrived", "packets"], 10),
    (["seen by", "the sensor"], 10),
    (["share", "seen"], 9),
    (["CPU user", "% of a core"], 11),
    (["system", "%"], 7),
    (["both", "%"], 7),
    (["peak RSS", "MB"], 8),
    (["dropped", "by kernel"], 10),
];

const NAME: usize = 28;

pub fn comparison(options: &Options) {
    heading(&format!(
        "sensors on one end of a veth pair, {} flows at the highest rate",
        options.flows
    ));
    println!(
        "  sent: UDP frames of 60 octets by sendmmsg(2) on a packet socket past the queueing \
         discipline, by one thread that stays on the last CPU, for {} s; the receiving stack runs \
         there too and throws the frames away behind the hooks (another link-layer address); the \
         other CPUs are the sensor's. Median of {} round(s). Path: CPU time of the sending thread \
         with all that happens in it. Arrived: by the interface's own \
         counter. Seen: what the sensor says of itself afterwards. CPU: of all its processes while \
         it was flooded; user and system by /proc/PID/stat (steps of 10 ms, split by the kernel's \
         tick), both by the scheduler's clock. netmon: two capabilities, connected to a server on \
         this host, samples every 500 ms, flows every 5 s. softflowd leaves what is in libpcap's \
         last block (up to 3,500 packets) unread until more comes",
        options.window().as_secs(),
        options.rounds(),
    );
    for line in 0..2 {
        let heading = if line == 0 { "" } else { "sensor" };
        row(heading, COLUMNS.map(|(words, _)| words[line].to_owned()));
    }
}

/// Medians of a sensor's rounds.
pub fn compared(name: &str, rounds: &[Measured]) {
    let of = |value: fn(&Measured) -> f64| median_of(rounds.iter().map(value));
    let percent = |value: f64| format!("{value:.2}");
    let is_sensor = rounds.iter().all(|round| round.process.is_some());
    let sensor = |text: String| if is_sensor { text } else { "-".to_owned() };
    let dropped = median(rounds.iter().filter_map(|round| round.dropped));
    let tells = rounds.iter().any(|round| round.dropped.is_some());
    row(
        name,
        [
            format!("{:.0}", of(|round| round.rate) / 1e3),
            format!("{:.1} %", of(|round| round.kept) * 100.0),
            format!("{:.0}", of(|round| round.path_ns)),
            format!("{:.0}", of(|round| round.arrived as f64)),
            sensor(format!("{:.0}", of(|round| round.seen as f64))),
            sensor(format!("{:.3} %", of(Measured::share) * 100.0)),
            sensor(percent(of(|round| round.usage().user * 100.0))),
            sensor(percent(of(|round| round.usage().system * 100.0))),
            sensor(percent(of(|round| round.usage().both * 100.0))),
            sensor(format!("{:.1}", of(|round| round.peak()))),
            if tells {
                dropped.to_string()
            } else {
                "-".to_owned()
            },
        ],
    );
}

/// A sensor that could not be measured.
pub fn failed(name: &str, why: &str) {
    println!("  {name:<NAME$}  failed: {why}");
}

fn row(name: &str, cells: [String; COLUMNS.len()]) {
    let padded = cells
        .iter()
        .zip(COLUMNS)
        .map(|(cell, (_, width))| format!("{cell:>width$}"));
    println!("  {name:<NAME$}  {}", padded.collect::<Vec<_>>().join("  "));
}

/// The middle one; 0 of none.
pub fn median(values: impl Iterator<Item = u64>) -> u64 {
    let mut values: Vec<_> = values.collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}

fn median_of(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}
