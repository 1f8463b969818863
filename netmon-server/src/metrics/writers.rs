//! What the writers of batches do.

use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry,
};

use super::{FlushCause, Label, Lane, REGISTERED, counter, labels, register};

/// Groups, queues, and what goes wrong in them.
#[derive(Debug)]
pub struct Writers {
    queued: IntGaugeVec,
    queued_bytes: IntGaugeVec,
    flushes: IntCounterVec,
    batches: Histogram,
    rows: Histogram,
    bisections: IntCounter,
    mismatches: IntCounter,
    staged: IntCounter,
    present: IntCounter,
    floors: IntCounter,
    trimmed: IntCounter,
}

impl Writers {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            queued: by_lane(
                registry,
                "netmon_server_writer_queue_batches",
                "Batches that wait for a writer, by lane.",
            ),
            queued_bytes: by_lane(
                registry,
                "netmon_server_writer_queue_bytes",
                "Octets of these.",
            ),
            flushes: labels::of::<FlushCause>(
                registry,
                "netmon_server_writer_flushes_total",
                "Groups of batches taken by a writer, by what made them complete.",
            ),
            batches: histogram(
                registry,
                "netmon_server_group_batches",
                "Batches stored by one transaction.",
                1.0,
            ),
            rows: histogram(
                registry,
                "netmon_server_group_rows",
                "Rows written by one transaction.",
                4.0,
            ),
            bisections: counter(
                registry,
                "netmon_server_group_bisections_total",
                "Groups tried again in halves because one of their batches can never be stored.",
            ),
            mismatches: counter(
                registry,
                "netmon_server_count_mismatches_total",
                "Transactions rolled back because the database took more or fewer rows than sent.",
            ),
            staged: counter(
                registry,
                "netmon_server_staged_groups_total",
                "Groups stored through a staging table because some of their rows were there.",
            ),
            present: counter(
                registry,
                "netmon_server_staged_rows_present_total",
                "Rows of these that were there already.",
            ),
            floors: counter(
                registry,
                "netmon_server_ledger_floors_raised_total",
                "Streams of batches whose floor was raised.",
            ),
            trimmed: counter(
                registry,
                "netmon_server_ledger_rows_trimmed_total",
                "Rows of the ledger deleted behind their stream's floor.",
            ),
        }
    }

    /// A batch of so many octets waits in a lane.
    pub fn arrived(&self, lane: Lane, bytes: usize) {
        self.queued.with_label_values(&[lane.name()]).inc();
        self.queued_bytes
            .with_label_values(&[lane.name()])
            .add(octets(bytes));
    }

    /// A writer took it.
    pub fn taken(&self, lane: Lane, bytes: usize) {
        self.queued.with_label_values(&[lane.name()]).dec();
        self.queued_bytes
            .with_label_values(&[lane.name()])
            .sub(octets(bytes));
    }

    /// Batches that wait in a lane.
    pub fn queued(&self, lane: Lane) -> i64 {
        self.queued.with_label_values(&[lane.name()]).get()
    }

    /// A writer took a group.
    pub fn flushed(&self, cause: FlushCause) {
        self.flushes.with_label_values(&[cause.name()]).inc();
    }

    /// A transaction stored batches and rows.
    pub fn grouped(&self, batches: u64, rows: u64) {
        self.batches.observe(batches as f64);
        self.rows.observe(rows as f64);
    }

    /// A group is tried again in halves.
    pub fn bisected(&self) {
        self.bisections.inc();
    }

    /// The counts of a transaction did not fit.
    pub fn mismatch(&self) {
        self.mismatches.inc();
    }

    /// A group was stored through a staging table, which found so many rows there.
    pub fn staged(&self, present: u64) {
        self.staged.inc();
        self.present.inc_by(present);
    }

    /// The ledger was trimmed.
    pub fn trimmed(&self, floors: u64, rows: u64) {
        self.floors.inc_by(floors);
        self.trimmed.inc_by(rows);
    }
}

fn octets(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn by_lane(registry: &Registry, name: &str, help: &str) -> IntGaugeVec {
    let gauge = IntGaugeVec::new(Opts::new(name, help), &[Lane::LABEL]).expect(REGISTERED);
    let gauge = register(registry, gauge);
    for lane in Lane::ALL {
        gauge.with_label_values(&[lane.name()]);
    }
    gauge
}

/// Buckets from `first` on, each four times as large as the one before.
fn histogram(registry: &Registry, name: &str, help: &str, first: f64) -> Histogram {
    let buckets = prometheus::exponential_buckets(first, 4.0, 8).expect("a factor above 1");
    let opts = HistogramOpts::new(name, help).buckets(buckets);
    register(registry, Histogram::with_opts(opts).expect(REGISTERED))
}
