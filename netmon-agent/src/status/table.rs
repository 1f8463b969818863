//! The document for people.

use std::{collections::BTreeMap, fmt::Write as _};

use super::{Report, program_time::Spent};

/// All of it, with what the programs took if that was measured.
pub fn text(report: &Report, program_time: Option<&[Spent]>) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        // Writing to a String never fails.
        let _ = writeln!(text, "{name:<14}{value}");
    };
    let ago = |unix_ns: i64| {
        let ns = report.at_unix_ns.saturating_sub(unix_ns).max(0);
        format!("{} ago", duration(ns.unsigned_abs()))
    };
    line(
        "agent",
        format!(
            "netmon-agent {}, process {}, up {}, epoch {}",
            report.version,
            report.process_id,
            duration(report.uptime_ns),
            report.epoch
        ),
    );
    let server = &report.server;
    let address = server.address.as_deref().unwrap_or("none yet");
    let since = server.since_unix_ns.map_or("never".to_owned(), ago);
    line(
        "server",
        if server.connected {
            format!(
                "{address} (netmon-server {}), connected {since}",
                server.version.as_deref().unwrap_or("?")
            )
        } else {
            format!("{address}, not connected; last lost: {since}")
        },
    );
    line(
        "acknowledged",
        server.acknowledged_unix_ns.map_or("never".to_owned(), ago),
    );
    let spool = &report.spool;
    line(
        "spool",
        format!(
            "{} batches wait ({}{}), {} in memory, {} on disk; given up {}, refused {}",
            spool.batches,
            bytes(spool.bytes),
            spool
                .oldest_unix_ns
                .map_or(String::new(), |oldest| format!(", oldest {}", ago(oldest))),
            spool.in_memory,
            bytes(spool.disk_bytes),
            spool.given_up,
            spool.refused
        ),
    );
    let clock = &report.clock;
    line(
        "clock",
        if clock.synchronised {
            format!(
                "synchronised, error at most {} ms",
                clock.maximum_error_us as f64 / 1000.0
            )
        } else {
            "not synchronised".to_owned()
        },
    );
    if let Some(ring) = &report.ring {
        line(
            "ring",
            format!(
                "{} of {} in use, at most {}",
                bytes(ring.used_bytes),
                bytes(ring.capacity_bytes),
                bytes(ring.peak_bytes)
            ),
        );
    }
    line(
        "drain",
        format!(
            "{} turns, {} each, the longest {}",
            report.drain.turns,
            duration(report.drain.mean_ns),
            duration(report.drain.longest_ns)
        ),
    );
    if let Some(flows) = &report.flows {
        line(
            "flows",
            format!(
                "{} of {} in use, {} evicted, {} packets in none",
                flows.entries, flows.capacity, flows.evicted, flows.untracked
            ),
        );
    }
    if let Some(watch) = &report.watch {
        let served = match watch.served_unix_ns {
            Some(at) => format!("{} of the server's list of {}", watch.served, ago(at)),
            None => "no list of the server".to_owned(),
        };
        let left_out = match watch.left_out {
            0 => String::new(),
            left_out => format!(" ({left_out} left out)"),
        };
        line(
            "watch list",
            format!(
                "{} entries: {} of the own file, {served}{left_out}; {} flows seen of these",
                watch.entries, watch.own, watch.flows
            ),
        );
    }
    if !report.namespaces.is_empty() {
        let shown = report.namespaces.iter().map(|namespace| {
            let state = match (namespace.watched, &namespace.error) {
                (true, _) => format!("{} interfaces", namespace.interfaces),
                (false, Some(_)) => "not watched".to_owned(),
                (false, None) => "not there".to_owned(),
            };
            format!("{} ({state})", namespace.name)
        });
        line("namespaces", shown.collect::<Vec<_>>().join(", "));
    }
    line("lost packets", causes(&report.losses));
    line("not attached", causes(&report.attach_failures));
    text.push('\n');
    interfaces(&mut text, report);
    programs(&mut text, report, program_time);
    for (title, sentences) in [("notice", &report.notices), ("PROBLEM", &report.problems)] {
        for sentence in sentences {
            let _ = writeln!(text, "{title}: {sentence}");
        }
    }
    if report.problems.is_empty() {
        text.push_str("healthy\n");
    }
    text
}

fn interfaces(text: &mut String, report: &Report) {
    let names = report
        .interfaces
        .iter()
        .map(|interface| interface.name.len());
    let width = names.max().unwrap_or(0).max(15);
    let _ = writeln!(
        text,
        "{:<width$} {:>7} {:<12} {:>9} {:>15} {:>10} {:>15} {:>10}",
        "interface",
        "index",
        "attached",
        "for",
        "packets in",
        "bytes in",
        "packets out",
        "bytes out"
    );
    for interface in &report.interfaces {
        let length = report.at_unix_ns.saturating_sub(interface.since_unix_ns);
        let _ = writeln!(
            text,
            "{:<width$} {:>7} {:<12} {:>9} {:>15} {:>10} {:>15} {:>10}",
            interface.name,
            interface.ifindex,
            interface.attach_mode,
            duration(length.max(0).unsigned_abs()),
            interface.ingress.packets,
            bytes(interface.ingress.bytes),
            interface.egress.packets,
            bytes(interface.egress.bytes)
        );
    }
    if report.interfaces_left_out > 0 {
        let _ = writeln!(text, "and {} more", report.interfaces_left_out);
    }
    text.push('\n');
}

fn programs(text: &mut String, report: &Report, program_time: Option<&[Spent]>) {
    let Some(measured) = program_time else {
        return;
    };
    let _ = writeln!(
        text,
        "{:<22} {:>6} {:>12} {:>12}",
        "program", "id", "runs", "ns each"
    );
    for spent in measured {
        let id = report.programs.iter().find(|p| p.name == spent.name);
        let _ = writeln!(
            text,
            "{:<22} {:>6} {:>12} {:>12}",
            spent.name,
            id.map_or(0, |program| program.id),
            spent.runs,
            spent
                .mean_ns
                .map_or("-".to_owned(), |mean| format!("{mean:.1}"))
        );
    }
    text.push('\n');
}

/// Those that happened.
fn causes(counts: &BTreeMap<String, u64>) -> String {
    let happened = counts.iter().filter(|(_, count)| **count > 0);
    let named: Vec<String> = happened.map(|(cause, n)| format!("{cause} {n}")).collect();
    if named.is_empty() {
        "none".to_owned()
    } else {
        named.join(", ")
    }
}

fn duration(ns: u64) -> String {
    let seconds = ns / 1_000_000_000;
    match ns {
        0..10_000 => format!("{ns} ns"),
        10_000..10_000_000 => format!("{} us", ns / 1000),
        10_000_000..10_000_000_000 => format!("{:.1} s", ns as f64 / 1e9),
        _ if seconds < 600 => format!("{seconds} s"),
        _ if seconds < 36_000 => format!("{} min", seconds / 60),
        _ if seconds < 172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{count} B")
    } else {
        format!("{value:.2} {}", UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_sizes_have_one_unit_each() {
        for (ns, shown) in [
            (0, "0 ns"),
            (12_345, "12 us"),
            (1_500_000_000, "1.5 s"),
            (61_000_000_000, "61 s"),
            (7_200_000_000_000, "120 min"),
        ] {
            assert_eq!(duration(ns), shown);
        }
        for (count, shown) in [(999, "999 B"), (1000, "1.00 kB"), (4_194_304, "4.19 MB")] {
            assert_eq!(bytes(count), shown);
        }
    }
}
