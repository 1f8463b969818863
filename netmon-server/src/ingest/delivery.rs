//! What becomes of one message: live frames go to the board, batches to the store.

use std::time::Instant;

use netmon_common::wire::{Batch, Downlink, Refusal, RefusalCause, Uplink, downlink, uplink};
use prost::Message;
use quinn::RecvStream;

use super::{
    close,
    control::acknowledgement,
    envelope::{self, BatchKey, Fault},
    persist::GaveUp,
    receive::{Held, Received},
    session::Session,
};
use crate::{
    live::Sent,
    metrics::{BatchRefusal, ConnectionRefusal, DatabaseOperation, StreamFailure},
    store::{Committed, Refused, Refusing, StoreError},
};

/// Of a message that is too large, this much is kept with the refusal.
const OVERSIZED_KEPT: usize = 64 << 10;

/// Reads the stream and delivers its message.
pub(super) async fn receive(session: &Session, mut stream: RecvStream) {
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
            message(session, sent, bytes, held).await;
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
                refuse(session, key, BatchRefusal::Oversized, reason, start, held).await;
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

async fn message(session: &Session, sent: Sent, bytes: Vec<u8>, held: Held) {
    let metrics = &session.shared.ingest.metrics;
    match envelope::inspect(&bytes) {
        Ok(Some(key)) => batch(session, key, bytes, held).await,
        Ok(None) => match Uplink::decode(bytes.as_slice()) {
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
            refuse(session, key, BatchRefusal::Malformed, reason, bytes, held).await;
        }
        Err(Fault::TooManyRows(key)) => {
            let reason = "the batch has more rows than the server allows";
            refuse(session, key, BatchRefusal::Oversized, reason, bytes, held).await;
        }
    }
}

fn unreadable(session: &Session, cause: StreamFailure, problem: &str) {
    session.shared.ingest.metrics.stream_failed(cause);
    if let Some(suppressed) = session.log.allow() {
        tracing::warn!(agent = %session.agent, ?cause, suppressed, "unreadable stream: {problem}");
    }
}

/// What an attempt to store a batch came to.
enum Verdict {
    Committed(Committed),
    /// It can never be stored.
    Refuse(BatchRefusal, String),
}

async fn batch(session: &Session, key: BatchKey, bytes: Vec<u8>, held: Held) {
    let mut persistence = session.persistence(DatabaseOperation::Commit);
    let verdict = loop {
        // Without an answer the agent sends the batch again.
        let Some(outcome) = attempt(session, &bytes).await else {
            return;
        };
        match persistence.settle(outcome).await {
            Some(Ok(verdict)) => break verdict,
            Some(Err(GaveUp::Permanent(reason))) => {
                break Verdict::Refuse(BatchRefusal::InvalidRow, reason);
            }
            Some(Err(GaveUp::Gone)) => return,
            None => {}
        }
    };
    match verdict {
        Verdict::Committed(committed) => {
            // The places are free before the agent takes its answer, which may take for ever.
            drop((bytes, held));
            answer(session, key, committed).await;
        }
        Verdict::Refuse(cause, reason) => {
            refuse(session, key, cause, &reason, bytes, held).await;
        }
    }
}

/// One attempt. Between attempts only the message is kept: rows may take ten times its size, so
/// there are only as many as commits.
async fn attempt(session: &Session, bytes: &[u8]) -> Option<Result<Verdict, StoreError>> {
    let _turn = session.turn().await?;
    if let Err(error) = session.register().await {
        return Some(Err(error));
    }
    let ingest = &session.shared.ingest;
    let rows = match decode(bytes).map(|batch| ingest.store.validate(session.agent, &batch)) {
        Ok(Ok(rows)) => rows,
        Ok(Err(invalid)) => {
            return Some(Ok(Verdict::Refuse(
                BatchRefusal::InvalidRow,
                invalid.to_string(),
            )));
        }
        Err(reason) => return Some(Ok(Verdict::Refuse(BatchRefusal::Malformed, reason))),
    };
    let started = Instant::now();
    let committed = ingest.store.commit(&rows).await;
    match &committed {
        Ok(Committed::Stored(_)) => ingest.metrics.commit_took(started.elapsed()),
        Ok(_) => {}
        // The database may have come back from a backup that is older than the agent's row.
        Err(_) => session.register_again(),
    }
    Some(committed.map(Verdict::Committed))
}

fn decode(bytes: &[u8]) -> Result<Batch, String> {
    match Uplink::decode(bytes) {
        Ok(Uplink {
            message: Some(uplink::Message::Batch(batch)),
        }) => Ok(batch),
        Ok(_) => Err("carries a batch and another message".to_owned()),
        Err(error) => Err(format!("does not decode: {error}")),
    }
}

/// Keeps a batch as refused and says so, unless it has another verdict already.
async fn refuse(
    session: &Session,
    key: BatchKey,
    cause: BatchRefusal,
    reason: &str,
    message: Vec<u8>,
    held: Held,
) {
    let refusing = Refusing {
        agent: session.agent,
        epoch: key.epoch,
        kind: key.kind(),
        sequence: key.sequence,
        cause,
        reason,
        message: &message,
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
    drop((message, held));
    answer(session, key, verdict).await;
}

/// Counts the verdict and tells the agent.
async fn answer(session: &Session, key: BatchKey, verdict: Committed) {
    let metrics = &session.shared.ingest.metrics;
    let BatchKey {
        epoch, sequence, ..
    } = key;
    let kind = key.kind();
    let reply = match verdict {
        Committed::Stored(rows) => {
            metrics.batch_committed(rows.by_table());
            acknowledgement(epoch, kind, sequence)
        }
        Committed::Duplicate => {
            metrics.batch_duplicate();
            acknowledgement(epoch, kind, sequence)
        }
        Committed::Refused(refused) => {
            metrics.batch_refused(refused.cause);
            let reason = refused.reason;
            if let Some(suppressed) = session.log.allow() {
                let (agent, cause) = (session.agent, refused.cause);
                tracing::warn!(%agent, epoch, sequence, ?cause, reason, suppressed, "batch refused");
            }
            let cause = wire_cause(refused.cause).into();
            Downlink {
                message: Some(downlink::Message::Refusal(Refusal {
                    epoch,
                    sequence,
                    cause,
                    reason,
                    kind: kind.into(),
                })),
            }
        }
    };
    session.reply(reply).await;
}

fn wire_cause(cause: BatchRefusal) -> RefusalCause {
    match cause {
        BatchRefusal::Malformed => RefusalCause::Malformed,
        BatchRefusal::Oversized => RefusalCause::Oversized,
        BatchRefusal::InvalidRow => RefusalCause::InvalidRow,
    }
}
