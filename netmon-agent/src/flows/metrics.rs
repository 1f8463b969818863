//! What Prometheus sees of flows and of the watch set.

use netmon_common::{
    counters::{Counters, Direction},
    flow::{FlowEvent, FlowEventKind, Untracked, UntrackedCounters},
};
use prometheus::{
    IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, core::Collector,
};

use super::{End, Tally};
use crate::{
    sensor::FlowFill,
    watch::{self, InForce},
};

const REGISTERED: &str = "valid names that are used once";
const FAMILIES: [&str; 2] = ["ipv4", "ipv6"];
const SERVER_TOO_OLD: &str = "server_too_old";

/// Flows and watch set.
#[derive(Debug)]
pub struct Metrics {
    map_entries: IntGaugeVec,
    map_capacity: IntGauge,
    remembered: IntGauge,
    born: IntCounter,
    records: IntCounterVec,
    packets: IntCounterVec,
    bytes: IntCounterVec,
    untracked_packets: IntCounterVec,
    untracked_bytes: IntCounterVec,
    unaccounted: IntCounter,
    events: IntCounterVec,
    events_lost: IntCounter,
    watch_entries: IntGaugeVec,
    watch_hits: IntCounter,
    watch_reloads: IntCounterVec,
    watch_list_entries: IntGaugeVec,
    watch_left_out: IntGauge,
    watch_server_version: IntGauge,
    watch_updates: IntCounterVec,
    watch_flows: IntCounter,
    watch_flows_remembered: IntGauge,
    watch_flows_unremembered: IntCounter,
    watch_sightings: IntCounter,
    watch_sightings_dropped: IntCounterVec,
}

impl Metrics {
    /// All at zero.
    pub fn new(registry: &Registry) -> Self {
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::with_opts(options(name, help));
            add(registry, counter.expect(REGISTERED))
        };
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let counters = IntCounterVec::new(options(name, help), labels);
            add(registry, counters.expect(REGISTERED))
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::with_opts(options(name, help));
            add(registry, gauge.expect(REGISTERED))
        };
        let gauges = |name: &str, help: &str, label: &str| {
            let gauges = IntGaugeVec::new(options(name, help), &[label]);
            add(registry, gauges.expect(REGISTERED))
        };
        let cause = ["interface", "direction", "cause"];
        let metrics = Self {
            map_entries: gauges(
                "flow_map_entries",
                "Flows in the kernel's map of a family when it was drained last.",
                "family",
            ),
            map_capacity: gauge(
                "flow_map_capacity",
                "Flows that each of these maps has room for.",
            ),
            remembered: gauge("flows_remembered", "Flows that are alive."),
            born: counter("flows_born_total", "Flows that were not known before."),
            records: counters(
                "flow_records_total",
                "Records of flows, by why they were made.",
                &["end"],
            ),
            packets: counters(
                "flow_packets_total",
                "Socket buffers that belong to flows, both directions together.",
                &["interface"],
            ),
            bytes: counters("flow_bytes_total", "Their octets.", &["interface"]),
            untracked_packets: counters(
                "flow_untracked_packets_total",
                "Socket buffers that belong to no flow, by cause.",
                &cause,
            ),
            untracked_bytes: counters("flow_untracked_bytes_total", "Their octets.", &cause),
            unaccounted: counter(
                "flow_unaccounted_packets_total",
                "Socket buffers of interfaces that ended, counted but in no book, or the other way round.",
            ),
            events: counters(
                "flow_events_total",
                "What the kernel told of flows at once, by kind.",
                &["kind"],
            ),
            events_lost: counter(
                "flow_events_lost_total",
                "New flows that found no room in the kernel's ring of flow events.",
            ),
            watch_entries: gauges(
                "watch_entries",
                "Addresses and prefixes of the watch list in force.",
                "family",
            ),
            watch_hits: counter(
                "watch_hits_total",
                "New flows with an endpoint on the watch list.",
            ),
            watch_reloads: counters(
                "watch_reloads_total",
                "Readings of the watch list, by what became of them.",
                &["result"],
            ),
            watch_list_entries: gauges(
                "watch_list_entries",
                "Entries of the lists that the watch list in force is made of.",
                "source",
            ),
            watch_left_out: gauge(
                "watch_entries_left_out",
                "Entries of the server's list that the kernel has no room for.",
            ),
            watch_server_version: gauge(
                "watch_server_list_timestamp_seconds",
                "When the server put together its list that is in force, unix seconds; 0: there is none.",
            ),
            watch_updates: counters(
                "watch_updates_total",
                "Updates of the server's list, by what they were, or that they were of no use.",
                &["update"],
            ),
            watch_flows: counter(
                "watch_flows_total",
                "Flows with an address of the server's list, each counted once an hour.",
            ),
            watch_flows_remembered: gauge(
                "watch_flows_remembered",
                "Of these, those that are alive.",
            ),
            watch_flows_unremembered: counter(
                "watch_flows_unremembered_total",
                "Of these, those that found no place in memory: each may have been counted again.",
            ),
            watch_sightings: counter(
                "watch_sightings_total",
                "Sightings of addresses of the server's list, handed over to the spool.",
            ),
            watch_sightings_dropped: counters(
                "watch_sightings_dropped_total",
                "Sightings that were not handed over, by cause.",
                &["cause"],
            ),
        };
        metrics.start_at_zero();
        metrics
    }

    fn start_at_zero(&self) {
        for family in FAMILIES {
            self.map_entries.with_label_values(&[family]);
            self.watch_entries.with_label_values(&[family]);
        }
        for end in End::ALL {
            self.records.with_label_values(&[end.name()]);
        }
        for kind in ["new", "watched"] {
            self.events.with_label_values(&[kind]);
        }
        for result in ["failed", "used"] {
            self.watch_reloads.with_label_values(&[result]);
        }
        for source in ["own", "server"] {
            self.watch_list_entries.with_label_values(&[source]);
        }
        for update in ["difference", "failed", "whole"] {
            self.watch_updates.with_label_values(&[update]);
        }
        self.watch_sightings_dropped
            .with_label_values(&[SERVER_TOO_OLD]);
    }

    /// How many flows the kernel's maps have room for.
    pub fn capacity(&self, entries: u32) {
        self.map_capacity.set(entries.into());
    }

    /// Takes over the state after a drain.
    pub fn drained(&self, fill: FlowFill, remembered: usize, tally: &Tally) {
        for (family, entries) in FAMILIES.into_iter().zip([fill.v4, fill.v6]) {
            let gauge = self.map_entries.with_label_values(&[family]);
            gauge.set(entries as i64);
        }
        self.remembered.set(remembered as i64);
        raise(&self.born, tally.born);
        for (end, total) in End::ALL.into_iter().zip(tally.records) {
            raise(&self.records.with_label_values(&[end.name()]), total);
        }
    }

    /// Takes over the running totals of an interface.
    pub fn interface(&self, name: &str, flows: Counters, untracked: [UntrackedCounters; 2]) {
        raise(&self.packets.with_label_values(&[name]), flows.packets);
        raise(&self.bytes.with_label_values(&[name]), flows.bytes);
        for (direction, counters) in Direction::ALL.into_iter().zip(untracked) {
            for cause in Untracked::ALL {
                let labels = [name, direction.name(), cause.name()];
                let Counters { packets, bytes, .. } = counters.of(cause);
                raise(&self.untracked_packets.with_label_values(&labels), packets);
                raise(&self.untracked_bytes.with_label_values(&labels), bytes);
            }
        }
    }

    /// Counts packets of an interface by which its books did not balance in the end.
    pub fn unaccounted(&self, packets: u64) {
        self.unaccounted.inc_by(packets);
    }

    /// Forgets an interface.
    pub fn forget_interface(&self, name: &str) {
        // Absent is as good as removed.
        let _ = self.packets.remove_label_values(&[name]);
        let _ = self.bytes.remove_label_values(&[name]);
        for direction in Direction::ALL {
            for cause in Untracked::ALL {
                let labels = [name, direction.name(), cause.name()];
                let _ = self.untracked_packets.remove_label_values(&labels);
                let _ = self.untracked_bytes.remove_label_values(&labels);
            }
        }
    }

    /// Counts what the kernel told.
    pub fn event(&self, event: &FlowEvent) {
        let kind = match event.kind() {
            FlowEventKind::New => "new",
            FlowEventKind::Watched => "watched",
        };
        self.events.with_label_values(&[kind]).inc();
        if event.watch().is_hit() {
            self.watch_hits.inc();
        }
    }

    /// Takes over how many events were lost.
    pub fn events_lost(&self, total: u64) {
        raise(&self.events_lost, total);
    }

    /// Counts a reading of the watch list.
    pub fn watch_reloaded(&self, good: bool) {
        let result = if good { "used" } else { "failed" };
        self.watch_reloads.with_label_values(&[result]).inc();
    }

    /// Takes over the size of the watch list.
    pub fn watched(&self, in_force: &InForce) {
        let InForce {
            all,
            own,
            served,
            left_out,
            ..
        } = in_force;
        for (family, entries) in FAMILIES.into_iter().zip([all.len_v4(), all.len_v6()]) {
            let gauge = self.watch_entries.with_label_values(&[family]);
            gauge.set(entries as i64);
        }
        for (source, entries) in [("own", *own), ("server", served.list.len())] {
            let gauge = self.watch_list_entries.with_label_values(&[source]);
            gauge.set(entries as i64);
        }
        self.watch_left_out.set(*left_out as i64);
        let seconds = i64::try_from(served.version / 1000).unwrap_or(i64::MAX);
        self.watch_server_version.set(seconds);
    }

    /// Counts an update of the server's list: `whole`, `difference` or `failed`.
    pub fn watch_updated(&self, update: &str) {
        self.watch_updates.with_label_values(&[update]).inc();
    }

    /// Takes over what was seen of the addresses on the server's list.
    pub fn sighted(&self, remembered: usize, tally: &watch::Tally) {
        raise(&self.watch_flows, tally.flows);
        raise(&self.watch_flows_unremembered, tally.unremembered);
        self.watch_flows_remembered.set(remembered as i64);
    }

    /// Counts sightings that the server takes, or that it is too old for.
    pub fn sightings(&self, count: u64, are_taken: bool) {
        if are_taken {
            self.watch_sightings.inc_by(count);
        } else {
            let dropped = self
                .watch_sightings_dropped
                .with_label_values(&[SERVER_TOO_OLD]);
            dropped.inc_by(count);
        }
    }
}

/// Raises a counter to a total that is kept elsewhere; a total that went back is left alone.
fn raise(counter: &IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}

fn options(name: &str, help: &str) -> Opts {
    Opts::new(format!("netmon_agent_{name}"), help)
}

fn add<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> C {
    registry
        .register(Box::new(collector.clone()))
        .expect(REGISTERED);
    collector
}
