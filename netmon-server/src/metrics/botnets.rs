//! What is stored of botnets.

use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Registry};

use super::{REGISTERED, counter, gauge, labels, register};
use crate::store::botnets::{Figures, Folded, Rejections, Written};

/// What is wrong with rejected lines, by the codes of their reasons; codes that stand nowhere count as
/// `other`.
const CAUSES: [(&str, &[&str]); 6] = [
    (
        "special_address",
        &[
            "private",
            "loopback",
            "link_local",
            "unspecified",
            "broadcast",
            "multicast",
            "documentation",
            "reserved",
        ],
    ),
    (
        "address",
        &[
            "no_address",
            "bad_address",
            "host_name",
            "not_an_address",
            "network",
            "zone_id",
            "bad_port",
        ],
    ),
    (
        "time",
        &["bad_time", "time_out_of_range", "too_old", "in_future"],
    ),
    ("family", &["other_family"]),
    (
        "format",
        &[
            "unrecognised",
            "line_too_long",
            "nul",
            "bad_json",
            "bad_quotes",
            "no_header",
            "bad_cef",
        ],
    ),
    (OTHER, &[]),
];

const OTHER: &str = "other";

/// Uploads, their chunks and lines, and what follows from them.
///
/// Clones count in the same place.
#[derive(Clone, Debug)]
pub struct Botnets {
    lines: IntCounterVec,
    rejected: IntCounterVec,
    chunks: IntCounterVec,
    uploads: IntGauge,
    sightings: IntCounter,
    nodes: IntCounterVec,
    duration: Histogram,
    retries: IntCounter,
    failures: IntCounterVec,
    deltas_waiting: IntGauge,
    deltas_folded: IntCounter,
    expired: IntCounter,
    deleted: IntCounter,
}

/// An upload that is being received; counted until it is dropped.
#[derive(Debug)]
pub struct OpenUpload(IntGauge);

impl Drop for OpenUpload {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Counts that nobody asks for: those of a command.
impl Default for Botnets {
    fn default() -> Self {
        Self::new(&Registry::new())
    }
}

impl Botnets {
    pub(super) fn new(registry: &Registry) -> Self {
        let vector = |name, help, label, values: &[&str]| {
            labels::vector(registry, name, help, label, values)
        };
        let duration = HistogramOpts::new(
            "netmon_server_botnet_commit_duration_seconds",
            "Time the transaction of a chunk took, when it was committed.",
        )
        .buckets(vec![
            0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
        ]);
        Self {
            lines: vector(
                "netmon_server_botnet_lines_total",
                "Lines of chunks stored now, by what became of them.",
                "result",
                &["accepted", "duplicate", "rejected", "skipped"],
            ),
            rejected: vector(
                "netmon_server_botnet_lines_rejected_total",
                "Lines rejected, by what was wrong with them.",
                "cause",
                &CAUSES.map(|(cause, _)| cause),
            ),
            chunks: vector(
                "netmon_server_botnet_chunks_total",
                "Chunks of uploads: stored now, or known from an earlier attempt.",
                "result",
                &["stored", "known"],
            ),
            uploads: gauge(
                registry,
                "netmon_server_botnet_uploads",
                "Uploads being received.",
            ),
            sightings: counter(
                registry,
                "netmon_server_botnet_sightings_total",
                "Sightings committed, of logs and of sensors.",
            ),
            nodes: vector(
                "netmon_server_botnet_nodes_written_total",
                "Rows of nodes inserted (new) or updated (known).",
                "node",
                &["new", "known"],
            ),
            duration: register(registry, Histogram::with_opts(duration).expect(REGISTERED)),
            retries: counter(
                registry,
                "netmon_server_botnet_retries_total",
                "Attempts to store a chunk that failed for a reason that passes, and were made again.",
            ),
            failures: vector(
                "netmon_server_botnet_failures_total",
                "Chunks given up: the database stored other counts than it was sent, refuses the rows, or \
                 was away for too long.",
                "cause",
                &["mismatch", "refused", "unavailable"],
            ),
            deltas_waiting: gauge(
                registry,
                "netmon_server_botnet_deltas",
                "Differences of statistics that were not folded in at the last look.",
            ),
            deltas_folded: counter(
                registry,
                "netmon_server_botnet_deltas_folded_total",
                "Differences folded into the statistics.",
            ),
            expired: counter(
                registry,
                "netmon_server_botnet_nodes_expired_total",
                "Nodes dropped because they were not seen for botnets.nodes.",
            ),
            deleted: counter(
                registry,
                "netmon_server_botnet_nodes_deleted_total",
                "Nodes deleted on request, or with their family.",
            ),
        }
    }

    /// An upload begins; it counts until what is given is dropped.
    pub fn upload_opened(&self) -> OpenUpload {
        self.uploads.inc();
        OpenUpload(self.uploads.clone())
    }

    /// A chunk is stored.
    pub fn chunk_stored(
        &self,
        figures: Figures,
        rejections: &Rejections,
        written: Written,
        took: Duration,
    ) {
        self.chunks.with_label_values(&["stored"]).inc();
        for (result, lines) in [
            ("accepted", figures.accepted),
            ("duplicate", figures.duplicate),
            ("rejected", figures.rejected),
            ("skipped", figures.skipped()),
        ] {
            self.lines.with_label_values(&[result]).inc_by(lines);
        }
        for (code, lines) in &rejections.reasons {
            self.rejected
                .with_label_values(&[cause(code)])
                .inc_by(*lines);
        }
        self.duration.observe(took.as_secs_f64());
        self.written(written);
    }

    /// Sightings are committed.
    pub fn written(&self, written: Written) {
        self.sightings.inc_by(written.sightings);
        self.nodes
            .with_label_values(&["new"])
            .inc_by(written.new_nodes);
        self.nodes
            .with_label_values(&["known"])
            .inc_by(written.known_nodes);
    }

    /// A chunk was stored before.
    pub fn chunk_known(&self) {
        self.chunks.with_label_values(&["known"]).inc();
    }

    /// An attempt is made again.
    pub fn retried(&self) {
        self.retries.inc();
    }

    /// A chunk is given up.
    pub fn failed(&self, cause: ChunkFailure) {
        let cause = match cause {
            ChunkFailure::Mismatch => "mismatch",
            ChunkFailure::Refused => "refused",
            ChunkFailure::Unavailable => "unavailable",
        };
        self.failures.with_label_values(&[cause]).inc();
    }

    /// A round of folding is done.
    pub fn folded(&self, folded: &Folded) {
        self.deltas_waiting
            .set(i64::try_from(folded.waiting).unwrap_or(i64::MAX));
        self.deltas_folded.inc_by(folded.deltas);
    }

    /// Nodes were not seen for long enough.
    pub fn expired(&self, nodes: u64) {
        self.expired.inc_by(nodes);
    }

    /// Nodes were deleted.
    pub fn deleted(&self, nodes: u64) {
        self.deleted.inc_by(nodes);
    }
}

/// Why a chunk is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkFailure {
    /// Other counts stored than sent.
    Mismatch,
    /// The database never takes the rows.
    Refused,
    /// Not in time.
    Unavailable,
}

fn cause(code: &str) -> &'static str {
    let found = CAUSES.iter().find(|(_, codes)| codes.contains(&code));
    found.map_or(OTHER, |(cause, _)| cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_cause() {
        for (code, expected) in [
            ("multicast", "special_address"),
            ("bad_port", "address"),
            ("too_old", "time"),
            ("nul", "format"),
            ("of tomorrow", "other"),
        ] {
            assert_eq!(cause(code), expected);
        }
    }

    #[test]
    fn an_upload_is_open_until_it_is_dropped() {
        let metrics = Botnets::default();
        let open = [metrics.upload_opened(), metrics.clone().upload_opened()];
        assert_eq!(metrics.uploads.get(), 2);
        drop(open);
        assert_eq!(metrics.uploads.get(), 0);
    }
}
