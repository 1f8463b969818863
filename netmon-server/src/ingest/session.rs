//! One agent's connection, from its Hello to its end.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use netmon_common::wire::{Downlink, Hello, MAX_UPLINK_BYTES, Welcome, downlink};
use quinn::{Connection, ConnectionError, VarInt};
use tokio::{
    sync::{Mutex, Semaphore, SemaphorePermit, mpsc},
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{
    Shared, close,
    control::{self, ControlError},
    delivery, greeting,
    handshake::Peer,
    log_panic,
    persist::{GaveUp, Persistence},
    throttle::Throttle,
};
use crate::{
    agent_id::AgentId,
    metrics::{ConnectionRefusal, DatabaseOperation},
    store::StoreError,
};

/// Replies that may wait for the agent to take them; then its streams wait.
const REPLIES: usize = 256;

/// What the streams of one connection share.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) shared: Arc<Shared>,
    pub(super) agent: AgentId,
    /// The connection's: newer ones have larger numbers.
    pub(super) number: u64,
    pub(super) connection: Connection,
    /// Places for large messages.
    pub(super) large: Arc<Semaphore>,
    /// Keeps what this agent does wrong from filling the log.
    pub(super) log: Throttle,
    /// Nobody waits for answers any more.
    pub(super) gone: CancellationToken,
    hello: Hello,
    /// Whether the database has the agent's row; the lock is held while it is written.
    registering: Mutex<()>,
    registered: AtomicBool,
    commits: Semaphore,
    replies: mpsc::Sender<Downlink>,
}

/// Why a connection ends.
#[derive(Debug)]
enum End {
    Shutdown,
    Closed(ConnectionError),
    Control(ControlError),
    /// The agent takes no more replies.
    Deaf,
}

/// Serves the connection until it ends or the server shuts down.
pub(super) async fn run(shared: Arc<Shared>, peer: Peer, shutdown: CancellationToken) {
    let Peer { agent, connection } = peer;
    let remote = connection.remote_address();
    let metrics = Arc::clone(&shared.ingest.metrics);
    let limits = shared.ingest.limits;
    let greeted = tokio::select! {
        () = shutdown.cancelled() => return connection.close(close::SHUTTING_DOWN, b"shutting down"),
        greeted = greeting::take(&shared, agent, &connection) => greeted,
    };
    let Some((hello, sender, reader)) = greeted else {
        return;
    };

    let (replies, outgoing) = mpsc::channel(REPLIES);
    // An empty queue takes one message.
    let _ = replies.try_send(welcome());
    let mut writer = tokio::spawn(control::write(sender, outgoing, limits.linger));
    let (number, replaced) = shared
        .registry
        .enter(agent, connection.clone(), &shared.ingest.live);
    if replaced {
        metrics.connection_refused(ConnectionRefusal::Replaced);
    }
    metrics.agent_connected();
    tracing::info!(%agent, %remote, alias = ?hello.alias, version = ?hello.agent_version, "agent connected");

    let session = Arc::new(Session {
        agent,
        number,
        connection: connection.clone(),
        large: Arc::new(Semaphore::new(limits.large_messages_per_agent)),
        log: Throttle::default(),
        gone: CancellationToken::new(),
        hello,
        registering: Mutex::new(()),
        registered: AtomicBool::new(false),
        commits: Semaphore::new(limits.commits_per_agent),
        replies,
        shared: Arc::clone(&shared),
    });
    let mut streams = JoinSet::new();
    let end = tokio::select! {
        () = shutdown.cancelled() => End::Shutdown,
        error = reader.watch() => End::Control(error),
        _ = &mut writer => End::Deaf,
        error = accept(&session, &mut streams) => End::Closed(error),
    };
    // The page should not show as connected whose batches are merely being finished.
    shared.registry.leave(agent, number, &shared.ingest.live);
    let (code, reason) = conclude(&session, end);
    if code == close::SHUTTING_DOWN && connection.close_reason().is_none() {
        drain(&session, &mut streams, limits.drain).await;
    }
    session.gone.cancel();
    while let Some(ended) = streams.join_next().await {
        log_panic(ended);
    }
    // The last sender goes, and with it the writer, once the agent has everything.
    drop(session);
    if code == close::SHUTTING_DOWN && !writer.is_finished() {
        let _ = writer.await;
    } else {
        writer.abort();
    }
    connection.close(code, reason);
    tracing::info!(%agent, %remote, "agent disconnected");
}

fn welcome() -> Downlink {
    let welcome = Welcome {
        server_version: env!("CARGO_PKG_VERSION").to_owned(),
        max_message_bytes: MAX_UPLINK_BYTES as u32,
    };
    Downlink {
        message: Some(downlink::Message::Welcome(welcome)),
    }
}

/// Takes streams while there is place for them, until the connection ends.
async fn accept(session: &Arc<Session>, streams: &mut JoinSet<()>) -> ConnectionError {
    let slots = Arc::new(Semaphore::new(session.shared.ingest.limits.streams));
    streams.spawn(register_now(Arc::clone(session)));
    let mut closed = pin!(session.connection.closed());
    loop {
        let slot = tokio::select! {
            error = &mut closed => return error,
            slot = Arc::clone(&slots).acquire_owned() => slot,
        };
        let stream = match session.connection.accept_uni().await {
            Ok(stream) => stream,
            Err(error) => return error,
        };
        while let Some(ended) = streams.try_join_next() {
            log_panic(ended);
        }
        let session = Arc::clone(session);
        streams.spawn(async move {
            let _slot = slot;
            delivery::receive(&session, stream).await;
        });
    }
}

/// Writes the agent's row without waiting for its first batch.
async fn register_now(session: Arc<Session>) {
    let mut persistence = session.persistence(DatabaseOperation::Register);
    while let Some(turn) = session.turn().await {
        let outcome = session.register().await;
        drop(turn);
        match persistence.settle(outcome).await {
            Some(Ok(()) | Err(GaveUp::Gone)) => return,
            Some(Err(GaveUp::Permanent(reason))) => {
                return tracing::error!(agent = %session.agent, reason, "cannot register the agent");
            }
            None => {}
        }
    }
}

/// Logs and counts the end; gives what to close with.
fn conclude(session: &Session, end: End) -> (VarInt, &'static [u8]) {
    let agent = session.agent;
    let metrics = &session.shared.ingest.metrics;
    match end {
        End::Shutdown => (close::SHUTTING_DOWN, b"shutting down"),
        End::Closed(error) => {
            tracing::debug!(%agent, %error, "connection ended");
            (close::SHUTTING_DOWN, b"")
        }
        End::Control(error) if session.connection.close_reason().is_some() => {
            tracing::debug!(%agent, %error, "connection ended");
            (close::SHUTTING_DOWN, b"")
        }
        End::Control(error) => {
            metrics.connection_refused(ConnectionRefusal::ControlMalformed);
            tracing::warn!(%agent, %error, "bad control stream; closing the connection");
            (close::CONTROL_MALFORMED, b"bad control stream")
        }
        End::Deaf if session.connection.close_reason().is_some() => (close::SHUTTING_DOWN, b""),
        End::Deaf => {
            metrics.connection_refused(ConnectionRefusal::ControlMalformed);
            tracing::warn!(%agent, "the agent takes no replies; closing the connection");
            (close::CONTROL_MALFORMED, b"replies are not taken")
        }
    }
}

/// Lets batches under way be committed and acknowledged.
async fn drain(session: &Session, streams: &mut JoinSet<()>, deadline: std::time::Duration) {
    let finished = async {
        while let Some(ended) = streams.join_next().await {
            log_panic(ended);
        }
    };
    tokio::select! {
        _ = timeout(deadline, finished) => {}
        _ = session.connection.closed() => {}
    }
}

impl Session {
    /// For an operation that must not fail because the database is away.
    pub(super) fn persistence(&self, operation: DatabaseOperation) -> Persistence<'_> {
        Persistence::new(&self.shared, self.agent, operation, &self.gone)
    }

    /// Waits for this agent's turn to use the database; `None` when nobody waits any more.
    pub(super) async fn turn(&self) -> Option<[SemaphorePermit<'_>; 2]> {
        let turn = async {
            let agents = self.commits.acquire().await.ok()?;
            Some([agents, self.shared.commits.acquire().await.ok()?])
        };
        tokio::select! {
            () = self.gone.cancelled() => None,
            turn = turn => turn,
        }
    }

    /// Makes sure that the database has the agent's row.
    pub(super) async fn register(&self) -> Result<(), StoreError> {
        let _registering = self.registering.lock().await;
        if !self.registered.load(Ordering::Acquire) {
            self.shared
                .ingest
                .store
                .register_agent(self.agent, &self.hello)
                .await?;
            self.registered.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Makes [`Self::register`] write the row once more.
    pub(super) fn register_again(&self) {
        self.registered.store(false, Ordering::Release);
    }

    /// Queues a reply; an agent that is gone gets none and sends its batch again.
    pub(super) async fn reply(&self, reply: Downlink) {
        tokio::select! {
            () = self.gone.cancelled() => {
                // At shutdown the queue may have place although nobody waits.
                let _ = self.replies.try_send(reply);
            }
            // Fails when the writer ended, and with it the connection.
            _ = self.replies.send(reply.clone()) => {}
        }
    }
}
