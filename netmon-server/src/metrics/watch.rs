//! What agents watch, and what became of what they saw.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use super::{REGISTERED, counter, gauge, labels, register};
use crate::{ingest::Newest, store::SightingCounts};

/// The watch list, and sightings.
#[derive(Debug)]
pub struct Watch {
    entries: IntGauge,
    left_out: IntGauge,
    version: IntGauge,
    agents: IntGaugeVec,
    updates: IntCounterVec,
    update_bytes: IntCounter,
    sightings: IntCounterVec,
}

/// An agent that is connected; counted until it is dropped.
#[derive(Debug)]
pub struct Told(IntGauge);

impl Drop for Told {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Watch {
    pub(super) fn new(registry: &Registry) -> Self {
        let agents = Opts::new(
            "netmon_server_watch_agents",
            "Connected agents, by whether they take a watch list.",
        );
        let agents = IntGaugeVec::new(agents, &["takes"]).expect(REGISTERED);
        for takes in ["no", "yes"] {
            agents.with_label_values(&[takes]);
        }
        Self {
            entries: gauge(
                registry,
                "netmon_server_watch_list_entries",
                "Addresses and prefixes that agents are to watch.",
            ),
            left_out: gauge(
                registry,
                "netmon_server_watch_list_left_out",
                "Nodes of watched families that are not among them, since there are more than agents take.",
            ),
            version: gauge(
                registry,
                "netmon_server_watch_list_timestamp_seconds",
                "When the list changed last, seconds since 1970; 0: it is not known yet.",
            ),
            agents: register(registry, agents),
            updates: labels::vector(
                registry,
                "netmon_server_watch_updates_total",
                "Updates of the list sent to agents, whole or as the difference from what they held.",
                "update",
                &["difference", "whole"],
            ),
            update_bytes: counter(
                registry,
                "netmon_server_watch_update_bytes_total",
                "Octets of these.",
            ),
            sightings: labels::vector(
                registry,
                "netmon_server_watch_sightings_total",
                "Sightings of watched addresses, by what became of them.",
                "result",
                &["stored", "too_old", "unwatched"],
            ),
        }
    }

    /// Takes over what is to be watched.
    pub fn listed(&self, newest: Option<Newest>, left_out: u64) {
        if let Some(newest) = newest {
            self.entries.set(newest.entries as i64);
            self.version
                .set(i64::try_from(newest.version / 1000).unwrap_or(i64::MAX));
        }
        self.left_out.set(left_out.cast_signed());
    }

    /// An agent is connected.
    pub fn agent(&self, takes: bool) -> Told {
        let label = if takes { "yes" } else { "no" };
        let gauge = self.agents.with_label_values(&[label]);
        gauge.inc();
        Told(gauge)
    }

    /// An agent was told of the list.
    pub fn told(&self, is_whole: bool, bytes: usize) {
        let label = if is_whole { "whole" } else { "difference" };
        self.updates.with_label_values(&[label]).inc();
        self.update_bytes.inc_by(bytes as u64);
    }

    /// Sightings are durable.
    pub fn sighted(&self, counts: &SightingCounts) {
        for (result, count) in [
            ("stored", counts.stored),
            ("too_old", counts.too_old),
            ("unwatched", counts.unwatched),
        ] {
            self.sightings.with_label_values(&[result]).inc_by(count);
        }
    }
}
