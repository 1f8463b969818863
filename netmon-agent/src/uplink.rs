//! QUIC to the server: connects, keeps connected, sends batches, forgets what is stored.

mod backoff;
mod connection;
mod control;
mod identity;
mod send;

use std::{sync::Arc, time::Duration};

use netmon_common::wire::{Hello, Live};
use tokio::sync::{Notify, watch};

use self::backoff::Backoff;
pub use self::{
    connection::{ConnectError, probe},
    identity::{Identity, IdentityError},
};
use crate::{config, metrics::Metrics, outbox::Outbox};

/// The outbox as the sensor and the uplink share it. Its lock is never held across an await.
#[derive(Debug)]
pub struct SharedOutbox {
    /// The batches.
    pub outbox: std::sync::Mutex<Outbox>,
    /// Told when a batch was sealed or stored.
    pub changed: Notify,
}

impl SharedOutbox {
    /// Shares an outbox.
    pub fn new(outbox: Outbox) -> Arc<Self> {
        Arc::new(Self {
            outbox: std::sync::Mutex::new(outbox),
            changed: Notify::new(),
        })
    }

    /// The outbox, for a moment.
    pub fn lock(&self) -> std::sync::MutexGuard<'_, Outbox> {
        self.outbox
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// What the uplink works with.
pub struct Uplink {
    /// Addresses and pauses.
    pub config: config::Server,
    /// Certificate and key.
    pub identity: Identity,
    /// Who this is.
    pub hello: Hello,
    /// What to send.
    pub outbox: Arc<SharedOutbox>,
    /// The newest values.
    pub live: watch::Receiver<Live>,
    /// Where to count.
    pub metrics: Arc<Metrics>,
}

/// The uplink has given up.
#[derive(Debug, thiserror::Error)]
#[error("no server answered in {attempts} attempts, the last with: {last}")]
pub struct GaveUp {
    attempts: u32,
    last: ConnectError,
}

/// What the agent is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Watching.
    Running,
    /// Handing over what is left: no long pauses any more.
    Draining,
    /// Saying goodbye.
    Closing,
}

impl Uplink {
    /// Stays connected until the phase is closing (`None`) or `max_retry` is reached.
    pub async fn run(mut self, phases: watch::Receiver<Phase>) -> Option<GaveUp> {
        let mut closing = phases.clone();
        tokio::select! {
            gave_up = self.keep_connected(phases) => gave_up,
            () = closed_while_idle(&mut closing) => None,
        }
    }

    async fn keep_connected(&mut self, mut phases: watch::Receiver<Phase>) -> Option<GaveUp> {
        let mut backoff = Backoff::new(self.config.retry_interval, self.config.max_retry_interval);
        let mut failures = 0;
        for address in self.config.addresses.clone().iter().cycle() {
            match connection::connect(address, &self.identity, &self.hello).await {
                Ok(session) => {
                    let server = &session.server_version;
                    tracing::info!(%address, server, "connected to the server");
                    self.metrics.connected.set(1);
                    let (outbox, metrics) = (&self.outbox, &self.metrics);
                    let ended =
                        send::run(session, outbox, &mut self.live, metrics, phases.clone()).await;
                    self.metrics.connected.set(0);
                    self.metrics.reconnects.inc();
                    let reason = ended?;
                    tracing::warn!(%address, %reason, "connection to the server ended");
                    failures = 0;
                    backoff.reset();
                }
                Err(last) => {
                    failures += 1;
                    self.metrics.connect_failures.inc();
                    tracing::warn!(%address, error = %last, "cannot connect to the server");
                    if self.config.max_retry != 0 && failures >= self.config.max_retry {
                        return Some(GaveUp {
                            attempts: failures,
                            last,
                        });
                    }
                }
            }
            let pause = backoff.next_pause();
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = reached(&mut phases, Phase::Draining) => {
                    tokio::time::sleep(pause.min(DRAINING_PAUSE)).await;
                }
            }
        }
        None
    }
}

/// A session says goodbye by itself; without one there is nobody to say it to. The pause gives a
/// session the first word.
async fn closed_while_idle(phases: &mut watch::Receiver<Phase>) {
    reached(phases, Phase::Closing).await;
    tokio::time::sleep(GOODBYE).await;
}

/// Waits for a phase. The value's lock does not outlive the wait.
async fn reached(phases: &mut watch::Receiver<Phase>, phase: Phase) {
    let _ = phases.wait_for(|current| *current >= phase).await;
}

/// The pause between attempts while the agent waits for nothing else.
const DRAINING_PAUSE: Duration = Duration::from_millis(500);

/// Keep-alive: a dead server is noticed within [`IDLE_TIMEOUT`].
const KEEP_ALIVE: Duration = Duration::from_secs(5);
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// How long saying goodbye to the server may take.
const GOODBYE: Duration = Duration::from_millis(500);
