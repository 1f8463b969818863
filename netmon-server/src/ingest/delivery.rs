//! What becomes of one stream: live frames go to the board, batches to the store.

use std::{ops::Range, sync::Arc};

use netmon_common::wire::{Downlink, Refusal, RefusalCause, Uplink, downlink, uplink};
use prost::Message as _;
use quinn::RecvStream;

use super::{
    close,
    control::acknowledgement,
    envelope::{self, BatchKey, Content, Defect, Fault, Part},
    persist::GaveUp,
    receive::Received,
    session::Session,
    writers::{Answer, Message, Verdict},
};
use crate::{
    live::Sent,
    metrics::{BatchRefusal, ConnectionRefusal, DatabaseOperation, StreamFailure},
    store::{Committed, Refused, Refusing},
};

/// Of a message that is too large, this much is kept with the refusal.
const OVERSIZED_KEPT: usize = 64 << 10;

/// Reads the stream and delivers what it brings.
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
                let cause = BatchRefusal::Oversized;
                Box::pin(refuse(session, key, cause, reason, &start)).await;
                drop(held);
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
        Ok(Content::Batches(parts)) => batches(session, parts, Arc::new(message)).await,
        Ok(Content::Other) => match Uplink::decode(message.bytes.as_slice()) {
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
    }
}

fn unreadable(session: &Session, cause: StreamFailure, problem: &str) {
    session.shared.ingest.metrics.stream_failed(cause);
    if let Some(suppressed) = session.log.allow() {
        tracing::warn!(agent = %session.agent, ?cause, suppressed, "unreadable stream: {problem}");
    }
}

/// Has the batches stored and tells the agent what became of each.
async fn batches(session: &Arc<Session>, parts: Vec<Part>, message: Arc<Message>) {
    // Without an answer the agent sends the batches again.
    if !session.is_registered().await {
        return;
    }
    for part in &parts {
        if let Err(defect) = part.rows {
            Box::pin(refuse_defect(session, part, defect, &message)).await;
        }
    }
    let parts: Arc<[Part]> = parts.into_iter().filter(|part| part.rows.is_ok()).collect();
    // An agent sends batches of one kind together, but nothing obliges it to.
    let mut start = 0;
    for run in parts.chunk_by(|a, b| a.key.kind == b.key.kind) {
        let range = start..start + run.len();
        start = range.end;
        store(session, &parts, range, Arc::clone(&message)).await;
    }
}

/// Has batches of one kind stored.
async fn store(
    session: &Arc<Session>,
    parts: &Arc<[Part]>,
    range: Range<usize>,
    message: Arc<Message>,
) {
    let mut message = Some(message);
    let writers = &session.shared.writers;
    let Some(bytes) = &message else { return };
    let asked = writers.store(session, Arc::clone(parts), range, Arc::clone(bytes));
    let mut next = asked.await;
    while let Some(Answer { verdicts, rest }) = next {
        let mut committed = Vec::with_capacity(verdicts.len());
        for (part, verdict) in verdicts {
            let key = parts[part].key;
            match verdict {
                Verdict::Committed(verdict) => committed.push((key, verdict)),
                Verdict::Refuse(cause, reason) => {
                    if let Some(message) = &message {
                        let bytes = &message.bytes[parts[part].place.clone()];
                        Box::pin(refuse(session, key, cause, &reason, bytes)).await;
                    }
                }
            }
        }
        if rest.is_none() {
            // The places are free before the agent takes its answer, which may take for ever.
            message = None;
        }
        answer(session, committed).await;
        next = match rest {
            Some(rest) => session.verdicts(rest).await,
            None => None,
        };
    }
}

async fn refuse_defect(session: &Session, part: &Part, defect: Defect, message: &Message) {
    let (cause, reason) = match defect {
        Defect::Malformed => (BatchRefusal::Malformed, "a field of the batch breaks off"),
        Defect::TooManyRows => (
            BatchRefusal::Oversized,
            "the batch has more rows than the server allows",
        ),
    };
    let bytes = &message.bytes[part.place.clone()];
    refuse(session, part.key, cause, reason, bytes).await;
}

/// Keeps a batch as refused and says so, unless it has another verdict already. Boxed where it is
/// called: it is rare, and its state would be most of what each waiting batch takes.
async fn refuse(
    session: &Session,
    key: BatchKey,
    cause: BatchRefusal,
    reason: &str,
    message: &[u8],
) {
    let refusing = Refusing {
        agent: session.agent,
        epoch: key.epoch,
        kind: key.kind(),
        sequence: key.sequence,
        cause,
        reason,
        message,
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
    answer(session, vec![(key, verdict)]).await;
}

/// Counts the verdicts and tells the agent.
async fn answer(session: &Session, verdicts: Vec<(BatchKey, Committed)>) {
    let metrics = &session.shared.ingest.metrics;
    let mut stored = Vec::with_capacity(verdicts.len());
    for (key, verdict) in verdicts {
        match verdict {
            // Counted by the writer.
            Committed::Stored(_) => stored.push(key),
            Committed::Duplicate => {
                metrics.batch_duplicate();
                stored.push(key);
            }
            Committed::Refused(refused) => {
                metrics.batch_refused(refused.cause);
                session.reply(refusal(session, key, refused)).await;
                // Only now: an acknowledgement of all up to a number must not come before the
                // refusal of one of them.
                session.settle(key.epoch, key.kind(), key.sequence);
            }
        }
    }
    for run in stored.chunk_by(|a, b| (a.epoch, a.kind) == (b.epoch, b.kind)) {
        acknowledge(session, run).await;
    }
}

/// Acknowledges batches of one stream.
async fn acknowledge(session: &Session, batches: &[BatchKey]) {
    let Some(BatchKey { epoch, .. }) = batches.first().copied() else {
        return;
    };
    let kind = batches[0].kind();
    let mut settled_through = 0;
    for batch in batches {
        settled_through = session.settle(epoch, kind, batch.sequence);
    }
    let sequences = batches.iter().map(|batch| batch.sequence);
    let beyond = sequences.filter(|sequence| *sequence > settled_through);
    session
        .reply(acknowledgement(
            epoch,
            kind,
            settled_through,
            beyond.collect(),
        ))
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
