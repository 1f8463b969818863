//! A session at work: batches out, acknowledgements in.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use netmon_common::wire::{Downlink, Kind, Live, NtpMonitoring, Uplink, downlink, uplink};
use prost::Message as _;
use quinn::{Connection, RecvStream, VarInt};
use tokio::{sync::watch, task::JoinSet};

use super::{Phase, Takes, WatchList, connection::Session, control, reached, watch_list::Updates};
use crate::{
    metrics::Metrics,
    spool::{Outgoing, Spool},
};

/// Where to say what the server wants of the agent.
#[derive(Clone, Copy)]
pub struct Orders<'a> {
    /// What is wished of NTP monitoring.
    pub wishes: &'a watch::Sender<Option<NtpMonitoring>>,
    /// What is to be watched; `None`: the agent takes no list.
    pub watch_list: Option<&'a WatchList>,
}

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
    (spool, orders): (&Spool, Orders<'_>),
    live: &mut watch::Receiver<Live>,
    metrics: &Arc<Metrics>,
    mut phases: watch::Receiver<Phase>,
) -> Option<Ended> {
    let Session {
        connection,
        control_receive,
        control_send,
        endpoint,
        stream_batches,
        takes,
        ..
    } = session;
    let ended = tokio::select! {
        ended = receive(control_receive, (spool, orders), metrics) => ended,
        ended = send_batches(&connection, (stream_batches, takes), spool, metrics) => ended,
        ended = send_live(&connection, live) => ended,
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

async fn receive(
    mut control: RecvStream,
    (spool, orders): (&Spool, Orders<'_>),
    metrics: &Metrics,
) -> Ended {
    let mut updates = Updates::new(orders.watch_list);
    loop {
        let downlink: Downlink = match control::read(&mut control).await {
            Ok(downlink) => downlink,
            Err(error) => return Ended(error.to_string()),
        };
        match downlink.message {
            Some(downlink::Message::Acknowledgement(acknowledgement)) => {
                metrics.acknowledged();
                spool.acknowledged(acknowledgement).await;
            }
            Some(downlink::Message::Refusal(refusal)) => {
                tracing::error!(
                    epoch = refusal.epoch,
                    kind = refusal.kind().name(),
                    sequence = refusal.sequence,
                    reason = refusal.reason,
                    "the server refused a batch for good"
                );
                spool.refused(refusal).await;
            }
            Some(downlink::Message::NtpMonitoring(wished)) => {
                orders.wishes.send_replace(Some(wished));
            }
            Some(downlink::Message::WatchUpdate(piece)) => {
                if let Err(error) = updates.take(&piece, metrics) {
                    // The next Hello says which list is held.
                    return Ended(error.to_string());
                }
            }
            // A newer server may say more than we understand.
            Some(downlink::Message::Welcome(_)) | None => {}
        }
    }
}

/// Sends what the spool gives: it minds the window, and says when waiting is of no use any more.
async fn send_batches(
    connection: &Connection,
    (stream_batches, takes): (usize, Takes),
    spool: &Spool,
    metrics: &Metrics,
) -> Ended {
    let mut feed = spool.connect(stream_batches).await;
    let mut writes = JoinSet::new();
    loop {
        tokio::select! {
            outgoing = feed.next() => match outgoing {
                // It would acknowledge them and drop what it does not know.
                Outgoing::Batches(messages)
                    if messages.iter().any(|message| too_new(message, takes)) =>
                {
                    return Ended(TOO_OLD.to_owned());
                }
                Outgoing::Batches(messages) => {
                    metrics.batches_sent.inc_by(messages.len() as u64);
                    let bytes: usize = messages.iter().map(Bytes::len).sum();
                    metrics.bytes_sent.inc_by(bytes as u64);
                    writes.spawn(write(connection.clone(), messages));
                }
                Outgoing::GiveUp(reason) => return Ended(reason.to_owned()),
            },
            Some(written) = writes.join_next() => {
                if let Ok(Err(error)) = written {
                    return Ended(error);
                }
            }
        }
    }
}

/// A session with a server that was updated before may have left them in the spool.
const TOO_OLD: &str =
    "the server is too old for folded NTP exchanges or sightings that wait for a newer one";

/// Whether a message has something in it that the server does not take.
fn too_new(message: &Bytes, takes: Takes) -> bool {
    if takes.folds && takes.sightings {
        return false;
    }
    let decoded = Uplink::decode(message.clone());
    let Ok(Some(uplink::Message::Batch(batch))) = decoded.map(|uplink| uplink.message) else {
        return false;
    };
    // It would refuse a batch that speaks of a kind that it does not know.
    let of_sightings = |kind: i32| kind == i32::from(Kind::Sightings);
    let speaks_of_sightings = of_sightings(batch.kind)
        || batch.streams.iter().any(|state| of_sightings(state.kind))
        || batch
            .omissions
            .iter()
            .any(|omission| of_sightings(omission.kind));
    !takes.folds && !batch.ntp_folds.is_empty() || !takes.sightings && speaks_of_sightings
}

async fn write(connection: Connection, mut messages: Vec<Bytes>) -> Result<(), String> {
    let mut stream = connection
        .open_uni()
        .await
        .map_err(|error| error.to_string())?;
    // The server may stop the stream of a batch it refuses: its refusal says the rest.
    match stream.write_all_chunks(&mut messages).await {
        Ok(()) => {
            let _ = stream.finish();
            Ok(())
        }
        Err(quinn::WriteError::Stopped(_)) => Ok(()),
        Err(error) => Err(error.to_string()),
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
        if let Err(error) = write(connection.clone(), vec![message.into()]).await {
            return Ended(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use netmon_common::wire::{Batch, NtpExchange, NtpFold, StreamState};

    use super::*;

    #[test]
    fn a_message_that_an_older_server_does_not_take_is_told_from_others() {
        let of = |message| {
            Bytes::from(
                Uplink {
                    message: Some(message),
                }
                .encode_to_vec(),
            )
        };
        let exchanges = Batch {
            exchanges: vec![NtpExchange::default()],
            ..Batch::default()
        };
        let folds = Batch {
            ntp_folds: vec![NtpFold::default()],
            ..exchanges.clone()
        };
        let sightings = Batch {
            kind: Kind::Sightings.into(),
            ..Batch::default()
        };
        let report = Batch {
            kind: Kind::Bandwidth.into(),
            streams: vec![StreamState {
                kind: Kind::Sightings.into(),
                ..StreamState::default()
            }],
            ..Batch::default()
        };
        let [neither, folds_only, sightings_only, both] =
            [(false, false), (true, false), (false, true), (true, true)]
                .map(|(folds, sightings)| Takes { folds, sightings });
        for (message, too_new_for) in [
            (of(uplink::Message::Batch(exchanges)), vec![]),
            (
                of(uplink::Message::Batch(folds)),
                vec![neither, sightings_only],
            ),
            (
                of(uplink::Message::Batch(sightings)),
                vec![neither, folds_only],
            ),
            (
                of(uplink::Message::Batch(report)),
                vec![neither, folds_only],
            ),
            (of(uplink::Message::Live(Live::default())), vec![]),
            (Bytes::from_static(b"\xff\xff"), vec![]),
        ] {
            for takes in [neither, folds_only, sightings_only, both] {
                assert_eq!(too_new(&message, takes), too_new_for.contains(&takes));
            }
        }
    }
}
