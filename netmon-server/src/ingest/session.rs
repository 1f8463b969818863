//! One agent's connection, from its Hello to its end.

use std::{
    pin::pin,
    sync::{
        Arc, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
};

use bytes::Bytes;
use netmon_common::wire::{
    Downlink, Hello, Kind, MAX_STREAM_BATCHES, MAX_UPLINK_BYTES, NtpMonitoring, WatchState,
    Welcome, downlink,
};
use quinn::{Connection, ConnectionError, VarInt};
use tokio::{
    sync::{Mutex, Semaphore, SemaphorePermit, mpsc, oneshot, watch},
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{
    Shared, close,
    control::{self, ControlError, MAX_SEQUENCES, acknowledgement},
    delivery, greeting,
    handshake::Peer,
    log_panic,
    persist::{GaveUp, Persistence},
    registry::Place,
    settled::Settled,
    throttle::Throttle,
    transport, watch_list, wishes,
    writers::Answer,
};
use crate::{
    agent_id::AgentId,
    metrics::{ConnectionRefusal, DatabaseOperation},
    store::{Known, StoreError},
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
    registered: watch::Sender<bool>,
    /// Where the agent's rows go in a distributed database.
    shard: AtomicI64,
    settled: std::sync::Mutex<Settled>,
    replies: mpsc::Sender<Downlink>,
    updates: mpsc::Sender<Bytes>,
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
    // Shared by all agents, and only one of them for each in the queue.
    let (updates, pieces) = mpsc::channel(1);
    let mut writer = tokio::spawn(control::write(sender, outgoing, pieces, limits.linger));
    let Place {
        number,
        replaced,
        wished,
    } = shared
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
        settled: std::sync::Mutex::new(Settled::new(&hello.streams)),
        hello,
        registering: Mutex::new(()),
        registered: watch::Sender::new(false),
        shard: AtomicI64::new(0),
        replies,
        updates,
        shared: Arc::clone(&shared),
    });
    let mut streams = JoinSet::new();
    let end = tokio::select! {
        () = shutdown.cancelled() => End::Shutdown,
        error = reader.watch() => End::Control(error),
        _ = &mut writer => End::Deaf,
        error = accept(&session, &mut streams) => End::Closed(error),
        never = wishes::tell(&session, wished) => match never {},
        never = watch_list::tell(&session) => match never {},
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
        max_stream_batches: MAX_STREAM_BATCHES as u32,
        ntp_folds: true,
        sightings: true,
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
    let mut granted = 0;
    loop {
        let share = transport::streams(session.shared.registry.agents());
        if share != granted {
            session
                .connection
                .set_max_concurrent_uni_streams(share.into());
            granted = share;
        }
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

/// Writes the agent's row without waiting for its first batch, and acknowledges what it need not
/// send again.
async fn register_now(session: Arc<Session>) {
    let mut persistence = session.persistence(DatabaseOperation::Register);
    while let Some(turn) = session.turn().await {
        let outcome = session.register().await;
        drop(turn);
        match persistence.settle(outcome).await {
            Some(Ok(())) => break,
            Some(Err(GaveUp::Gone)) => return,
            Some(Err(GaveUp::Permanent(reason))) => {
                return tracing::error!(agent = %session.agent, reason, "cannot register the agent");
            }
            None => {}
        }
    }
    acknowledge_known(&session).await;
}

/// Acknowledges batches whose acknowledgement was lost. Not vital, so it is tried once: those it
/// misses are sent again and found to be duplicates.
async fn acknowledge_known(session: &Session) {
    let Some(turn) = session.turn().await else {
        return;
    };
    let store = &session.shared.ingest.store;
    let known = store.known(session.agent, &session.hello.streams).await;
    drop(turn);
    let known = match known {
        Ok(known) => known,
        Err(error) => {
            let metrics = &session.shared.ingest.metrics;
            metrics.database_error(DatabaseOperation::Register);
            return tracing::debug!(agent = %session.agent, %error, "cannot look up batches");
        }
    };
    for Known {
        epoch,
        kind,
        through,
        sequences,
    } in known
    {
        session.raise(epoch, kind, through);
        for some in sequences.chunks(MAX_SEQUENCES) {
            for sequence in some {
                session.settle(epoch, kind, *sequence);
            }
            let settled = session.settled_through(epoch, kind);
            session
                .reply(acknowledgement(epoch, kind, settled, some.to_vec()))
                .await;
        }
        if sequences.is_empty() {
            let settled = session.settled_through(epoch, kind);
            session
                .reply(acknowledgement(epoch, kind, settled, Vec::new()))
                .await;
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

    /// Waits for a turn to use the database; `None` when nobody waits any more.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        tokio::select! {
            () = self.gone.cancelled() => None,
            turn = self.shared.commits.acquire() => turn.ok(),
        }
    }

    /// Waits for verdicts on batches; `None` when nobody waits any more.
    pub(super) async fn verdicts(&self, answer: oneshot::Receiver<Answer>) -> Option<Answer> {
        tokio::select! {
            () = self.gone.cancelled() => None,
            answer = answer => answer.ok(),
        }
    }

    /// Waits until the database has the agent's row; `false` when nobody waits any more.
    pub(super) async fn is_registered(&self) -> bool {
        let mut registered = self.registered.subscribe();
        tokio::select! {
            () = self.gone.cancelled() => false,
            registered = registered.wait_for(|registered| *registered) => registered.is_ok(),
        }
    }

    /// Where the agent's rows go; the same for all in a database that is not distributed.
    pub(super) fn shard(&self) -> i64 {
        self.shard.load(Ordering::Relaxed)
    }

    /// A batch has its verdict. Gives how far its stream is settled; 0: not known.
    pub(super) fn settle(&self, epoch: u64, kind: Kind, sequence: u64) -> u64 {
        self.settled().settle(epoch, kind, sequence)
    }

    fn raise(&self, epoch: u64, kind: Kind, through: u64) {
        self.settled().raise(epoch, kind, through);
    }

    fn settled_through(&self, epoch: u64, kind: Kind) -> u64 {
        self.settled().through(epoch, kind)
    }

    fn settled(&self) -> std::sync::MutexGuard<'_, Settled> {
        self.settled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes sure that the database has the agent's row.
    pub(super) async fn register(&self) -> Result<(), StoreError> {
        let _registering = self.registering.lock().await;
        if !*self.registered.borrow() {
            let store = &self.shared.ingest.store;
            store.register_agent(self.agent, &self.hello).await?;
            let shard = store.shard_of(self.agent).await?;
            self.shard.store(shard, Ordering::Relaxed);
            self.registered.send_replace(true);
        }
        Ok(())
    }

    /// What is wished of the agent's NTP monitoring.
    pub(super) async fn wishes(&self) -> Result<NtpMonitoring, StoreError> {
        self.shared.ingest.store.wishes(self.agent).await
    }

    /// Makes [`Self::register`] write the row once more.
    pub(super) fn register_again(&self) {
        self.registered.send_replace(false);
    }

    /// The watch list that the agent holds; `None`: it takes none.
    pub(super) fn watch_state(&self) -> Option<&WatchState> {
        self.hello.watch.as_ref()
    }

    /// Sends a piece of an update of the watch list, which is encoded already, when those before
    /// are on their way.
    pub(super) async fn update(&self, piece: Bytes) {
        tokio::select! {
            () = self.gone.cancelled() => {}
            // Fails when the writer ended, and with it the connection.
            _ = self.updates.send(piece) => {}
        }
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
