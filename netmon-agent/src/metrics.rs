//! The agent's own metrics, for Prometheus.

mod describe;
mod http;

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use aya::maps::MapError;
use netmon_common::{
    counters::{Counters, Direction, Split},
    loss::Loss,
    wire::KINDS,
};
use prometheus::{
    CounterVec, Encoder as _, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Registry, TextEncoder,
};

pub use self::http::serve;
use crate::{
    bandwidth::{Flags, Totals},
    clock::{self, Synchronisation},
    ntp,
    sensor::ProgramTime,
    spool::{self, rank},
    uplink::{Contacts, RebindCause},
};

/// Every metric of the agent. Label values come from fixed lists, but for the names of watched
/// interfaces, which go when the interface goes.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    interface_packets: IntCounterVec,
    interface_bytes: IntCounterVec,
    interface_wire_packets: IntCounterVec,
    interface_wire_bytes: IntCounterVec,
    network_packets: IntCounterVec,
    network_bytes: IntCounterVec,
    transport_packets: IntCounterVec,
    transport_bytes: IntCounterVec,
    samples_flagged: IntCounterVec,
    losses: IntCounterVec,
    attach_modes: IntGaugeVec,
    /// Labels of these, by interface.
    attached: Mutex<HashMap<String, String>>,
    drain_times: HistogramVec,
    program_runs: IntCounterVec,
    program_seconds: CounterVec,
    /// Octets of records that wait in the ring.
    pub ring_used: IntGauge,
    /// The most there were when somebody looked.
    pub ring_peak: IntGauge,
    /// Octets the ring has room for.
    pub ring_capacity: IntGauge,
    /// What the uplink knows of its server.
    pub contacts: Contacts,
    acknowledged: IntGauge,
    unpaired: IntCounterVec,
    exchanges: IntCounterVec,
    requests_not_paired: IntCounterVec,
    requests_remembered: IntGauge,
    responses_not_paired: IntCounter,
    batches: IntCounterVec,
    records_lost: IntCounterVec,
    batches_lost: IntCounterVec,
    spool_batches: IntGauge,
    spool_bytes: IntGauge,
    spool_memory_batches: IntGauge,
    spool_disk_bytes: IntGauge,
    spool_segments: IntGauge,
    spool_index_bytes: IntGauge,
    spool_write_errors: IntCounter,
    spool_read_errors: IntCounter,
    clock_synchronised: IntGauge,
    clock_maximum_error: prometheus::Gauge,
    /// Flows and watch list.
    pub flows: crate::flows::metrics::Metrics,
    /// The host.
    pub system: crate::system::metrics::Metrics,
    attach_failures: IntCounterVec,
    map_read_failures: IntCounter,
    /// NTP events taken from the ring buffer.
    pub ntp_packets: IntCounter,
    /// Ring buffer records that are no event.
    pub invalid_events: IntCounter,
    /// Responses that nobody asked for and that came too fast to become rows.
    pub unasked_not_stored: IntCounter,
    /// Steps of the wall clock.
    pub clock_steps: IntCounter,
    /// Entries of the kernel's hash of counters.
    pub map_entries: IntGauge,
    /// Interfaces with the programs attached.
    pub interfaces_watched: IntGauge,
    /// 1 while a server is connected.
    pub connected: IntGauge,
    /// Connections that ended.
    pub reconnects: IntCounter,
    /// Attempts that did not become a connection.
    pub connect_failures: IntCounter,
    rebinds: IntCounterVec,
    certificate_loads: IntCounterVec,
    /// When the agent's certificate or its CA's expires, seconds since 1970.
    pub certificate_expires: IntGauge,
    /// Batches handed to a connection; one sent again counts again.
    pub batches_sent: IntCounter,
    /// Bytes of these.
    pub bytes_sent: IntCounter,
}

impl Metrics {
    /// Takes over the running totals of one interface.
    pub fn interface(&self, name: &str, totals: Totals) {
        let directions = [
            (Direction::Ingress, totals.ingress),
            (Direction::Egress, totals.egress),
        ];
        for (
            direction,
            Counters {
                packets,
                bytes,
                wire_packets,
                wire_bytes,
            },
        ) in directions
        {
            let labels = [name, direction.name()];
            raise(&self.interface_packets.with_label_values(&labels), packets);
            raise(&self.interface_bytes.with_label_values(&labels), bytes);
            raise(
                &self.interface_wire_packets.with_label_values(&labels),
                wire_packets,
            );
            raise(
                &self.interface_wire_bytes.with_label_values(&labels),
                wire_bytes,
            );
        }
    }

    /// Takes over the same by network and by transport.
    pub fn splits(&self, name: &str, splits: &[Split; 2]) {
        for (direction, split) in Direction::ALL.into_iter().zip(splits) {
            let (networks, transports) = parts(split);
            for (network, counters) in networks {
                let labels = [name, direction.name(), network];
                raise(
                    &self.network_packets.with_label_values(&labels),
                    counters.packets,
                );
                raise(
                    &self.network_bytes.with_label_values(&labels),
                    counters.bytes,
                );
            }
            for (transport, counters) in transports {
                let labels = [name, direction.name(), transport];
                raise(
                    &self.transport_packets.with_label_values(&labels),
                    counters.packets,
                );
                raise(
                    &self.transport_bytes.with_label_values(&labels),
                    counters.bytes,
                );
            }
        }
    }

    /// Forgets an interface, so that a host which makes thousands does not grow the scrape.
    pub fn forget_interface(&self, name: &str) {
        self.flows.forget_interface(name);
        for direction in Direction::ALL {
            let labels = [name, direction.name()];
            for vec in [
                &self.interface_packets,
                &self.interface_bytes,
                &self.interface_wire_packets,
                &self.interface_wire_bytes,
            ] {
                // Absent is as good as removed.
                let _ = vec.remove_label_values(&labels);
            }
        }
        let (networks, transports) = parts(&Split::default());
        for direction in Direction::ALL {
            for (network, _) in networks {
                let labels = [name, direction.name(), network];
                let _ = self.network_packets.remove_label_values(&labels);
                let _ = self.network_bytes.remove_label_values(&labels);
            }
            for (transport, _) in transports {
                let labels = [name, direction.name(), transport];
                let _ = self.transport_packets.remove_label_values(&labels);
                let _ = self.transport_bytes.remove_label_values(&labels);
            }
        }
        if let Some(mode) = self.attached().remove(name) {
            let _ = self.attach_modes.remove_label_values(&[name, &mode]);
        }
    }

    /// Says how the programs are attached to an interface.
    pub fn attach_mode(&self, name: &str, mode: &str) {
        if let Some(earlier) = self.attached().insert(name.to_owned(), mode.to_owned()) {
            let _ = self.attach_modes.remove_label_values(&[name, &earlier]);
        }
        self.attach_modes.with_label_values(&[name, mode]).set(1);
    }

    fn attached(&self) -> MutexGuard<'_, HashMap<String, String>> {
        // Whoever panicked has left a whole map.
        self.attached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a look into a map of the kernel programs that took so long.
    pub fn drained(&self, source: Drained, took: Duration) {
        self.drain_times
            .with_label_values(&[source.name()])
            .observe(took.as_secs_f64());
    }

    /// Takes over how full the ring is.
    pub fn ring(&self, used_bytes: u64) {
        let used = used_bytes as i64;
        self.ring_used.set(used);
        self.ring_peak.set(self.ring_peak.get().max(used));
    }

    /// Takes over what the kernel has measured of the programs.
    pub fn programs(&self, programs: &[ProgramTime]) {
        for program in programs {
            let labels = [program.name.as_str()];
            raise(&self.program_runs.with_label_values(&labels), program.runs);
            let seconds = self.program_seconds.with_label_values(&labels);
            seconds.inc_by((program.time.as_secs_f64() - seconds.get()).max(0.0));
        }
    }

    /// The server has said what it has stored.
    pub fn acknowledged(&self) {
        self.contacts.acknowledged();
        self.acknowledged.set(clock::now().unix_ns / 1_000_000_000);
    }

    /// Failures to attach so far, by cause.
    pub fn attach_failures(&self) -> [(&'static str, u64); ATTACH_FAILURES.len()] {
        ATTACH_FAILURES.map(|cause| {
            (
                cause,
                self.attach_failures.with_label_values(&[cause]).get(),
            )
        })
    }

    /// Readings of the kernel's maps that failed so far.
    pub fn map_read_failures(&self) -> u64 {
        self.map_read_failures.get()
    }

    /// Counts a sample's flags.
    pub fn flags(&self, flags: Flags) {
        for (flag, cause) in FLAG_NAMES {
            if flags.0 & flag.0 != 0 {
                self.samples_flagged.with_label_values(&[cause]).inc();
            }
        }
    }

    /// Takes over the kernel's losses.
    pub fn losses(&self, losses: &[(Loss, u64)]) {
        for (loss, total) in losses {
            raise(&self.losses.with_label_values(&[loss.name()]), *total);
        }
    }

    /// The losses of the last reading, for when another fails.
    pub fn last_losses(&self) -> [(Loss, u64); Loss::ALL.len()] {
        Loss::ALL.map(|loss| (loss, self.losses.with_label_values(&[loss.name()]).get()))
    }

    /// Counts and tells that a map of the kernel programs could not be read.
    pub fn map_read_failed(&self, error: &MapError) {
        tracing::warn!(%error, "cannot read a map of the kernel programs");
        self.map_read_failures.inc();
    }

    /// Counts a packet that takes no part in pairing.
    pub fn unpaired(&self, cause: ntp::Unpaired) {
        self.unpaired.with_label_values(&[cause.name()]).inc();
    }

    /// Counts an exchange.
    pub fn exchange(&self, kind: ntp::Match) {
        self.exchanges.with_label_values(&[kind.name()]).inc();
    }

    /// Exchanges of these kinds so far.
    pub fn exchanges_of(&self, kinds: &[ntp::Match]) -> u64 {
        kinds
            .iter()
            .map(|kind| self.exchanges.with_label_values(&[kind.name()]).get())
            .sum()
    }

    /// Takes over the pairing's totals.
    pub fn pairing(&self, tally: ntp::Tally, remembered: usize) {
        let raise_to =
            |cause, total| raise(&self.requests_not_paired.with_label_values(&[cause]), total);
        raise_to("duplicate", tally.duplicate_requests);
        raise_to("table_full", tally.untracked_requests);
        raise_to("evicted", tally.evicted_requests);
        raise(&self.responses_not_paired, tally.unpaired_responses);
        self.requests_remembered.set(remembered as i64);
    }

    /// Takes over the spool's totals.
    pub fn spool(&self, status: &spool::Status) {
        let tally = &status.tally;
        let dropped = tally.omitted.iter().flatten().sum();
        let states = [
            ("sealed", tally.sealed.iter().sum()),
            ("recovered", tally.recovered.iter().sum()),
            ("stored", tally.stored.iter().sum()),
            ("refused", tally.refused.iter().sum()),
            ("dropped", dropped),
        ];
        for (state, total) in states {
            raise(&self.batches.with_label_values(&[state]), total);
        }
        for kind in KINDS {
            let (name, at) = (kind.name(), rank(kind));
            let lost = |cause, batches, records| {
                raise(
                    &self.batches_lost.with_label_values(&[name, cause]),
                    batches,
                );
                raise(
                    &self.records_lost.with_label_values(&[name, cause]),
                    records,
                );
            };
            lost("refused", tally.refused[at], tally.refused_records[at]);
            for (cause, (_, label)) in spool::CAUSES.iter().enumerate() {
                lost(
                    label,
                    tally.omitted[at][cause],
                    tally.omitted_records[at][cause],
                );
            }
        }
        self.spool_batches.set(status.waiting.0 as i64);
        self.spool_bytes.set(status.waiting.1 as i64);
        self.spool_memory_batches.set(status.in_memory as i64);
        self.spool_disk_bytes.set(status.disk_bytes as i64);
        self.spool_segments.set(status.segments as i64);
        self.spool_index_bytes.set(status.index_bytes as i64);
        raise(&self.spool_write_errors, status.write_errors);
        raise(&self.spool_read_errors, status.read_errors);
    }

    /// Takes over the state of the clock.
    pub fn clock(&self, clock: Synchronisation) {
        self.clock_synchronised.set(clock.synchronised.into());
        self.clock_maximum_error
            .set(clock.maximum_error_us as f64 / 1e6);
    }

    /// Counts a connection that moved to a fresh socket.
    pub fn rebound(&self, cause: RebindCause) {
        self.rebinds.with_label_values(&[cause.name()]).inc();
    }

    /// Counts a certificate that was found while connected, and whether a connection with it came
    /// about.
    pub fn certificate_loaded(&self, good: bool) {
        let result = if good { "used" } else { "failed" };
        self.certificate_loads.with_label_values(&[result]).inc();
    }

    /// Counts a failure to attach.
    pub fn attach_failure(&self, cause: &str) {
        self.attach_failures.with_label_values(&[cause]).inc();
    }

    /// The Prometheus text format, version 0.0.4.
    pub fn render(&self) -> String {
        let mut text = Vec::new();
        TextEncoder::new()
            .encode(&self.registry.gather(), &mut text)
            .expect("a Vec takes all");
        String::from_utf8(text).expect("the format is text")
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// What is read again and again from the kernel programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// NTP events from the ring buffer.
    Events,
    /// The counters of all interfaces.
    Counters,
    /// The maps of flows.
    Flows,
}

impl Drained {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Events, Self::Counters, Self::Flows];

    /// The name used in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Counters => "counters",
            Self::Flows => "flows",
        }
    }
}

/// Causes of a failure to attach.
const ATTACH_FAILURES: [&str; 7] = [
    "counters_full",
    "gone",
    "no_clsact",
    "no_tcx",
    "refused",
    "removed",
    "taken",
];

type Part = (&'static str, Counters);

/// Networks and transports with what belongs to each, by the values of their labels.
fn parts(split: &Split) -> ([Part; 3], [Part; 4]) {
    (
        [
            ("ipv4", split.ipv4),
            ("ipv6", split.ipv6),
            ("other", split.other),
        ],
        [
            ("tcp", split.tcp),
            ("udp", split.udp),
            ("icmp", split.icmp),
            ("other", split.other_transport),
        ],
    )
}

const FLAG_NAMES: [(Flags, &str); 3] = [
    (Flags::COUNTER_WENT_BACK, "counter_went_back"),
    (Flags::ABOVE_LINK_SPEED, "above_link_speed"),
    (Flags::CLOCK_STEP, "clock_step"),
];

/// Raises a counter to a total that is kept elsewhere; a total that went back is left alone.
fn raise(counter: &IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_appears_and_goes() {
        let metrics = Metrics::new();
        let ingress = Counters::from_words([3, 300, 4, 400]);
        metrics.interface(
            "eth0",
            Totals {
                ingress,
                ..Totals::default()
            },
        );
        let line =
            "netmon_agent_interface_wire_bytes_total{direction=\"ingress\",interface=\"eth0\"} 400";
        assert!(metrics.render().contains(line));
        metrics.splits("eth0", &[Split::default(); 2]);
        metrics.attach_mode("eth0", "tcx");
        metrics.attach_mode("eth0", "clsact");
        let text = metrics.render();
        let mode = |mode| format!("attach_mode{{interface=\"eth0\",mode=\"{mode}\"}} 1");
        assert!(
            text.contains(&mode("clsact")) && !text.contains(&mode("tcx")),
            "{text}"
        );
        metrics.forget_interface("eth0");
        assert!(!metrics.render().contains("eth0"));
    }

    #[test]
    fn losses_survive_a_reading_that_fails() {
        let metrics = Metrics::new();
        metrics.losses(&[(Loss::RingFull, 3)]);
        metrics.map_read_failed(&MapError::KeyNotFound);
        assert_eq!(metrics.last_losses()[0], (Loss::RingFull, 3));
        assert!(
            metrics
                .render()
                .contains("netmon_agent_map_read_failures_total 1")
        );
    }

    #[test]
    fn every_cause_is_visible_from_the_start() {
        let text = Metrics::new().render();
        for loss in Loss::ALL {
            assert!(text.contains(&format!(
                "netmon_agent_losses_total{{cause=\"{}\"}} 0",
                loss.name()
            )));
        }
    }
}
