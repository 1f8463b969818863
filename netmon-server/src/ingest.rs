//! Takes batches and live frames from agents over QUIC, and acknowledges what is stored.
//!
//! Each connection is a task, and so is each stream in it; nothing an agent sends can hold up or
//! end another agent's. What may be held in memory is bounded by [`Limits`] and by the flow
//! control of [`transport`], and the bound is the back-pressure: an agent whose batches wait for
//! the database cannot open more streams, and keeps its batches itself.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    sync::Arc,
    time::Duration,
};

use netmon_common::wire::MAX_UDP_PAYLOAD;
use quinn::{Endpoint, EndpointConfig, Incoming};
use tokio::{sync::Semaphore, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    live::LiveBoard,
    metrics::{ConnectionRefusal, Metrics},
    store::Store,
};

pub mod close;
mod connection_ids;
mod control;
mod delivery;
mod envelope;
mod greeting;
mod handshake;
mod limits;
mod persist;
mod receive;
mod registry;
mod session;
mod settled;
mod throttle;
mod transport;
mod watch_list;
mod wishes;
mod writers;

pub use limits::Limits;
pub use watch_list::{Newest, WatchList};
pub use wishes::Prompt;
pub use writers::Flush;

use connection_ids::ConnectionIds;
use receive::Budget;
use registry::Registry;
use throttle::Throttle;
use writers::Writers;

/// A thousand agents learn within a second that their connections are gone.
const RESET_INTERVAL: Duration = Duration::from_millis(1);

/// The QUIC endpoint cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The TLS configuration lacks what QUIC needs.
    #[error("the TLS configuration does not serve QUIC: {0}")]
    Tls(#[from] quinn::crypto::rustls::NoInitialCipherSuite),
    /// The address is taken, or not of this host.
    #[error(
        "cannot listen for agents on UDP {address}: {source}; change quic.listen, to \
         0.0.0.0:{port} on a host without IPv6", port = address.port()
    )]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// Why it cannot be had.
        source: io::Error,
    },
    /// The socket does not serve QUIC.
    #[error("cannot use the UDP socket for QUIC: {0}")]
    Socket(#[source] io::Error),
}

/// Where agents' messages go.
#[derive(Clone, Debug)]
pub struct Ingest {
    /// Takes the batches.
    pub store: Arc<Store>,
    /// Takes the live frames.
    pub live: Arc<LiveBoard>,
    /// Counts both, and what is neither.
    pub metrics: Arc<Metrics>,
    /// Says that something was wished over this server.
    pub prompt: Arc<Prompt>,
    /// What agents are to watch.
    pub watch_list: Arc<WatchList>,
    /// What agents may ask for.
    pub limits: Limits,
}

/// What all connections share.
#[derive(Debug)]
struct Shared {
    ingest: Ingest,
    registry: Registry,
    budget: Budget,
    handshakes: Arc<Semaphore>,
    /// Transactions at once, over all writers.
    commits: Semaphore,
    writers: Writers,
    handshake_log: Throttle,
    database_log: Throttle,
}

/// Opens the endpoint on an address. As [`endpoint`].
///
/// # Errors
/// See [`ListenError`].
pub fn listen(
    address: SocketAddr,
    tls: rustls::ServerConfig,
    reset_key: ring::hmac::Key,
) -> Result<Endpoint, ListenError> {
    let socket =
        UdpSocket::bind(address).map_err(|source| ListenError::Bind { address, source })?;
    endpoint(socket, tls, reset_key)
}

/// Makes the endpoint of a bound socket; call it within the runtime. `tls` must ask clients for
/// certificates; ALPN, tickets and early data are set here. `reset_key` is the same after a
/// restart, so that agents learn at once that their connections are gone.
///
/// # Errors
/// See [`ListenError`].
pub fn endpoint(
    socket: UdpSocket,
    tls: rustls::ServerConfig,
    reset_key: ring::hmac::Key,
) -> Result<Endpoint, ListenError> {
    let server = transport::server_config(tls)?;
    transport::make_room(&socket);
    let runtime = Arc::new(quinn::TokioRuntime);
    let mut config = EndpointConfig::new(Arc::new(reset_key));
    config
        .cid_generator(|| Box::new(ConnectionIds))
        .min_reset_interval(RESET_INTERVAL)
        .max_udp_payload_size(MAX_UDP_PAYLOAD)
        .expect("longer than QUIC's least, 1200 octets");
    Endpoint::new(config, Some(server), socket, runtime).map_err(ListenError::Socket)
}

/// Serves agents until shut down: then takes no more, finishes the commits that are under way
/// (bounded by [`Limits::drain`]), and closes every connection with [`close::SHUTTING_DOWN`].
pub async fn serve(endpoint: Endpoint, ingest: Ingest, shutdown: CancellationToken) {
    let limits = ingest.limits;
    let shared = Arc::new(Shared {
        registry: Registry::default(),
        budget: Budget::new(&limits),
        handshakes: Arc::new(Semaphore::new(limits.handshakes)),
        commits: Semaphore::new(ingest.store.commit_concurrency()),
        writers: Writers::new(&limits, ingest.store.commit_concurrency()),
        handshake_log: Throttle::default(),
        database_log: Throttle::default(),
        ingest,
    });
    // Not ended by the shutdown, but after the last session: until then they finish what waits.
    let stop = CancellationToken::new();
    let mut workers = shared.writers.start(&shared, &stop);
    workers.spawn(wishes::watch(Arc::clone(&shared), stop.clone()));
    workers.spawn(watch_list::watch(Arc::clone(&shared), stop.clone()));
    let connections = Arc::new(Semaphore::new(limits.connections));
    let mut sessions = JoinSet::new();
    loop {
        let incoming = tokio::select! {
            () = shutdown.cancelled() => break,
            Some(ended) = sessions.join_next() => {
                log_panic(ended);
                continue;
            }
            incoming = endpoint.accept() => incoming,
        };
        let Some(incoming) = incoming else { break };
        let Ok(slot) = Arc::clone(&connections).try_acquire_owned() else {
            refuse(&shared, incoming);
            continue;
        };
        let Ok(handshake) = Arc::clone(&shared.handshakes).try_acquire_owned() else {
            // Costs nothing, and whoever still waits a second later asks again by himself.
            shared
                .ingest
                .metrics
                .connection_refused(ConnectionRefusal::Deferred);
            incoming.ignore();
            continue;
        };
        // Under load a peer proves that it can receive at its address before it costs anything.
        let busy = shared.handshakes.available_permits() < limits.handshakes / 2;
        if busy && incoming.may_retry() {
            // Refused instead of retried only if the peer was validated meanwhile.
            drop(incoming.retry());
            continue;
        }
        let (shared, shutdown) = (Arc::clone(&shared), shutdown.clone());
        sessions.spawn(async move {
            let _open = shared.ingest.metrics.connection_opened();
            let _slot = slot;
            if let Some(peer) = handshake::accept(&shared, incoming, handshake).await {
                session::run(shared, peer, shutdown).await;
            }
        });
    }
    endpoint.set_server_config(None);
    while let Some(ended) = sessions.join_next().await {
        log_panic(ended);
    }
    stop.cancel();
    while let Some(ended) = workers.join_next().await {
        log_panic(ended);
    }
    endpoint.close(close::SHUTTING_DOWN, b"shutting down");
    // Lets the last packets leave; a peer that is gone must not hold up the end.
    let _ = tokio::time::timeout(limits.linger, endpoint.wait_idle()).await;
}

fn refuse(shared: &Shared, incoming: Incoming) {
    shared
        .ingest
        .metrics
        .connection_refused(ConnectionRefusal::TooMany);
    if let Some(suppressed) = shared.handshake_log.allow() {
        let remote = incoming.remote_address();
        tracing::warn!(%remote, suppressed, "connection refused: the server has as many as it takes");
    }
    incoming.refuse();
}

/// A panic ends one connection or stream and must not pass unseen.
fn log_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a task of the QUIC server panicked; please report this");
    }
}
