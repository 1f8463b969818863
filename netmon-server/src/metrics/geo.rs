//! Look-ups of addresses, the files behind them, and nodes located again.

use netmon_geo::{Atlas, Place};
use prometheus::{IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use super::{REGISTERED, gauge, labels, register};

/// Digits of the edition's fingerprint that are shown.
const EDITION_DIGITS: usize = 12;

/// Counters and gauges of places. Clones count in the same place.
#[derive(Clone, Debug)]
pub struct Geo {
    lookups: IntCounterVec,
    edition: IntGaugeVec,
    memory: IntGauge,
    reloads: IntCounterVec,
    relocated: IntCounterVec,
    outdated: IntGauge,
}

/// Counts that nobody asks for: those of a command.
impl Default for Geo {
    fn default() -> Self {
        Self::new(&Registry::new())
    }
}

impl Geo {
    pub(super) fn new(registry: &Registry) -> Self {
        let edition = Opts::new(
            "netmon_server_geo_info",
            "Always 1; the edition of the geo files in use is in the label.",
        );
        Self {
            lookups: labels::vector(
                registry,
                "netmon_server_geo_lookups_total",
                "Addresses looked up, by what is known of where they are.",
                "known",
                &["city", "province", "country", "nothing"],
            ),
            edition: register(
                registry,
                IntGaugeVec::new(edition, &["edition"]).expect(REGISTERED),
            ),
            memory: gauge(
                registry,
                "netmon_server_geo_memory_bytes",
                "Memory that the geo files in use take, about.",
            ),
            reloads: labels::vector(
                registry,
                "netmon_server_geo_reloads_total",
                "Geo files that had changed and were read again, by result; after a failure the old \
                 ones stay in use.",
                "result",
                &["changed", "failed"],
            ),
            relocated: labels::vector(
                registry,
                "netmon_server_geo_relocated_nodes_total",
                "Botnet nodes located again by other geo files, by whether they are elsewhere now.",
                "result",
                &["same", "moved"],
            ),
            outdated: gauge(
                registry,
                "netmon_server_geo_outdated_nodes",
                "Botnet nodes that are still to be located again.",
            ),
        }
    }

    /// An address was looked up.
    pub fn looked_up(&self, place: &Place) {
        let known = match (place.country(), place.province(), place.city()) {
            ("", ..) => "nothing",
            (_, "", "") => "country",
            (_, _, "") => "province",
            _ => "city",
        };
        self.lookups.with_label_values(&[known]).inc();
    }

    /// An atlas is in use from now on.
    pub fn in_use(&self, atlas: &Atlas) {
        self.edition.reset();
        let edition = &atlas.edition().fingerprint[..EDITION_DIGITS];
        self.edition.with_label_values(&[edition]).set(1);
        self.memory.set(atlas.memory_bytes() as i64);
    }

    /// Files that had changed were read, or could not be.
    pub fn reloaded(&self, successfully: bool) {
        let result = if successfully { "changed" } else { "failed" };
        self.reloads.with_label_values(&[result]).inc();
    }

    /// Nodes were located again.
    pub fn relocated(&self, same: u64, moved: u64) {
        self.relocated.with_label_values(&["same"]).inc_by(same);
        self.relocated.with_label_values(&["moved"]).inc_by(moved);
        let left = self.outdated.get() - (same + moved) as i64;
        self.outdated.set(left.max(0));
    }

    /// So many nodes are to be located again.
    pub fn outdated(&self, nodes: u64) {
        self.outdated.set(i64::try_from(nodes).unwrap_or(i64::MAX));
    }
}
