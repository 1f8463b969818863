//! Which failures of the database pass.

use std::time::Duration;

/// An attempt that did not store anything, or whose outcome is unknown.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot do it now; try again for as long as it takes.
    #[error("the database cannot do it now: {source}")]
    Transient {
        /// What it said.
        source: sqlx::Error,
        /// The partition of a row is gone: it will be made again.
        missing_partition: bool,
    },
    /// The attempt hung; try again.
    #[error("the database did not answer within {0:?}")]
    TimedOut(Duration),
    /// An agent's row is missing, after a restore for example: register it, then try again.
    #[error("the database does not know agent {0:016x} (any more)")]
    Unregistered(i64),
    /// The database says that it stored more or fewer rows than it was sent; nothing was committed.
    #[error("{table} took {stored} of {sent} rows; has it a trigger or a rule of somebody's own?")]
    Mismatch {
        /// The table.
        table: &'static str,
        /// Rows sent.
        sent: u64,
        /// Rows stored, by the database's word.
        stored: u64,
    },
    /// Some of the batches have ledger rows.
    #[error("batches are there already: {0}")]
    BatchesKnown(String),
    /// Rows of a series are there although their batch has no ledger row.
    #[error("rows are there already: {0}")]
    RowsPresent(String),
    /// The database will never take this.
    #[error("the database refuses the rows: {0}")]
    Permanent(String),
}

/// Worth another attempt, however long it takes: the disk is full, the password wrong, the server
/// in recovery, the agent's row missing after a restore. An error nobody thought of must delay
/// data, not lose it.
impl From<sqlx::Error> for StoreError {
    fn from(source: sqlx::Error) -> Self {
        Self::Transient {
            missing_partition: has_code(&source, |code| code == "23514"),
            source,
        }
    }
}

impl StoreError {
    /// Whether one of several batches may be the cause while the others could be stored.
    pub fn may_be_of_one_batch(&self) -> bool {
        match self {
            Self::Permanent(_)
            | Self::Mismatch { .. }
            | Self::BatchesKnown(_)
            | Self::RowsPresent(_) => true,
            // Also a group that is too large for a database as slow as this one.
            Self::TimedOut(_) => true,
            // Somebody else holds a row of it.
            Self::Transient { source, .. } => has_code(source, |code| {
                matches!(code, "55P03" | "57014" | "40P01" | "40001")
            }),
            Self::Unregistered(_) => false,
        }
    }

    /// Whether the partition of a row is gone.
    pub(super) fn is_missing_partition(&self) -> bool {
        matches!(
            self,
            Self::Transient {
                missing_partition: true,
                ..
            }
        )
    }

    /// For the statement that enters batches as new ones.
    pub(super) fn of_ledger(source: sqlx::Error) -> Self {
        if has_code(&source, |code| code == "23505") {
            Self::BatchesKnown(source.to_string())
        } else {
            source.into()
        }
    }

    /// For the statements that write a batch's rows, which alone can be at fault for good.
    pub(super) fn of_rows(source: sqlx::Error) -> Self {
        if has_code(&source, |code| code == "23505") {
            Self::RowsPresent(source.to_string())
        } else if has_code(&source, is_permanent) {
            Self::Permanent(source.to_string())
        } else {
            source.into()
        }
    }
}

/// Compares what a table was sent with what it says it stored.
pub(super) fn counted(table: &'static str, sent: u64, stored: u64) -> Result<(), StoreError> {
    if sent == stored {
        return Ok(());
    }
    Err(StoreError::Mismatch {
        table,
        sent,
        stored,
    })
}

fn has_code(error: &sqlx::Error, test: impl FnOnce(&str) -> bool) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| test(&code))
}

/// Whether an SQLSTATE says that the rows themselves are at fault.
fn is_permanent(code: &str) -> bool {
    // Data exceptions; a null where none may be; limits of PostgreSQL such as the size of an index
    // entry.
    code.starts_with("22") || code == "23502" || code.starts_with("54")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_errors_of_the_rows_themselves_are_permanent() {
        for code in ["22003", "22021", "23502", "54000"] {
            assert!(is_permanent(code), "{code}");
        }
        // Connection, missing agent, missing partition, deadlock, disk full, shutdown, password,
        // read-only standby, dropped table, lock time-out.
        for code in [
            "08006", "23503", "23514", "40P01", "40001", "53100", "57P01", "28P01", "25006",
            "42P01", "55P03", "57014", "XX000", "23505",
        ] {
            assert!(!is_permanent(code), "{code}");
        }
    }

    #[test]
    fn a_lost_connection_is_transient() {
        let error = StoreError::from(sqlx::Error::PoolTimedOut);
        assert!(matches!(
            error,
            StoreError::Transient {
                missing_partition: false,
                ..
            }
        ));
    }
}
