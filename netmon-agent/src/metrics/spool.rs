//! Batches, and what became of them.

use netmon_common::wire::KINDS;

use super::{Metrics, raise};
use crate::spool::{self, rank};

impl Metrics {
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
}
