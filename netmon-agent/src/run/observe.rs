//! The agent's own state, for whoever asks.

use super::work::Work;
use crate::{
    clock::{self, Now},
    sensor::statistics_are_on,
    status::{self, Report},
};

/// Most interfaces named in one report, and most that are named as not attached.
const MAX_INTERFACES: usize = 1024;
const MAX_FAILURES: usize = 16;

impl Work {
    /// How the agent is now.
    pub fn status(&self) -> Report {
        let now = clock::now();
        let losses = self.metrics.last_losses();
        // Not within the report: the lock would be held to its end, and taken once more.
        let epoch = self.spool.lock().epoch();
        let mut report = Report {
            format: status::VERSION,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            process_id: std::process::id(),
            epoch,
            at_unix_ns: now.unix_ns,
            uptime_ns: now.monotonic_ns.saturating_sub(self.started.monotonic_ns),
            problems: Vec::new(),
            notices: Vec::new(),
            server: self.connection(),
            interfaces: self.shown_interfaces(now),
            interfaces_left_out: self.watched.len().saturating_sub(MAX_INTERFACES),
            not_attached: self.failed.values().take(MAX_FAILURES).cloned().collect(),
            attach_failures: named(self.metrics.attach_failures()),
            losses: named(losses.map(|(loss, count)| (loss.name(), count))),
            ring: self.ring.as_ref().map(|ring| status::Ring {
                capacity_bytes: ring.capacity_bytes(),
                used_bytes: ring.used_bytes(),
                peak_bytes: self.metrics.ring_peak.get().max(0).unsigned_abs(),
            }),
            drain: self.drains.report(),
            flows: self.shown_flows(),
            spool: self.shown_spool(),
            clock: status::Clock {
                synchronised: self.synchronisation.synchronised,
                maximum_error_us: self.synchronisation.maximum_error_us,
                estimated_error_us: self.synchronisation.estimated_error_us,
            },
            programs: self.programs(),
            program_statistics: statistics_are_on(),
        };
        let expires = self.metrics.certificate_expires.get();
        report.problems = self.troubles.problems(now, &report, expires);
        if !report.clock.synchronised {
            let sentence = "the wall clock is not synchronised: offsets of NTP servers mean little";
            report.notices.push(sentence.to_owned());
        }
        report
    }

    fn connection(&self) -> status::Connection {
        let contact = self.metrics.contacts.now();
        status::Connection {
            connected: contact.connected,
            address: contact.address,
            version: contact.server_version,
            since_unix_ns: contact.since_unix_ns,
            acknowledged_unix_ns: contact.acknowledged_unix_ns,
            last_error: contact.last_error,
        }
    }

    fn shown_interfaces(&self, now: Now) -> Vec<status::Interface> {
        let watched = self.watched.values().take(MAX_INTERFACES);
        let shown = watched.map(|watched| {
            // As of now: the last sample may be ten seconds old.
            let last = watched.sampler.totals();
            let totals = self.sensor.totals(watched.interface.ifindex);
            let totals = totals.unwrap_or(last);
            let age_ns = now.monotonic_ns.saturating_sub(watched.since.monotonic_ns);
            status::Interface {
                name: watched.interface.name.clone(),
                ifindex: watched.interface.ifindex,
                attach_mode: watched.attachment.mode().name().to_owned(),
                since_unix_ns: now.unix_ns.saturating_sub_unsigned(age_ns),
                ingress: totals.ingress.into(),
                egress: totals.egress.into(),
            }
        });
        shown.collect()
    }

    fn shown_spool(&self) -> status::Spool {
        let status = self.spool.status();
        status::Spool {
            batches: status.waiting.0,
            bytes: status.waiting.1,
            oldest_unix_ns: status.oldest_unix_ns,
            in_memory: status.in_memory,
            disk_bytes: status.disk_bytes,
            given_up: status.tally.omitted.iter().flatten().sum(),
            refused: status.tally.refused.iter().sum(),
        }
    }

    fn programs(&self) -> Vec<status::Program> {
        let programs = self.sensor.program_times().into_iter();
        let shown = programs.map(|program| status::Program {
            run_time_ns: u64::try_from(program.time.as_nanos()).unwrap_or(u64::MAX),
            name: program.name,
            id: program.id,
            runs: program.runs,
        });
        shown.collect()
    }
}

fn named<const N: usize>(counts: [(&str, u64); N]) -> std::collections::BTreeMap<String, u64> {
    let own = |(name, count): (&str, u64)| (name.to_owned(), count);
    counts.into_iter().map(own).collect()
}
