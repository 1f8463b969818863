//! Tells agents what is wished of NTP monitoring: each when it connects, and whenever that changes.
//!
//! A change over this server is looked for at once, one over another server at the next look into the
//! database they share.

use std::{convert::Infallible, future::pending, sync::Arc, time::Duration};

use netmon_common::wire::{Downlink, NtpMonitoring, downlink};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::{
    Shared,
    persist::{GaveUp, Pauses},
    session::Session,
};
use crate::metrics::DatabaseOperation;

/// How often changes are looked for that came over other servers.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// Has the server look at once for what is wished.
#[derive(Debug, Default)]
pub struct Prompt(Notify);

impl Prompt {
    /// Something was wished a moment ago.
    pub fn look(&self) {
        self.0.notify_one();
    }
}

/// Looks for changes until stopped, and wakes the sessions of the agents they are for.
pub(super) async fn watch(shared: Arc<Shared>, stop: CancellationToken) {
    let mut seen = None;
    let mut pauses = Pauses::new(&shared.ingest.limits);
    loop {
        let pause = match shared.ingest.store.wishes_since(seen).await {
            Ok((changed, now_seen)) => {
                seen = Some(now_seen);
                pauses = Pauses::new(&shared.ingest.limits);
                for (agent, revision) in changed {
                    shared.registry.wished(agent, revision);
                }
                LOOK_INTERVAL
            }
            Err(error) => {
                shared
                    .ingest
                    .metrics
                    .database_error(DatabaseOperation::Wishes);
                if let Some(suppressed) = shared.database_log.allow() {
                    tracing::warn!(%error, suppressed, "changed wishes are not looked for");
                }
                pauses.next()
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = shared.ingest.prompt.0.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Tells one agent, for as long as its connection lasts. An agent that does not know the message
/// passes over it.
pub(super) async fn tell(session: &Session, mut wished: watch::Receiver<u64>) -> Infallible {
    loop {
        // Marked as seen before the wishes are read: what changes meanwhile is another change.
        wished.borrow_and_update();
        // In memory of its own: most of an agent's time nothing is read.
        let Some(wishes) = Box::pin(read(session)).await else {
            return pending().await;
        };
        let told = wishes.revision;
        session.reply(message(wishes)).await;
        loop {
            if wished.changed().await.is_err() {
                // Another connection speaks for the agent.
                return pending().await;
            }
            if *wished.borrow_and_update() != told {
                break;
            }
        }
    }
}

/// What is wished of the agent now; `None` if the database will never say.
async fn read(session: &Session) -> Option<NtpMonitoring> {
    let mut persistence = session.persistence(DatabaseOperation::Wishes);
    loop {
        let turn = session.turn().await?;
        let wishes = session.wishes().await;
        drop(turn);
        match persistence.settle(wishes).await {
            Some(Ok(wishes)) => return Some(wishes),
            Some(Err(GaveUp::Gone)) => return None,
            Some(Err(GaveUp::Permanent(reason))) => {
                tracing::error!(agent = %session.agent, reason, "cannot read what is wished");
                return None;
            }
            None => {}
        }
    }
}

fn message(wishes: NtpMonitoring) -> Downlink {
    Downlink {
        message: Some(downlink::Message::NtpMonitoring(wishes)),
    }
}
