//! Every metric with its name and help text.

use std::sync::Mutex;

use netmon_common::loss::Loss;
use prometheus::{
    CounterVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, core::Collector,
};

use super::{
    Drained, Metrics,
    folds::Folds,
    interface::{ATTACH_FAILURES, FLAG_NAMES},
};
use crate::{
    run::OpenError,
    spool,
    uplink::{Contacts, RebindCause},
};

/// From what an idle turn takes to what delays everything else, s.
const DRAIN_BUCKETS: [f64; 9] = [
    10e-6, 30e-6, 100e-6, 300e-6, 1e-3, 3e-3, 10e-3, 30e-3, 100e-3,
];

impl Metrics {
    /// All metrics at zero.
    pub fn new() -> Self {
        let registry = Registry::new();
        let r = &registry;
        let interface = ["interface", "direction"];
        let metrics = Self {
            interface_packets: vec(
                r,
                "interface_packets_total",
                "Socket buffers that crossed the interface, as /sys/class/net counts them.",
                &interface,
            ),
            interface_bytes: vec(
                r,
                "interface_bytes_total",
                "Octets of these buffers from the link-layer header on.",
                &interface,
            ),
            interface_wire_packets: vec(
                r,
                "interface_wire_packets_total",
                "Packets on the wire: GSO and GRO buffers count as their segments.",
                &interface,
            ),
            interface_wire_bytes: vec(
                r,
                "interface_wire_bytes_total",
                "Octets on the wire, each segment with its own headers.",
                &interface,
            ),
            network_packets: vec(
                r,
                "interface_network_packets_total",
                "Socket buffers that crossed the interface, by network layer.",
                &["interface", "direction", "network"],
            ),
            network_bytes: vec(
                r,
                "interface_network_bytes_total",
                "Octets of these buffers, by network layer.",
                &["interface", "direction", "network"],
            ),
            transport_packets: vec(
                r,
                "interface_transport_packets_total",
                "Socket buffers with IP in them, by transport.",
                &["interface", "direction", "transport"],
            ),
            transport_bytes: vec(
                r,
                "interface_transport_bytes_total",
                "Octets of these buffers, by transport.",
                &["interface", "direction", "transport"],
            ),
            samples_flagged: vec(
                r,
                "samples_flagged_total",
                "Bandwidth samples left out of rates, by cause.",
                &["cause"],
            ),
            losses: vec(
                r,
                "losses_total",
                "Packets that were or may have been NTP and did not become an event, by cause.",
                &["cause"],
            ),
            attach_modes: register(
                r,
                IntGaugeVec::new(
                    options(
                        "interface_attach_mode",
                        "1; the label names how the programs are attached.",
                    ),
                    &["interface", "mode"],
                )
                .expect("valid names"),
            ),
            attached: Mutex::default(),
            drain_times: register(
                r,
                HistogramVec::new(
                    HistogramOpts::from(options(
                        "drain_seconds",
                        "How long one reading of a map of the kernel programs took.",
                    ))
                    .buckets(DRAIN_BUCKETS.into()),
                    &["source"],
                )
                .expect("valid names"),
            ),
            program_runs: vec(
                r,
                "program_runs_total",
                "Runs of a kernel program while the kernel's BPF statistics were on.",
                &["program"],
            ),
            program_seconds: register(
                r,
                CounterVec::new(
                    options("program_run_seconds_total", "Time of these runs."),
                    &["program"],
                )
                .expect("valid names"),
            ),
            ring_used: gauge(
                r,
                "ring_used_bytes",
                "Octets of NTP events that wait in the kernel's ring buffer.",
            ),
            ring_peak: gauge(
                r,
                "ring_used_peak_bytes",
                "The most that waited there when the agent came to take them, since it started.",
            ),
            ring_capacity: gauge(
                r,
                "ring_capacity_bytes",
                "Octets the ring buffer has room for.",
            ),
            contacts: Contacts::default(),
            acknowledged: gauge(
                r,
                "uplink_acknowledged_timestamp_seconds",
                "When a server last said what it has stored, seconds since 1970; 0: never.",
            ),
            unpaired: vec(
                r,
                "ntp_unpaired_total",
                "NTP packets that take no part in pairing, by cause.",
                &["cause"],
            ),
            exchanges: vec(
                r,
                "ntp_exchanges_total",
                "NTP exchanges by how request and response belong together.",
                &["match"],
            ),
            requests_not_paired: vec(
                r,
                "ntp_requests_not_paired_total",
                "NTP requests that did not become an exchange, by cause.",
                &["cause"],
            ),
            requests_remembered: gauge(
                r,
                "ntp_requests_remembered",
                "NTP requests the pairing remembers.",
            ),
            responses_not_paired: counter(
                r,
                "ntp_responses_not_paired_total",
                "NTP responses that fit nothing while their requests may have been missed.",
            ),
            refusals_not_paired: counter(
                r,
                "ntp_refusals_not_paired_total",
                "ICMP errors about NTP that fit no request which waits.",
            ),
            responses_held: gauge(
                r,
                "ntp_responses_held",
                "NTP responses that wait for a request which may have been overtaken.",
            ),
            measured: vec(
                r,
                "ntp_measured_total",
                "Answered NTP exchanges by the first quality gate they did not pass; good: all.",
                &["gate"],
            ),
            dialogues: vec(
                r,
                "ntp_controls_total",
                "Questions of NTP modes 6 and 7 by how they ended.",
                &["mode", "outcome"],
            ),
            dialogue_octets: vec(
                r,
                "ntp_control_bytes_total",
                "UDP payload of NTP modes 6 and 7.",
                &["mode", "direction"],
            ),
            ntp_entries: gauges(
                r,
                "ntp_table_entries",
                "Entries of the tables of NTP that forget what was silent for longest.",
                &["table"],
            ),
            ntp_evictions: vec(
                r,
                "ntp_table_evictions_total",
                "Entries of these tables that had to go for others.",
                &["table"],
            ),
            ntp_monitoring_revision: gauge(
                r,
                "ntp_monitoring_revision",
                "Which of the server's wishes about NTP monitoring is acted on; 0: none.",
            ),
            ntp_interfaces_monitored: gauge(
                r,
                "ntp_interfaces_monitored",
                "Watched interfaces on which NTP is monitored.",
            ),
            batches: vec(
                r,
                "batches_total",
                "Batches by what became of them.",
                &["state"],
            ),
            records_lost: vec(
                r,
                "records_lost_total",
                "Records that will never be stored, by kind and cause.",
                &["kind", "cause"],
            ),
            batches_lost: vec(
                r,
                "batches_lost_total",
                "Batches that will never be stored, by kind and cause.",
                &["kind", "cause"],
            ),
            spool_batches: gauge(r, "spool_batches", "Batches the server has not stored yet."),
            spool_bytes: gauge(r, "spool_bytes", "Bytes of these batches."),
            spool_memory_batches: gauge(
                r,
                "spool_memory_batches",
                "Of these, batches that are on no disk.",
            ),
            spool_disk_bytes: gauge(r, "spool_disk_bytes", "Bytes of the spool's files."),
            spool_segments: gauge(r, "spool_segments", "Segments of the spool."),
            spool_index_bytes: gauge(
                r,
                "spool_index_bytes",
                "Bytes of memory for the index of these.",
            ),
            spool_write_errors: counter(
                r,
                "spool_write_errors_total",
                "Writes that the spool's disk refused.",
            ),
            spool_read_errors: counter(
                r,
                "spool_read_errors_total",
                "Batches and segments that the spool could not read any more.",
            ),
            clock_synchronised: gauge(
                r,
                "clock_synchronised",
                "1 if the kernel says that the wall clock is synchronised.",
            ),
            clock_maximum_error: {
                let gauge = prometheus::Gauge::with_opts(options(
                    "clock_maximum_error_seconds",
                    "The kernel's bound of the wall clock's error.",
                ))
                .expect("a valid name");
                register(r, gauge)
            },
            folds: Folds::new(r),
            flows: crate::flows::metrics::Metrics::new(r),
            system: crate::system::metrics::Metrics::new(r),
            attach_failures: vec(
                r,
                "attach_failures_total",
                "Interfaces the programs could not be attached to, by cause.",
                &["cause"],
            ),
            ntp_packets: counter(r, "ntp_packets_total", "NTP packets taken from the kernel."),
            invalid_events: counter(
                r,
                "invalid_events_total",
                "Records from the kernel that are no event.",
            ),
            namespace_watched: register(
                r,
                IntGaugeVec::new(
                    options(
                        "namespace_watched",
                        "1 while a network namespace of interfaces.namespaces is watched.",
                    ),
                    &["namespace"],
                )
                .expect("valid names"),
            ),
            namespace_failures: vec(
                r,
                "namespace_failures_total",
                "Attempts to watch a named network namespace that failed, by cause.",
                &["cause"],
            ),
            map_read_failures: counter(
                r,
                "map_read_failures_total",
                "Readings of the kernel's maps that failed; the last values stand in for them.",
            ),
            unasked_not_stored: counter(
                r,
                "ntp_unasked_responses_not_stored_total",
                "Responses without a request of ours beyond 200 a second: counted by match, not stored.",
            ),
            clock_steps: counter(r, "clock_steps_total", "Steps of the wall clock."),
            map_entries: gauge(
                r,
                "map_entries",
                "Entries of the kernel's hash of counters: two for each watched interface with an index above 255.",
            ),
            interfaces_watched: gauge(
                r,
                "interfaces_watched",
                "Interfaces with the kernel programs attached.",
            ),
            connected: gauge(r, "uplink_connected", "1 while a server is connected."),
            path_mtu: gauge(
                r,
                "uplink_path_mtu_bytes",
                "Octets of UDP payload found to pass on the way to the server; 0: not connected.",
            ),
            reconnects: counter(
                r,
                "uplink_disconnects_total",
                "Connections to a server that ended.",
            ),
            connect_failures: counter(
                r,
                "uplink_connect_failures_total",
                "Attempts that did not become a connection.",
            ),
            rebinds: vec(
                r,
                "uplink_rebinds_total",
                "Moves of a connection to a fresh socket, by cause.",
                &["cause"],
            ),
            certificate_loads: vec(
                r,
                "certificate_loads_total",
                "New certificates found while connected, by what became of them.",
                &["result"],
            ),
            certificate_expires: gauge(
                r,
                "certificate_expires_timestamp_seconds",
                "When the agent's certificate or its CA's expires, seconds since 1970.",
            ),
            batches_sent: counter(
                r,
                "uplink_batches_sent_total",
                "Batches handed to a connection; one sent again counts again.",
            ),
            bytes_sent: counter(
                r,
                "uplink_batch_bytes_sent_total",
                "Bytes of batches handed to a connection.",
            ),
            registry,
        };
        metrics.start_at_zero();
        let info = IntGauge::with_opts(
            options("build_info", "1; the label names the version.")
                .const_label("version", env!("CARGO_PKG_VERSION")),
        );
        register(&metrics.registry, info.expect("a valid name")).set(1);
        metrics
    }

    /// Makes every value of a fixed list visible before it first happens.
    fn start_at_zero(&self) {
        Loss::ALL
            .iter()
            .for_each(|loss| drop(self.losses.with_label_values(&[loss.name()])));
        for (_, cause) in FLAG_NAMES {
            self.samples_flagged.with_label_values(&[cause]);
        }
        for cause in RebindCause::ALL {
            self.rebinds.with_label_values(&[cause.name()]);
        }
        for result in ["failed", "used"] {
            self.certificate_loads.with_label_values(&[result]);
        }
        for cause in ATTACH_FAILURES {
            self.attach_failures.with_label_values(&[cause]);
        }
        for cause in OpenError::CAUSES {
            self.namespace_failures.with_label_values(&[cause]);
        }
        for source in Drained::ALL {
            self.drain_times.with_label_values(&[source.name()]);
        }
        self.start_ntp_at_zero();
        self.spool(&spool::Status::default());
    }
}

fn options(name: &str, help: &str) -> Opts {
    Opts::new(format!("netmon_agent_{name}"), help)
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> C {
    registry
        .register(Box::new(collector.clone()))
        .expect("every name is used once");
    collector
}

pub(super) fn counter(registry: &Registry, name: &str, help: &str) -> IntCounter {
    register(
        registry,
        IntCounter::with_opts(options(name, help)).expect("a valid name"),
    )
}

pub(super) fn gauge(registry: &Registry, name: &str, help: &str) -> IntGauge {
    register(
        registry,
        IntGauge::with_opts(options(name, help)).expect("a valid name"),
    )
}

fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    register(
        registry,
        IntGaugeVec::new(options(name, help), labels).expect("valid names"),
    )
}

pub(super) fn vec(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    register(
        registry,
        IntCounterVec::new(options(name, help), labels).expect("valid names"),
    )
}
