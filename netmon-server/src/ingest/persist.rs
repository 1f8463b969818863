//! Asks the database again and again, until it answers or nobody waits any more.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Shared;
use crate::{agent_id::AgentId, metrics::DatabaseOperation, store::StoreError};

/// Why there is no answer and there will be none.
#[derive(Debug)]
pub(super) enum GaveUp {
    /// The database will never do it.
    Permanent(String),
    /// The connection is gone: the agent will ask again on another.
    Gone,
}

/// Growing pauses between the attempts of one operation.
#[derive(Debug)]
pub(super) struct Persistence<'a> {
    shared: &'a Shared,
    agent: AgentId,
    operation: DatabaseOperation,
    gone: &'a CancellationToken,
    pause: Duration,
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
            pause: shared.ingest.limits.retry,
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
        let pause = jittered(self.pause);
        self.shared.ingest.metrics.database_error(self.operation);
        if let Some(suppressed) = self.shared.database_log.allow() {
            let (agent, operation) = (self.agent, self.operation);
            tracing::warn!(%agent, ?operation, %error, suppressed, "trying again in {pause:?}");
        }
        tokio::select! {
            () = self.gone.cancelled() => return Some(Err(GaveUp::Gone)),
            () = tokio::time::sleep(pause) => {}
        }
        self.pause = (self.pause * 2).min(self.shared.ingest.limits.retry_max);
        None
    }
}

/// Half to one and a half times the pause, so that agents that failed together do not return
/// together.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(0.5 + rand::random::<f64>())
}
