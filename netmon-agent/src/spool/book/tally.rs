//! What became of batches, in running totals.

use netmon_common::wire::{KINDS, Kind, OmissionCause};

use super::super::{omissions::CAUSES, rank};

/// The server's verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is in the database.
    Stored,
    /// It never will be.
    Refused,
}

/// Totals of this run, by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Batches sealed by this run.
    pub sealed: [u64; KINDS.len()],
    /// Batches found at the start.
    pub recovered: [u64; KINDS.len()],
    /// Batches the server has stored.
    pub stored: [u64; KINDS.len()],
    /// Batches the server has refused for good.
    pub refused: [u64; KINDS.len()],
    /// Records in these.
    pub refused_records: [u64; KINDS.len()],
    /// Batches given up, by cause in the order of [`CAUSES`]. Those that were never in the spool,
    /// or in a part of it that cannot be read, are neither sealed nor recovered.
    pub omitted: [[u64; CAUSES.len()]; KINDS.len()],
    /// Records in these, where they are known.
    pub omitted_records: [[u64; CAUSES.len()]; KINDS.len()],
}

impl Tally {
    pub(super) fn sealed(&mut self, kind: Kind, batches: u64) {
        self.sealed[rank(kind)] += batches;
    }

    pub(super) fn recovered(&mut self, kind: Kind, batches: u64) {
        self.recovered[rank(kind)] += batches;
    }

    pub(super) fn settled(&mut self, kind: Kind, outcome: Outcome, records: u64) {
        match outcome {
            Outcome::Stored => self.stored[rank(kind)] += 1,
            Outcome::Refused => {
                self.refused[rank(kind)] += 1;
                self.refused_records[rank(kind)] += records;
            }
        }
    }

    pub(super) fn omitted(&mut self, kind: Kind, cause: OmissionCause, batches: u64, records: u64) {
        let Some(at) = CAUSES.iter().position(|(known, _)| *known == cause) else {
            return;
        };
        self.omitted[rank(kind)][at] += batches;
        self.omitted_records[rank(kind)][at] += records;
    }
}
