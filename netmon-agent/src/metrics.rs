//! The agent's own metrics, for Prometheus.

mod describe;
mod folds;
mod http;
mod interface;
mod kernel;
mod namespace;
mod ntp;
mod spool;
mod uplink;

use std::{collections::HashMap, sync::Mutex};

use prometheus::{
    CounterVec, Encoder as _, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Registry, TextEncoder,
};

pub use self::{http::serve, kernel::Drained};
use crate::{clock::Synchronisation, uplink::Contacts};

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
    refusals_not_paired: IntCounter,
    responses_held: IntGauge,
    measured: IntCounterVec,
    dialogues: IntCounterVec,
    dialogue_octets: IntCounterVec,
    ntp_entries: IntGaugeVec,
    ntp_evictions: IntCounterVec,
    /// Of the newest wishes about NTP that are acted on.
    pub ntp_monitoring_revision: IntGauge,
    /// Watched interfaces on which NTP is looked at.
    pub ntp_interfaces_monitored: IntGauge,
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
    /// Exchanges by how they become records.
    pub folds: folds::Folds,
    /// Flows and watch list.
    pub flows: crate::flows::metrics::Metrics,
    /// The host.
    pub system: crate::system::metrics::Metrics,
    attach_failures: IntCounterVec,
    namespace_watched: IntGaugeVec,
    namespace_failures: IntCounterVec,
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
    /// Octets of UDP payload that the path to the server takes; 0: not connected.
    pub path_mtu: IntGauge,
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
    /// Takes over the state of the clock.
    pub fn clock(&self, clock: Synchronisation) {
        self.clock_synchronised.set(clock.synchronised.into());
        self.clock_maximum_error
            .set(clock.maximum_error_us as f64 / 1e6);
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

/// Raises a counter to a total that is kept elsewhere; a total that went back is left alone.
fn raise(counter: &IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}
