//! The tables that batches' rows are copied into.

use super::{Series, bandwidth, controls, exchanges, folds, system};

/// A table, and its columns in the order in which rows are encoded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    pub(super) table: &'static str,
    pub(super) columns: &'static str,
    /// Its primary key.
    pub(super) key: &'static str,
}

impl Target {
    /// Where the rows of a series go; `None` for one that agents do not write.
    pub(super) fn of(series: Series) -> Option<Self> {
        match series {
            Series::Bandwidth => Some(bandwidth::TARGET),
            Series::Exchanges => Some(exchanges::TARGET),
            Series::Folds => Some(folds::TARGET),
            Series::Controls => Some(controls::TARGET),
            Series::System => Some(system::TARGET),
            _ => None,
        }
    }

    /// The statement that takes rows, into this table or one that looks like it.
    pub(super) fn copy_into(&self, table: &str) -> String {
        format!("COPY {table} ({}) FROM STDIN (FORMAT binary)", self.columns)
    }
}
