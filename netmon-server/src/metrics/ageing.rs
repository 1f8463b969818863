//! Roll-ups, retention and space.

use prometheus::{Gauge, GaugeVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};
use time::OffsetDateTime;

use super::{REGISTERED, gauge, labels, register};
use crate::store::{Maintained, Series};

const SERIES: &str = "series";

/// What the ageing of the data shows. Of several servers the one that does the work has values.
#[derive(Debug)]
pub struct Ageing {
    lag: GaugeVec,
    late_hours: IntGaugeVec,
    hours: IntCounterVec,
    revised: IntCounterVec,
    folded: IntCounterVec,
    partitions: IntGaugeVec,
    dropped: IntCounterVec,
    free_bytes: IntGauge,
    free_ratio: Gauge,
    database_bytes: IntGauge,
    short: IntGauge,
}

impl Ageing {
    pub(super) fn new(registry: &Registry) -> Self {
        let gauges = |name: &str, help: &str, label: &str| {
            let vector = IntGaugeVec::new(Opts::new(name, help), &[label]).expect(REGISTERED);
            register(registry, vector)
        };
        let lag = Opts::new(
            "netmon_server_rollup_lag_seconds",
            "Time since the end of the last hour that is rolled up, by raw table.",
        );
        let free_ratio = Opts::new(
            "netmon_server_disk_free_ratio",
            "Free share of the managed database's file system, 0 to 1.",
        );
        let rolled_up: Vec<_> = Series::rolled_up().map(Series::table).collect();
        let counters = |name, help| labels::vector(registry, name, help, SERIES, &rolled_up);
        Self {
            lag: register(registry, GaugeVec::new(lag, &[SERIES]).expect(REGISTERED)),
            late_hours: gauges(
                "netmon_server_rollup_late_windows",
                "Hours of single agents that wait to be rolled up again, by raw table.",
                SERIES,
            ),
            hours: counters(
                "netmon_server_rollup_windows_total",
                "Hours rolled up for all agents, by raw table.",
            ),
            revised: counters(
                "netmon_server_rollup_windows_revised_total",
                "Hours of single agents rolled up again for late rows, by raw table.",
            ),
            folded: counters(
                "netmon_server_rollup_rows_folded_total",
                "Late rows added to sums whose raw rows are gone, by raw table.",
            ),
            partitions: gauges(
                "netmon_server_partitions",
                "Partitions there are, by table.",
                "table",
            ),
            dropped: labels::vector(
                registry,
                "netmon_server_partitions_dropped_total",
                "Partitions dropped: at the end of their retention, or before for want of space.",
                "cause",
                &["retention", "space"],
            ),
            free_bytes: gauge(
                registry,
                "netmon_server_disk_free_bytes",
                "Free space of the managed database's file system.",
            ),
            free_ratio: register(registry, Gauge::with_opts(free_ratio).expect(REGISTERED)),
            database_bytes: gauge(
                registry,
                "netmon_server_database_bytes",
                "Size of the database, if disk.max_database_bytes bounds it.",
            ),
            short: gauge(
                registry,
                "netmon_server_disk_short",
                "1 while space is short by the settings of the disk guard.",
            ),
        }
    }

    /// A round of maintenance is done.
    pub fn record(&self, done: &Maintained, now: OffsetDateTime) {
        for of in &done.rolled_up {
            let series = [of.series.table()];
            let lag = (now - of.through).as_seconds_f64().max(0.0);
            self.lag.with_label_values(&series).set(lag);
            let marks = i64::try_from(of.marks).unwrap_or(i64::MAX);
            self.late_hours.with_label_values(&series).set(marks);
            self.hours.with_label_values(&series).inc_by(of.hours);
            self.revised.with_label_values(&series).inc_by(of.revised);
            self.folded.with_label_values(&series).inc_by(of.folded);
        }
        for (series, count) in &done.partitions {
            let table = [series.table()];
            self.partitions.with_label_values(&table).set(*count as i64);
        }
        let guarded = &done.guarded;
        for (cause, dropped) in [("retention", &done.dropped), ("space", &guarded.dropped)] {
            let dropped = dropped.len() as u64;
            self.dropped.with_label_values(&[cause]).inc_by(dropped);
        }
        if let Some(space) = guarded.space {
            let free = i64::try_from(space.free_bytes).unwrap_or(i64::MAX);
            self.free_bytes.set(free);
            let total = space.total_bytes.max(1) as f64;
            self.free_ratio.set(space.free_bytes as f64 / total);
        }
        let bytes = guarded.database_bytes.unwrap_or_default();
        self.database_bytes
            .set(i64::try_from(bytes).unwrap_or(i64::MAX));
        self.short.set(guarded.shortage.is_some().into());
    }

    /// Another server does the work: values that would grow stale are taken away.
    pub fn rests(&self) {
        self.lag.reset();
        self.late_hours.reset();
        self.partitions.reset();
    }
}
