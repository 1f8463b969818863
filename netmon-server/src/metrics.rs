//! What the server counts about itself and its agents, for Prometheus.
//!
//! Every label has a fixed set of values, except `agent` and `interface` of the series in
//! [`fleet`], which are bounded by the agents enrolled and by `max_interface_series`.

use std::time::Duration;

use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder,
    core::Collector,
};

use crate::{
    live::LiveBoard,
    store::{Committed, GroupCommitted},
};

mod ageing;
mod aggregation;
mod audit;
mod botnets;
mod feeds;
pub mod fleet;
mod geo;
pub mod host;
mod labels;
mod ntp;
mod watch;
mod writers;

pub use ageing::Ageing;
pub use aggregation::Aggregation;
pub use audit::Audit;
pub use botnets::{Botnets, ChunkFailure, OpenUpload};
pub use feeds::Feeds;
pub use geo::Geo;
pub use labels::{
    BatchRefusal, CertificateRefresh, ConnectionRefusal, DatabaseOperation, FlushCause,
    HandshakeFailure, Label, Lane, StreamFailure, Table,
};
pub use ntp::Ntp;
pub use watch::Watch;
pub use writers::Writers;

/// The content type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Every metric of the server process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    connections: IntGauge,
    connections_total: IntCounter,
    connection_refusals: IntCounterVec,
    handshake_failures: IntCounterVec,
    certificate_refreshes: IntCounterVec,
    certificate_expires: IntGauge,
    received_bytes: IntCounter,
    live_frames: IntCounter,
    stream_failures: IntCounterVec,
    batches: IntCounterVec,
    batch_refusals: IntCounterVec,
    rows: IntCounterVec,
    commit_duration: Histogram,
    database_errors: IntCounterVec,
    /// Groups of batches.
    pub writers: Writers,
    /// Roll-ups, retention and space.
    pub ageing: Ageing,
    /// The last audit.
    pub audit: Audit,
    /// NTP exchanges that were stored.
    pub ntp: Ntp,
    /// Uploads and sightings.
    pub botnets: Botnets,
    /// Who sends logs, and whether they still do.
    pub feeds: Feeds,
    /// What agents watch.
    pub watch: Watch,
    /// Their statistics.
    pub aggregation: Aggregation,
    /// Look-ups of addresses, and nodes located again.
    pub geo: Geo,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All metrics at zero, each label value present from the start.
    pub fn new() -> Self {
        let registry = Registry::new();
        let build = Opts::new(
            "netmon_server_build_info",
            "Always 1; the version is in the label.",
        )
        .const_label("version", env!("CARGO_PKG_VERSION"));
        let build = register(&registry, IntGauge::with_opts(build).expect(REGISTERED));
        build.set(1);
        Self {
            connections: gauge(
                &registry,
                "netmon_server_quic_connections",
                "QUIC connections that are open or being made.",
            ),
            connections_total: counter(
                &registry,
                "netmon_server_agent_connections_total",
                "Connections on which an agent introduced itself.",
            ),
            connection_refusals: labels::of::<ConnectionRefusal>(
                &registry,
                "netmon_server_connections_closed_total",
                "Connections the server refused or closed, by cause.",
            ),
            handshake_failures: labels::of::<HandshakeFailure>(
                &registry,
                "netmon_server_handshake_failures_total",
                "QUIC handshakes that failed, by cause.",
            ),
            certificate_refreshes: labels::of::<CertificateRefresh>(
                &registry,
                "netmon_server_certificate_refreshes_total",
                "Changes of the server's certificate while it runs, by result.",
            ),
            certificate_expires: gauge(
                &registry,
                "netmon_server_certificate_expires_timestamp_seconds",
                "When the server's certificate expires, seconds since 1970.",
            ),
            received_bytes: counter(
                &registry,
                "netmon_server_received_bytes_total",
                "Octets of messages received from agents.",
            ),
            live_frames: counter(
                &registry,
                "netmon_server_live_frames_total",
                "Live frames received from agents.",
            ),
            stream_failures: labels::of::<StreamFailure>(
                &registry,
                "netmon_server_stream_failures_total",
                "Streams that held no message the server could read, by cause.",
            ),
            batches: labels::vector(
                &registry,
                "netmon_server_batches_total",
                "Batches, by what became of them.",
                "result",
                &["committed", "duplicate", "refused"],
            ),
            batch_refusals: labels::of::<BatchRefusal>(
                &registry,
                "netmon_server_batch_refusals_total",
                "Batches that can never be stored, by cause.",
            ),
            rows: labels::of::<Table>(
                &registry,
                "netmon_server_rows_total",
                "Rows committed to the database, by table.",
            ),
            commit_duration: commit_duration(&registry),
            database_errors: labels::of::<DatabaseOperation>(
                &registry,
                "netmon_server_database_errors_total",
                "Operations on the database that failed and are tried again, by operation.",
            ),
            writers: Writers::new(&registry),
            ageing: Ageing::new(&registry),
            audit: Audit::new(&registry),
            ntp: Ntp::new(&registry),
            botnets: Botnets::new(&registry),
            feeds: Feeds::new(&registry),
            watch: Watch::new(&registry),
            aggregation: Aggregation::new(&registry),
            geo: Geo::new(&registry),
            registry,
        }
    }

    /// A QUIC connection began; the guard counts its end.
    pub fn connection_opened(&self) -> OpenConnection {
        self.connections.inc();
        OpenConnection(self.connections.clone())
    }

    /// An agent sent its Hello.
    pub fn agent_connected(&self) {
        self.connections_total.inc();
    }

    /// The server refused or closed a connection.
    pub fn connection_refused(&self, cause: ConnectionRefusal) {
        self.connection_refusals
            .with_label_values(&[cause.name()])
            .inc();
    }

    /// A QUIC or TLS handshake failed.
    pub fn handshake_failed(&self, cause: HandshakeFailure) {
        self.handshake_failures
            .with_label_values(&[cause.name()])
            .inc();
    }

    /// The server's certificate changed, or was to change.
    pub fn certificate_refreshed(&self, result: CertificateRefresh) {
        self.certificate_refreshes
            .with_label_values(&[result.name()])
            .inc();
    }

    /// When the server's certificate expires.
    pub fn certificate_expires(&self, at: time::OffsetDateTime) {
        self.certificate_expires.set(at.unix_timestamp());
    }

    /// Octets of one message, or of the part of it that was read.
    pub fn received(&self, bytes: usize) {
        self.received_bytes.inc_by(bytes as u64);
    }

    /// A live frame arrived.
    pub fn live_frame(&self) {
        self.live_frames.inc();
    }

    /// A stream held nothing readable.
    pub fn stream_failed(&self, cause: StreamFailure) {
        self.stream_failures
            .with_label_values(&[cause.name()])
            .inc();
    }

    /// A group of batches is durable; gives how many of them were stored now.
    pub fn group_committed(&self, group: &GroupCommitted) -> u64 {
        let stored = |verdict: &&Committed| matches!(verdict, Committed::Stored(_));
        let stored = group.verdicts.iter().filter(stored).count() as u64;
        self.batches
            .with_label_values(&["committed"])
            .inc_by(stored);
        for (table, count) in group.rows.by_table() {
            self.rows.with_label_values(&[table.name()]).inc_by(count);
        }
        self.watch.sighted(&group.sightings);
        stored
    }

    /// A batch was in already.
    pub fn batch_duplicate(&self) {
        self.batches.with_label_values(&["duplicate"]).inc();
    }

    /// A batch can never be stored.
    pub fn batch_refused(&self, cause: BatchRefusal) {
        self.batches.with_label_values(&["refused"]).inc();
        self.batch_refusals.with_label_values(&[cause.name()]).inc();
    }

    /// Time from the first statement of a committed transaction to its end.
    pub fn commit_took(&self, elapsed: Duration) {
        self.commit_duration.observe(elapsed.as_secs_f64());
    }

    /// Rows committed to a table so far.
    pub fn rows_total(&self, table: Table) -> u64 {
        self.rows.with_label_values(&[table.name()]).get()
    }

    /// Batches refused so far.
    pub fn batches_refused(&self) -> u64 {
        self.batches.with_label_values(&["refused"]).get()
    }

    /// An operation on the database failed for a reason that passes.
    pub fn database_error(&self, operation: DatabaseOperation) {
        self.database_errors
            .with_label_values(&[operation.name()])
            .inc();
    }

    /// Everything in Prometheus' text format 0.0.4 ([`CONTENT_TYPE`]), with the newest values of
    /// the agents; at most `max_interface_series` interfaces get series of their own.
    pub fn render(&self, live: &LiveBoard, max_interface_series: usize) -> String {
        self.ntp.refresh();
        let mut families = self.registry.gather();
        families.extend(fleet::gather(live, max_interface_series));
        // Both sets hold only families with samples and text that is UTF-8, all the encoder asks.
        TextEncoder::new()
            .encode_to_string(&families)
            .expect("complete metric families")
    }
}

/// Counts a connection as open until dropped.
#[derive(Debug)]
pub struct OpenConnection(IntGauge);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

// Names are constants of this file and each is registered once: a failure is a mistake in this
// file, which every test would hit.
const REGISTERED: &str = "metric names are valid and distinct";

fn gauge(registry: &Registry, name: &str, help: &str) -> IntGauge {
    register(
        registry,
        IntGauge::with_opts(Opts::new(name, help)).expect(REGISTERED),
    )
}

fn counter(registry: &Registry, name: &str, help: &str) -> IntCounter {
    register(
        registry,
        IntCounter::with_opts(Opts::new(name, help)).expect(REGISTERED),
    )
}

fn commit_duration(registry: &Registry) -> Histogram {
    let options = HistogramOpts::new(
        "netmon_server_commit_duration_seconds",
        "Time one batch's transaction took, when it was committed.",
    )
    .buckets(vec![
        0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
    ]);
    register(registry, Histogram::with_opts(options).expect(REGISTERED))
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> C {
    registry
        .register(Box::new(collector.clone()))
        .expect(REGISTERED);
    collector
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_is_present_before_it_happens() {
        let text = Metrics::new().render(&LiveBoard::new(), 10);
        for line in [
            "netmon_server_handshake_failures_total{cause=\"alpn\"} 0",
            "netmon_server_batches_total{result=\"committed\"} 0",
            "netmon_server_stream_failures_total{cause=\"truncated\"} 0",
            "netmon_server_rows_total{table=\"bandwidth_stats\"} 0",
            "netmon_server_agents_connected 0",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
        }
    }

    #[test]
    fn an_open_connection_is_counted_until_it_ends() {
        let metrics = Metrics::new();
        let open = metrics.connection_opened();
        assert_eq!(metrics.connections.get(), 1);
        drop(open);
        assert_eq!(metrics.connections.get(), 0);
    }
}
