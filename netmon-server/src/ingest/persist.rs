//! Asks the database again and again, until it answers or nobody waits any more.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Shared, limits::Limits};
use crate::{agent_id::AgentId, metrics::DatabaseOperation, store::StoreError};

/// Why there is no answer and there will be none.
#[derive(Debug)]
pub(super) enum GaveUp {
    /// The database will never do it.
    Permanent(String),
    /// The connection is gone: the agent will ask again on another.
    Gone,
}

/// Pauses that grow from one failure to the next.
#[derive(Debug)]
pub(super) struct Pauses {
    next: Duration,
    longest: Duration,
}

impl Pauses {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            next: limits.retry,
            longest: limits.retry_max,
        }
    }

    /// Half to one and a half times the pause, so that agents that failed together do not return
    /// together.
    pub(super) fn next(&mut self) -> Duration {
        let pause = self.next.mul_f64(0.5 + rand::random::<f64>());
        self.next = (self.next * 2).min(self.longest);
        pause
    }
}

/// The attempts of one operation.
#[derive(Debug)]
pub(super) struct Persistence<'a> {
    shared: &'a Shared,
    agent: AgentId,
    operation: DatabaseOperation,
    gone: &'a CancellationToken,
    pauses: Pauses,
}

impl<'a> Persistence<'a> {
    pub(super) fn new(
        shared: &'a Shared,
        agent: AgentId,
        operation: DatabaseOperation,
        gone: &'a CancellationToken,
    ) -> Self {
        Self {
            shared,
            agent,
            operation,
            gone,
            pauses: Pauses::new(&shared.ingest.limits),
        }
    }

    /// Judges an attempt: `Some` ends the operation; `None`, after a pause, asks for another.
    pub(super) async fn settle<T>(
        &mut self,
        attempt: Result<T, StoreError>,
    ) -> Option<Result<T, GaveUp>> {
        let error = match attempt {
            Ok(done) => return Some(Ok(done)),
            Err(StoreError::Permanent(reason)) => return Some(Err(GaveUp::Permanent(reason))),
            Err(error) => error,
        };
        let pause = self.pauses.next();
        self.shared.ingest.metrics.database_error(self.operation);
        if let Some(suppressed) = self.shared.database_log.allow() {
            let (agent, operation) = (self.agent, self.operation);
            tracing::warn!(%agent, ?operation, %error, suppressed, "trying again in {pause:?}");
        }
        tokio::select! {
            () = self.gone.cancelled() => return Some(Err(GaveUp::Gone)),
            () = tokio::time::sleep(pause) => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_limit_and_no_two_are_sure_to_be_equal() {
        let mut pauses = Pauses::new(&Limits {
            retry: Duration::from_millis(100),
            retry_max: Duration::from_secs(1),
            ..Limits::default()
        });
        let taken: Vec<_> = (0..6).map(|_| pauses.next().as_secs_f64()).collect();
        for (pause, middle) in taken.iter().zip([0.1, 0.2, 0.4, 0.8, 1.0, 1.0]) {
            assert!((0.5 * middle..=1.5 * middle).contains(pause), "{taken:?}");
        }
    }
}
