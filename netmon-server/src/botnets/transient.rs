//! Failures of the database that pass.

use std::{fmt::Display, time::Duration};

use crate::store::botnets::BotnetError;

/// Attempts of one piece of work.
const ATTEMPTS: u32 = 3;

const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// An error that may pass.
pub(super) trait Passing: Display {
    /// Whether another attempt may help.
    fn passes(&self) -> bool;
}

impl Passing for sqlx::Error {
    /// Somebody else changed the same rows, or the connection is gone.
    fn passes(&self) -> bool {
        match self {
            Self::Io(_) | Self::PoolTimedOut => true,
            Self::Database(error) => error.code().is_some_and(|code| {
                // Serialization, deadlock, a lock not got in time, a partition that is not there yet;
                // connection; shutdown; resources.
                matches!(&*code, "40001" | "40P01" | "55P03" | "23514")
                    || ["08", "57P", "53"]
                        .iter()
                        .any(|class| code.starts_with(class))
            }),
            _ => false,
        }
    }
}

impl Passing for BotnetError {
    fn passes(&self) -> bool {
        self.is_transient()
    }
}

/// Does something up to three times, with a growing pause.
pub(super) async fn attempts<T, E: Passing, F: Future<Output = Result<T, E>>>(
    mut work: impl FnMut() -> F,
) -> Result<T, E> {
    let mut pause = FIRST_PAUSE;
    for _ in 1..ATTEMPTS {
        match work().await {
            Err(error) if error.passes() => {
                tracing::warn!(%error, "the database cannot do it now; trying again");
                tokio::time::sleep(pause).await;
                pause *= 4;
            }
            outcome => return outcome,
        }
    }
    work().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_passes_is_tried_again_and_what_does_not_is_not() {
        let mut made = 0;
        let outcome = attempts(|| {
            made += 1;
            std::future::ready(match made {
                1 => Err(sqlx::Error::PoolTimedOut),
                _ => Err::<(), _>(sqlx::Error::RowNotFound),
            })
        })
        .await;
        assert!(matches!(outcome, Err(sqlx::Error::RowNotFound)));
        assert_eq!(made, 2);
    }
}
