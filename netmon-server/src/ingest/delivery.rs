//! What becomes of one message: live frames go to the board, batches to the store.

use std::sync::Arc;

use netmon_common::wire::{Downlink, Refusal, RefusalCause, Uplink, downlink, uplink};
use prost::Message as _;
use quinn::RecvStream;

use super::{
    close,
    control::acknowledgement,
    envelope::{self, BatchKey, Fault},
    persist::GaveUp,
    receive::Received,
    session::Session,
    writers::{Message, Verdict},
};
use crate::{
    live::Sent,
    metrics::{BatchRefusal, ConnectionRefusal, DatabaseOperation, StreamFailure},
    store::{Committed, Refused, Refusing},
};

/// Of a message that is too large, this much is kept with the refusal.
const OVERSIZED_KEPT: usize = 64 << 10;

/// Reads the stream and delivers its message.
pub(super) async fn receive(session: &Arc<Session>, mut stream: RecvStream) {
    let metrics = &session.shared.ingest.metrics;
    let patience = session.shared.ingest.limits.patience;
    let budget = &session.shared.budget;
    let sent = Sent {
        connection: session.number,
        stream: stream.id().index(),
    };
    let received = tokio::select! {
        () = session.gone.cancelled() => return,
        received = budget.read(&mut stream, &session.large, patience) => received,
    };
    match received {
        Received::Message(bytes, held) => {
            metrics.received(bytes.len());
            message(session, sent, Message::new(bytes, held)).await;
        }
        Received::Oversized(mut start, held) => {
            metrics.received(start.len());
            unreadable(
                session,
                StreamFailure::Oversized,
                "larger than a message may be",
            );
            start.truncate(OVERSIZED_KEPT);
            if let Some(key) = envelope::key_of_start(&start) {
                let reason = "the message is larger than the server allows";
                let message = Message::new(start, held);
                Box::pin(refuse(
                    session,
                    key,
                    BatchRefusal::Oversized,
                    reason,
                    message,
                ))
                .await;
            }
        }
        Received::Reset => unreadable(session, StreamFailure::Reset, "reset by the agent"),
        Received::Stalled => {
            metrics.connection_refused(ConnectionRefusal::Stalled);
            tracing::warn!(agent = %session.agent, "a message stopped coming; closing the connection");
            session
                .connection
                .close(close::STALLED, b"a message stopped coming");
        }
        Received::Lost => {}
    }
}

async fn message(session: &Arc<Session>, sent: Sent, message: Message) {
    let metrics = &session.shared.ingest.metrics;
    match envelope::inspect(&message.bytes) {
        Ok(Some((key, rows))) => batch(session, key, rows, message).await,
        Ok(None) => match Uplink::decode(message.bytes.as_slice()) {
            Ok(Uplink {
                message: Some(uplink::Message::Live(live)),
            }) => {
                metrics.live_frame();
                session.shared.ingest.live.record(session.agent, sent, live);
            }
            _ => unreadable(session, StreamFailure::Garbage, "not a message of netmon/1"),
        },
        Err(Fault::Truncated) => {
            unreadable(
                session,
                StreamFailure::Truncated,
                "ended before the message did",
            );
        }
        Err(Fault::Garbage) => {
            unreadable(session, StreamFailure::Garbage, "not a message of netmon/1");
        }
        Err(Fault::Malformed(key)) => {
            let reason = "a field of the batch breaks off";
            Box::pin(refuse(
                session,
                key,
                BatchRefusal::Malformed,
                reason,
                message,
            ))
            .await;
        }
        Err(Fault::TooManyRows(key)) => {
            let reason = "the batch has more rows than the server allows";
            Box::pin(refuse(
                session,
                key,
                BatchRefusal::Oversized,
                reason,
                message,
            ))
            .await;
        }
    }
}

fn unreadable(session: &Session, cause: StreamFailure, problem: &str) {
    session.shared.ingest.metrics.stream_failed(cause);
    if let Some(suppressed) = session.log.allow() {
        tracing::warn!(agent = %session.agent, ?cause, suppressed, "unreadable stream: {problem}");
    }
}

/// Has the batch stored and tells the agent what became of it.
async fn batch(session: &Arc<Session>, key: BatchKey, rows: usize, message: Message) {
    // Without an answer the agent sends the batch again.
    if !session.is_registered().await {
        return;
    }
    let writers = &session.shared.writers;
    let Some((verdict, message)) = writers.store(session, key.kind(), rows, message).await else {
        return;
    };
    match verdict {
        Verdict::Committed(committed) => {
            // The places are free before the agent takes its answer, which may take for ever.
            drop(message);
            answer(session, key, committed).await;
        }
        Verdict::Refuse(cause, reason) => {
            Box::pin(refuse(session, key, cause, &reason, message)).await
        }
    }
}

/// Keeps a batch as refused and says so, unless it has another verdict already. Boxed where it is
/// called: it is rare, and its state would be most of what each waiting batch takes.
async fn refuse(
    session: &Session,
    key: BatchKey,
    cause: BatchRefusal,
    reason: &str,
    message: Message,
) {
    let refusing = Refusing {
        agent: session.agent,
        epoch: key.epoch,
        kind: key.kind(),
        sequence: key.sequence,
        cause,
        reason,
        message: &message.bytes,
    };
    let mut persistence = session.persistence(DatabaseOperation::Refuse);
    let verdict = loop {
        let Some(turn) = session.turn().await else {
            return;
        };
        let outcome = session.shared.ingest.store.refuse(refusing).await;
        drop(turn);
        match persistence.settle(outcome).await {
            Some(Ok(verdict)) => break verdict,
            // Numbers no table can hold: there is nothing to keep, and the agent must know.
            Some(Err(GaveUp::Permanent(_))) => {
                break Committed::Refused(Refused {
                    cause,
                    reason: reason.to_owned(),
                });
            }
            Some(Err(GaveUp::Gone)) => return,
            None => {}
        }
    };
    drop(message);
    answer(session, key, verdict).await;
}

/// Counts the verdict and tells the agent.
async fn answer(session: &Session, key: BatchKey, verdict: Committed) {
    let metrics = &session.shared.ingest.metrics;
    match verdict {
        // Counted by the writer.
        Committed::Stored(_) => acknowledge(session, key).await,
        Committed::Duplicate => {
            metrics.batch_duplicate();
            acknowledge(session, key).await;
        }
        Committed::Refused(refused) => {
            metrics.batch_refused(refused.cause);
            session.reply(refusal(session, key, refused)).await;
            // Only now: an acknowledgement of all up to a number must not come before the refusal
            // of one of them.
            session.settle(key.epoch, key.kind(), key.sequence);
        }
    }
}

async fn acknowledge(session: &Session, key: BatchKey) {
    let (epoch, kind) = (key.epoch, key.kind());
    let settled_through = session.settle(epoch, kind, key.sequence);
    let sequences = Vec::from_iter((key.sequence > settled_through).then_some(key.sequence));
    session
        .reply(acknowledgement(epoch, kind, settled_through, sequences))
        .await;
}

fn refusal(session: &Session, key: BatchKey, refused: Refused) -> Downlink {
    let Refused { cause, reason } = refused;
    let (epoch, kind, sequence) = (key.epoch, key.kind(), key.sequence);
    if let Some(suppressed) = session.log.allow() {
        let agent = session.agent;
        tracing::warn!(
            %agent, epoch, kind = kind.name(), sequence, ?cause, reason, suppressed,
            "batch refused"
        );
    }
    let refusal = Refusal {
        epoch,
        sequence,
        cause: wire_cause(cause).into(),
        reason,
        kind: kind.into(),
    };
    Downlink {
        message: Some(downlink::Message::Refusal(refusal)),
    }
}

fn wire_cause(cause: BatchRefusal) -> RefusalCause {
    match cause {
        BatchRefusal::Malformed => RefusalCause::Malformed,
        BatchRefusal::Oversized => RefusalCause::Oversized,
        BatchRefusal::InvalidRow => RefusalCause::InvalidRow,
    }
}
