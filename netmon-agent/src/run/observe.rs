//! The agent's own state, for whoever asks.

use super::{
    namespace::{Namespace, Shared},
    work::Work,
};
use crate::{
    clock::{self, Now},
    sensor::statistics_are_on,
    status::{self, Report},
};

/// Most interfaces named in one report, and most that are named as not attached.
const MAX_INTERFACES: usize = 1024;
const MAX_FAILURES: usize = 16;

impl Work {
    /// How the agent is now. While `ending`, it hands over what is not stored yet.
    pub fn status(&self, ending: bool) -> Report {
        let now = clock::now();
        let Shared {
            config,
            spool,
            metrics,
            synchronisation,
            ..
        } = &self.shared;
        let losses = metrics.last_losses();
        // Not within the report: the lock would be held to its end, and taken once more.
        let epoch = spool.lock().epoch();
        let watched = self.namespaces.iter().map(|n| n.watched.len());
        let failed = self.namespaces.iter().flat_map(|n| n.failed.values());
        let wanted = &config.interfaces.namespaces;
        let mut report = Report {
            format: status::VERSION,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            process_id: std::process::id(),
            epoch,
            at_unix_ns: now.unix_ns,
            ending,
            uptime_ns: now.monotonic_ns.saturating_sub(self.started.monotonic_ns),
            problems: Vec::new(),
            notices: Vec::new(),
            server: self.connection(),
            interfaces: self.shown_interfaces(now),
            interfaces_left_out: watched.sum::<usize>().saturating_sub(MAX_INTERFACES),
            not_attached: failed.take(MAX_FAILURES).cloned().collect(),
            namespaces: wanted
                .iter()
                .map(|name| self.shown_namespace(name))
                .collect(),
            attach_failures: named(metrics.attach_failures()),
            losses: named(losses.map(|(loss, count)| (loss.name(), count))),
            ring: self.shown_ring(),
            drain: self.drains.report(),
            flows: self.shown_flows(),
            watch: self.shown_watch(),
            spool: self.shown_spool(),
            clock: status::Clock {
                synchronised: synchronisation.synchronised,
                maximum_error_us: synchronisation.maximum_error_us,
                estimated_error_us: synchronisation.estimated_error_us,
            },
            programs: self.programs(),
            program_statistics: statistics_are_on(),
        };
        let expires = metrics.certificate_expires.get();
        report.problems = self.troubles.problems(now, &report, expires);
        if ending {
            let sentence = "the agent ends: it hands over what is not stored yet";
            report.notices.push(sentence.to_owned());
        }
        if !report.clock.synchronised {
            let sentence = "the wall clock is not synchronised: offsets of NTP servers mean little";
            report.notices.push(sentence.to_owned());
        }
        let stopped = self.monitoring.wishes().stopped();
        if !stopped.is_empty() {
            let named = stopped.iter().take(MAX_FAILURES).copied();
            let named = named.collect::<Vec<_>>().join(", ");
            let more = match stopped.len().saturating_sub(MAX_FAILURES) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            report.notices.push(format!(
                "NTP is not monitored on {named}{more}: it was stopped over REST"
            ));
        }
        for namespace in &report.namespaces {
            if !namespace.watched && namespace.error.is_none() {
                let name = &namespace.name;
                report.notices.push(format!(
                    "network namespace {name} is not there yet, or no more"
                ));
            }
        }
        report
    }

    fn shown_namespace(&self, name: &str) -> status::Namespace {
        let mut namespaces = self.namespaces.iter();
        let found = namespaces.rfind(|n| n.name.as_deref() == Some(name));
        status::Namespace {
            name: name.to_owned(),
            watched: found.is_some(),
            interfaces: found.map_or(0, |namespace| namespace.watched.len()),
            error: self.not_entered.get(name).cloned(),
        }
    }

    /// The fullest of all namespaces.
    fn shown_ring(&self) -> Option<status::Ring> {
        let rings = self.namespaces.iter().filter_map(|n| n.ring.as_ref());
        let fullest = rings.max_by_key(|ring| ring.used_bytes())?;
        Some(status::Ring {
            capacity_bytes: fullest.capacity_bytes(),
            used_bytes: fullest.used_bytes(),
            peak_bytes: self.shared.metrics.ring_peak.get().max(0).unsigned_abs(),
        })
    }

    fn connection(&self) -> status::Connection {
        let contact = self.shared.metrics.contacts.now();
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
        let namespaces = self.namespaces.iter();
        let watched = namespaces.flat_map(|n| n.watched.values().map(move |w| (n, w)));
        let shown = watched.take(MAX_INTERFACES).map(|(namespace, watched)| {
            // As of now: the last sample may be ten seconds old.
            let last = watched.sampler.totals();
            let totals = namespace.sensor.totals(watched.interface.ifindex);
            let totals = totals.unwrap_or(last);
            let age_ns = now.monotonic_ns.saturating_sub(watched.since.monotonic_ns);
            status::Interface {
                name: watched.label.clone(),
                ifindex: watched.interface.ifindex,
                attach_mode: watched.attachment.mode().name().to_owned(),
                since_unix_ns: now.unix_ns.saturating_sub_unsigned(age_ns),
                ingress: totals.ingress.into(),
                egress: totals.egress.into(),
            }
        });
        shown.collect()
    }

    fn shown_watch(&self) -> Option<status::Watch> {
        let in_force = self.board.as_deref()?.now();
        let version = in_force.served.version;
        Some(status::Watch {
            entries: in_force.all.len() as u64,
            own: in_force.own as u64,
            served: in_force.served.list.len() as u64,
            served_unix_ns: (version > 0).then(|| {
                i64::try_from(version).map_or(i64::MAX, |ms| ms.saturating_mul(1_000_000))
            }),
            left_out: in_force.left_out as u64,
            flows: self.sightings.tally().flows,
        })
    }

    fn shown_spool(&self) -> status::Spool {
        let status = self.shared.spool.status();
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
        let programs = self.namespaces.iter().flat_map(Namespace::program_times);
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
