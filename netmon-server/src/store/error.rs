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
    /// For the statements that write a batch's rows, which alone can be at fault for good.
    pub(super) fn of_rows(source: sqlx::Error) -> Self {
        if has_code(&source, is_permanent) {
            Self::Permanent(source.to_string())
        } else {
            source.into()
        }
    }
}

fn has_code(error: &sqlx::Error, test: impl FnOnce(&str) -> bool) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| test(&code))
}

/// Whether an SQLSTATE says that the rows themselves are at fault.
fn is_permanent(code: &str) -> bool {
    // Data exceptions; a null where none may be; rows that are there although their ledger row is
    // not; limits of PostgreSQL such as the size of an index entry.
    code.starts_with("22") || matches!(code, "23502" | "23505") || code.starts_with("54")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_errors_of_the_rows_themselves_are_permanent() {
        for code in ["22003", "22021", "23502", "23505", "54000"] {
            assert!(is_permanent(code), "{code}");
        }
        // Connection, missing agent, missing partition, deadlock, disk full, shutdown, password,
        // read-only standby, dropped table, lock time-out.
        for code in [
            "08006", "23503", "23514", "40P01", "40001", "53100", "57P01", "28P01", "25006",
            "42P01", "55P03", "57014", "XX000",
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
