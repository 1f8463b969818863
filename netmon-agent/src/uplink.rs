//! QUIC to the server: connects, keeps connected, sends batches, forgets what is stored.

mod backoff;
mod connection;
mod contact;
mod control;
mod dial;
mod identity;
mod itinerary;
mod path;
mod renewal;
mod send;
mod service;
mod transport;
mod watch_list;

use std::{sync::Arc, time::Duration};

use netmon_common::wire::{Hello, Live, NtpMonitoring};
use tokio::sync::watch;

pub use self::{
    connection::{ConnectError, probe},
    contact::{Contact, Contacts, Takes},
    identity::{Identity, IdentityError},
    path::Cause as RebindCause,
    watch_list::WatchList,
};
use self::{
    itinerary::{Itinerary, Parting},
    renewal::{Expiry, InUse},
    service::Service,
};
use crate::{config, metrics::Metrics, spool::Spool};

/// What the uplink works with.
pub struct Uplink {
    /// Addresses and pauses.
    pub config: config::Server,
    /// Certificate and key.
    pub identity: Identity,
    /// Who this is.
    pub hello: Hello,
    /// What to send.
    pub spool: Spool,
    /// The newest values.
    pub live: watch::Receiver<Live>,
    /// Where to say what the server wishes of NTP monitoring.
    pub wishes: watch::Sender<Option<NtpMonitoring>>,
    /// The server's watch list; `None`: the agent takes none.
    pub watch_list: Option<WatchList>,
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
        let mut itinerary = Itinerary::new(&self.config);
        let mut expiry = Expiry::default();
        loop {
            let address = &self.config.addresses[itinerary.current()];
            let attempt = async {
                let identity = self.identity.load()?;
                let in_use = InUse::from(&identity);
                self.metrics.certificate_expires.set(in_use.expires_unix_s);
                let session = connection::connect(
                    address,
                    identity,
                    &greeting(&self.hello, &self.spool, self.watch_list.as_ref()).await,
                )
                .await?;
                Ok::<_, ConnectError>((session, in_use))
            };
            let pause = match attempt.await {
                Ok((session, in_use)) => {
                    let service = Service {
                        address,
                        identity: &self.identity,
                        certificate_check: self.config.certificate_check_interval,
                        hello: &self.hello,
                        spool: &self.spool,
                        wishes: &self.wishes,
                        watch_list: self.watch_list.as_ref(),
                        metrics: &self.metrics,
                        phases: &phases,
                    };
                    let serving = service.run(session, in_use, &mut self.live, &mut expiry);
                    itinerary.next(serving.await?)
                }
                Err(last) => {
                    self.metrics.connect_failures.inc();
                    self.metrics.contacts.failed(address, &last.to_string());
                    tracing::warn!(%address, error = %last, "cannot connect to the server");
                    let pause = itinerary.next(Parting::Failed);
                    let attempts = itinerary.failures();
                    if self.config.max_retry != 0 && attempts >= self.config.max_retry {
                        return Some(GaveUp { attempts, last });
                    }
                    pause
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = reached(&mut phases, Phase::Draining) => {
                    tokio::time::sleep(pause.min(DRAINING_PAUSE)).await;
                }
            }
        }
    }
}

/// Who this is, which streams it still holds batches of, and which watch list.
async fn greeting(hello: &Hello, spool: &Spool, watch_list: Option<&WatchList>) -> Hello {
    Hello {
        streams: spool.streams().await,
        watch: watch_list.map(WatchList::state),
        ..hello.clone()
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

/// How long saying goodbye to the server may take.
const GOODBYE: Duration = Duration::from_millis(500);
