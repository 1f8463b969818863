//! A session at work: batches out, acknowledgements in.

use std::{fmt, sync::Arc, time::Duration};

use netmon_common::wire::{Downlink, Live, Uplink, downlink, uplink};
use prost::Message as _;
use quinn::{Connection, RecvStream, VarInt};
use tokio::{sync::watch, task::JoinSet};

use super::{Phase, SharedOutbox, connection::Session, control, reached};
use crate::{metrics::Metrics, outbox::Sealed};

/// Most batches on their way at a time: enough to fill a long path, and little to send again.
const MAX_IN_FLIGHT: usize = 32;

/// A batch that is stored or refused is answered; one that is neither for so long was lost on the
/// way, or its database is away.
const VERDICT_TIMEOUT: Duration = Duration::from_secs(60);

/// Why a session ended.
#[derive(Debug)]
pub struct Ended(String);

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Sends until the connection ends (why) or the phase is closing (`None`). Whatever the server
/// has not acknowledged by then is sent again on the next connection; the server recognises what it
/// has.
pub async fn run(
    session: Session,
    outbox: &Arc<SharedOutbox>,
    live: &mut watch::Receiver<Live>,
    metrics: &Arc<Metrics>,
    mut phases: watch::Receiver<Phase>,
) -> Option<Ended> {
    let Session {
        connection,
        control_receive,
        control_send,
        endpoint,
        ..
    } = session;
    let ended = tokio::select! {
        ended = receive(control_receive, outbox) => ended,
        ended = send_batches(&connection, outbox, metrics) => ended,
        ended = send_live(&connection, live) => ended,
        ended = verdicts(outbox) => ended,
        closed = connection.closed() => Ended(closed.to_string()),
        () = reached(&mut phases, Phase::Closing) => {
            connection.close(VarInt::from_u32(0), b"agent stopped");
            endpoint.wait_idle().await;
            return None;
        }
    };
    let reason = connection
        .close_reason()
        .map_or(ended, |reason| Ended(reason.to_string()));
    connection.close(VarInt::from_u32(0), b"starting over");
    drop(control_send);
    Some(reason)
}

async fn receive(mut control: RecvStream, outbox: &SharedOutbox) -> Ended {
    loop {
        let downlink: Downlink = match control::read(&mut control).await {
            Ok(downlink) => downlink,
            Err(error) => return Ended(error.to_string()),
        };
        match downlink.message {
            Some(downlink::Message::Acknowledgement(ack)) => {
                let mut outbox = outbox.lock();
                for sequence in ack.sequences {
                    outbox.stored(ack.epoch, sequence);
                }
            }
            Some(downlink::Message::Refusal(refusal)) => {
                tracing::error!(
                    epoch = refusal.epoch,
                    sequence = refusal.sequence,
                    reason = refusal.reason,
                    "the server refused a batch for good"
                );
                outbox.lock().refused(refusal.epoch, refusal.sequence);
            }
            // A newer server may say more than we understand.
            Some(downlink::Message::Welcome(_)) | None => continue,
        }
        outbox.changed.notify_waiters();
    }
}

async fn send_batches(
    connection: &Connection,
    outbox: &Arc<SharedOutbox>,
    metrics: &Metrics,
) -> Ended {
    let mut last_sent = 0;
    let mut writes = JoinSet::new();
    loop {
        let changed = outbox.changed.notified();
        tokio::pin!(changed);
        // Registered before looking, so that no change is missed in between.
        changed.as_mut().enable();
        while let Some(sealed) = next_to_send(outbox, last_sent) {
            last_sent = sealed.sequence;
            metrics.batches_sent.inc();
            metrics.bytes_sent.inc_by(sealed.message.len() as u64);
            writes.spawn(write(connection.clone(), sealed.message));
        }
        tokio::select! {
            () = &mut changed => {}
            Some(written) = writes.join_next() => {
                if let Ok(Err(error)) = written {
                    return Ended(error);
                }
            }
        }
    }
}

/// The next batch, if the window has room: batches sent but not stored are those up to `last_sent`.
fn next_to_send(outbox: &SharedOutbox, last_sent: u64) -> Option<Sealed> {
    let outbox = outbox.lock();
    let sealed = outbox.next_after(last_sent)?;
    (outbox.unstored_up_to(last_sent) < MAX_IN_FLIGHT).then_some(sealed)
}

async fn write(connection: Connection, message: bytes::Bytes) -> Result<(), String> {
    let mut stream = connection
        .open_uni()
        .await
        .map_err(|error| error.to_string())?;
    // The server may stop the stream of a batch it refuses: its refusal says the rest.
    match stream.write_all(&message).await {
        Ok(()) => {
            let _ = stream.finish();
            Ok(())
        }
        Err(quinn::WriteError::Stopped(_)) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// Ends a session in which the oldest batch has waited too long: the next one sends it again.
async fn verdicts(outbox: &SharedOutbox) -> Ended {
    let mut oldest = None;
    loop {
        tokio::time::sleep(VERDICT_TIMEOUT).await;
        let now_oldest = outbox.lock().next_after(0).map(|sealed| sealed.sequence);
        if now_oldest.is_some() && now_oldest == oldest {
            return Ended("a batch has had no answer for a minute".to_owned());
        }
        oldest = now_oldest;
    }
}

async fn send_live(connection: &Connection, live: &mut watch::Receiver<Live>) -> Ended {
    loop {
        if live.changed().await.is_err() {
            // The sensor is done; what is left is handing over batches.
            return std::future::pending().await;
        }
        let newest = live.borrow_and_update().clone();
        let message = Uplink {
            message: Some(uplink::Message::Live(newest)),
        }
        .encode_to_vec();
        if let Err(error) = write(connection.clone(), message.into()).await {
            return Ended(error);
        }
    }
}
