//! What is read from the kernel programs, and what reading them takes.

use std::time::Duration;

use aya::maps::MapError;
use netmon_common::loss::Loss;

use super::{Metrics, raise};
use crate::sensor::ProgramTime;

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

impl Metrics {
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

    /// Readings of the kernel's maps that failed so far.
    pub fn map_read_failures(&self) -> u64 {
        self.map_read_failures.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
