//! Packets, exchanges and what is remembered of them.

use super::{Metrics, raise};
use crate::ntp;

impl Metrics {
    /// Counts a packet that takes no part in pairing.
    pub fn unpaired(&self, cause: ntp::Unpaired) {
        self.unpaired.with_label_values(&[cause.name()]).inc();
    }

    /// Counts a packet that nobody looks at.
    pub fn unwanted(&self, cause: ntp::Unwanted) {
        self.unpaired.with_label_values(&[cause.name()]).inc();
    }

    /// Counts an exchange, and what came of measuring it.
    pub fn finding(&self, finding: &ntp::Finding) {
        let kind = finding.exchange.kind.name();
        self.exchanges.with_label_values(&[kind]).inc();
        if let Some(gate) = finding.measured.gate {
            self.measured.with_label_values(&[gate.name()]).inc();
        }
    }

    /// Counts a question of mode 6 or 7.
    pub fn dialogue(&self, dialogue: &ntp::Dialogue) {
        let labels = [
            mode_name(dialogue.subject.mode()),
            dialogue.outcome().name(),
        ];
        self.dialogues.with_label_values(&labels).inc();
        let octets = [dialogue.request_octets, dialogue.response_octets];
        for (direction, octets) in DIRECTIONS.into_iter().zip(octets) {
            let labels = [labels[0], direction];
            self.dialogue_octets
                .with_label_values(&labels)
                .inc_by(octets);
        }
    }

    /// Exchanges of these kinds so far.
    pub fn exchanges_of(&self, kinds: impl IntoIterator<Item = ntp::Match>) -> u64 {
        kinds
            .into_iter()
            .map(|kind| self.exchanges.with_label_values(&[kind.name()]).get())
            .sum()
    }

    /// Takes over the observer's totals.
    pub fn pairing(&self, tally: ntp::Tally, load: ntp::Load) {
        let raise_to =
            |cause, total| raise(&self.requests_not_paired.with_label_values(&[cause]), total);
        raise_to("prefix_full", tally.prefix_full);
        raise_to("path_full", tally.path_full);
        raise_to("evicted", tally.evicted);
        raise(&self.responses_not_paired, tally.unpaired_responses);
        raise(&self.refusals_not_paired, tally.unpaired_refusals);
        self.requests_remembered.set(load.requests as i64);
        self.responses_held.set(load.held as i64);
        for (table, entries, evictions) in load.tables {
            self.ntp_entries
                .with_label_values(&[table])
                .set(entries as i64);
            raise(&self.ntp_evictions.with_label_values(&[table]), evictions);
        }
    }

    /// Makes every value of a fixed list visible before it first happens.
    pub(super) fn start_ntp_at_zero(&self) {
        for cause in ntp::Unpaired::ALL {
            self.unpaired.with_label_values(&[cause.name()]);
        }
        for cause in ntp::Unwanted::ALL {
            self.unpaired.with_label_values(&[cause.name()]);
        }
        for kind in ntp::Match::ALL {
            self.exchanges.with_label_values(&[kind.name()]);
        }
        for gate in ntp::Gate::ALL {
            self.measured.with_label_values(&[gate.name()]);
        }
        for mode in MODES {
            for outcome in ntp::Outcome::ALL {
                self.dialogues.with_label_values(&[mode, outcome.name()]);
            }
            for direction in DIRECTIONS {
                self.dialogue_octets.with_label_values(&[mode, direction]);
            }
        }
        let tables = ntp::Load::TABLES.map(|table| (table, 0, 0));
        let load = ntp::Load {
            tables,
            ..ntp::Load::default()
        };
        self.pairing(ntp::Tally::default(), load);
    }
}

const MODES: [&str; 2] = ["control", "private"];
const DIRECTIONS: [&str; 2] = ["request", "response"];

fn mode_name(mode: u8) -> &'static str {
    MODES[usize::from(mode != 6)]
}
