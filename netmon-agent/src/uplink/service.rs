//! A connection in use: batches go out, its path is looked after, and a renewed certificate makes
//! the next connection before this one is given up.

use std::{
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use netmon_common::wire::{Hello, Live, NtpMonitoring, close};
use quinn::ConnectionError;
use tokio::sync::watch;

use super::{
    Identity, Phase, WatchList,
    connection::{self, Session},
    greeting,
    itinerary::Parting,
    path,
    renewal::{self, Expiry, InUse},
    send::{self, Orders},
};
use crate::{metrics::Metrics, spool::Spool};

/// What all connections share.
pub(super) struct Service<'a> {
    pub(super) address: &'a str,
    pub(super) identity: &'a Identity,
    pub(super) certificate_check: Duration,
    pub(super) hello: &'a Hello,
    pub(super) spool: &'a Spool,
    pub(super) wishes: &'a watch::Sender<Option<NtpMonitoring>>,
    pub(super) watch_list: Option<&'a WatchList>,
    pub(super) metrics: &'a Arc<Metrics>,
    pub(super) phases: &'a watch::Receiver<Phase>,
}

/// What became of a connection.
enum Turn {
    Ended(Parting),
    /// The agent says goodbye.
    Closing,
    /// Another one, with a newer certificate, takes its place.
    Renewed(Box<Session>, InUse),
}

impl Service<'_> {
    /// Stays with the server until the connection to it is lost, or the phase is closing (`None`).
    pub(super) async fn run(
        &self,
        mut session: Session,
        mut in_use: InUse,
        live: &mut watch::Receiver<Live>,
        expiry: &mut Expiry,
    ) -> Option<Parting> {
        self.metrics.connected.set(1);
        let ended = loop {
            match self.turn(session, in_use, live, expiry).await {
                Turn::Ended(parting) => break Some(parting),
                Turn::Closing => break None,
                Turn::Renewed(next, its) => (session, in_use) = (*next, its),
            }
        };
        self.metrics.connected.set(0);
        self.metrics.path_mtu.set(0);
        self.metrics.reconnects.inc();
        ended
    }

    async fn turn(
        &self,
        session: Session,
        in_use: InUse,
        live: &mut watch::Receiver<Live>,
        expiry: &mut Expiry,
    ) -> Turn {
        let (address, server) = (self.address, &session.server_version);
        tracing::info!(address, server, "connected to the server");
        self.metrics
            .contacts
            .connected(address, server, session.takes);
        self.metrics.certificate_expires.set(in_use.expires_unix_s);
        expiry.look(in_use.expires_unix_s);
        let mut serving = pin!(self.serve(session, live));
        loop {
            let awaited = renewal::awaited(
                self.identity,
                in_use.fingerprint,
                self.certificate_check,
                || expiry.look(in_use.expires_unix_s),
                self.metrics,
            );
            let loaded = tokio::select! {
                ended = &mut serving => return ended,
                loaded = awaited => loaded,
            };
            let its = InUse::from(&loaded);
            let hello = greeting(self.hello, self.spool, self.watch_list).await;
            let mut attempt = pin!(connection::connect(self.address, loaded, &hello));
            let mut ended = None;
            let made = loop {
                tokio::select! {
                    // The server closes this one as soon as it has greeted the other.
                    turn = &mut serving, if ended.is_none() => match turn {
                        Turn::Ended(_) => ended = Some(turn),
                        closing => return closing,
                    },
                    made = &mut attempt => break made,
                }
            };
            match made {
                Ok(next) => {
                    self.metrics.certificate_loaded(true);
                    return Turn::Renewed(Box::new(next), its);
                }
                Err(error) => {
                    self.metrics.certificate_loaded(false);
                    tracing::error!(%error, "no connection with the new certificate; the one in use stays");
                }
            }
            if let Some(turn) = ended {
                return turn;
            }
        }
    }

    async fn serve(&self, session: Session, live: &mut watch::Receiver<Live>) -> Turn {
        let began = Instant::now();
        let (connection, endpoint) = (session.connection.clone(), session.endpoint.clone());
        let mut sending = pin!(send::run(
            session,
            (
                self.spool,
                Orders {
                    wishes: self.wishes,
                    watch_list: self.watch_list
                }
            ),
            live,
            self.metrics,
            self.phases.clone()
        ));
        let mut attending = pin!(path::attend(&connection, &endpoint, self.metrics));
        // Whoever ends the connection on our side overwrites the reason of the other.
        let mut reason = None;
        let ended = loop {
            tokio::select! {
                biased;
                closed = connection.closed(), if reason.is_none() => reason = Some(closed),
                ended = &mut sending => break ended,
                never = &mut attending => match never {},
            }
        };
        let Some(ended) = ended else {
            return Turn::Closing;
        };
        tracing::warn!(address = self.address, reason = %ended, "connection to the server ended");
        self.metrics.contacts.lost(&ended.to_string());
        Turn::Ended(parting(reason, began.elapsed()))
    }
}

fn parting(reason: Option<ConnectionError>, lasted: Duration) -> Parting {
    match reason {
        Some(ConnectionError::ApplicationClosed(closed)) => {
            match u32::try_from(closed.error_code.into_inner()) {
                Ok(close::SHUTTING_DOWN) => return Parting::Drained,
                Ok(close::REPLACED) => tracing::error!(
                    "another agent has connected with this identity: give each host its own"
                ),
                _ => {}
            }
            Parting::Lost(lasted)
        }
        _ => Parting::Lost(lasted),
    }
}
