//! One simulated agent: seals batches, stays connected, sends until everything has its verdict.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use netmon_common::wire::{Kind, close};
use quinn::ConnectionError;
use tokio::{sync::Notify, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    identity::Identity,
    outbox::Outbox,
    policy::{Parting, Pauses, Policy},
    session::Session,
    source::Source,
    tally::Tally,
};

/// When the batches of one kind are sealed.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// So many at once, when all agents are told to begin.
    Backlog(u64),
    /// One per period; the first at a random moment of the first period.
    Every(Duration),
}

/// A simulated agent.
pub struct Agent {
    pub index: usize,
    pub identity: Identity,
    pub server: SocketAddr,
    pub policy: Policy,
    pub source: Source,
    /// How often a live frame is sent; none: never.
    pub live: Option<Duration>,
    pub tally: Arc<Tally>,
    pub changed: Notify,
    /// Lets backlogs begin.
    pub begin: CancellationToken,
    /// Ends the sealing: then the agent hands over what it has and goes.
    pub finish: CancellationToken,
    outbox: Mutex<Outbox>,
}

impl Agent {
    #[expect(
        clippy::too_many_arguments,
        reason = "the one place that puts an agent together"
    )]
    pub fn new(
        index: usize,
        identity: Identity,
        server: SocketAddr,
        policy: Policy,
        source: Source,
        live: Option<Duration>,
        tally: Arc<Tally>,
        [begin, finish]: [CancellationToken; 2],
    ) -> Self {
        Self {
            index,
            identity,
            server,
            policy,
            source,
            live,
            tally,
            changed: Notify::new(),
            begin,
            finish,
            outbox: Mutex::default(),
        }
    }

    /// The books, for a moment.
    pub fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lives until it was told to finish and everything it sealed has its verdict.
    pub async fn run(&self, paces: &[(Kind, Pace)]) {
        let sealing = futures_util::future::join_all(paces.iter().map(|(k, p)| self.seal(*k, *p)));
        let sealing = async {
            tokio::select! {
                () = self.finish.cancelled() => {}
                _ = sealing => {}
            }
            self.finish.cancelled().await;
            self.outbox().cut();
            self.changed.notify_waiters();
            // Registered before looking.
            loop {
                let changed = self.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if self.outbox().is_settled() {
                    return;
                }
                changed.await;
            }
        };
        self.stay_connected(sealing).await;
    }

    async fn seal(&self, kind: Kind, pace: Pace) {
        match pace {
            Pace::Backlog(batches) => {
                self.begin.cancelled().await;
                self.outbox().fill(kind, batches);
                self.changed.notify_waiters();
            }
            Pace::Every(period) => {
                tokio::time::sleep(period.mul_f64(rand::random())).await;
                let mut ticks = tokio::time::interval(period);
                loop {
                    ticks.tick().await;
                    self.outbox().seal(kind);
                    self.changed.notify_waiters();
                }
            }
        }
    }

    async fn stay_connected(&self, until: impl Future<Output = ()>) {
        tokio::pin!(until);
        let mut pauses = Pauses::new(self.policy);
        // A fleet is not switched on in one moment.
        let mut pause = self.policy.spread.mul_f64(rand::random());
        loop {
            tokio::select! {
                () = &mut until => return,
                () = tokio::time::sleep(pause) => {}
            }
            self.tally.comings().attempts.push(Instant::now());
            let opened = timeout(self.policy.attempt, Session::open(self)).await;
            let parting = match opened {
                Ok(Ok(mut session)) => {
                    self.outbox().start_over();
                    let began = Instant::now();
                    self.tally.comings().welcomes.insert(self.index, began);
                    self.tally.connected.fetch_add(1, Relaxed);
                    let closed = tokio::select! {
                        closed = session.serve(self) => Some(closed),
                        () = &mut until => None,
                    };
                    self.tally.connected.fetch_sub(1, Relaxed);
                    let Some(closed) = closed else {
                        return session.close().await;
                    };
                    match closed {
                        ConnectionError::ApplicationClosed(reason)
                            if reason.error_code == close::SHUTTING_DOWN.into() =>
                        {
                            Parting::Drained
                        }
                        _ => Parting::Lost(began.elapsed()),
                    }
                }
                Ok(Err(error)) => self.failed(format!("{error:#}")),
                Err(_) => self.failed("no answer in time".to_owned()),
            };
            pause = pauses.after(parting);
        }
    }

    fn failed(&self, reason: String) -> Parting {
        *self.tally.comings().failures.entry(reason).or_default() += 1;
        Parting::Failed
    }
}
