//! The control stream: length-delimited messages, bounded in size.

use std::{collections::HashMap, time::Duration};

use bytes::{Buf, Bytes, BytesMut};
use netmon_common::wire::{Acknowledgement, Downlink, Kind, MAX_CONTROL_BYTES, downlink};
use prost::{Message, encoding::decode_varint};
use quinn::{ReadError, RecvStream, SendStream};
use tokio::{sync::mpsc, time::timeout};

/// Longest varint of protobuf, octets.
const MAX_VARINT: usize = 10;

/// Sequence numbers in one acknowledgement; so many of ten octets fit a control message.
pub(super) const MAX_SEQUENCES: usize = 4096;

/// Replies written in one go.
const REPLIES: usize = 256;

/// What ends a connection over its control stream.
#[derive(Debug, thiserror::Error)]
pub(super) enum ControlError {
    #[error("a message of {0} bytes is larger than the {MAX_CONTROL_BYTES} allowed")]
    Oversized(u64),
    #[error("not a message: {0}")]
    Malformed(#[from] prost::DecodeError),
    #[error("the stream ended within a message")]
    Truncated,
    #[error("cannot read: {0}")]
    Read(#[from] ReadError),
}

/// The agent's half.
#[derive(Debug)]
pub(super) struct Reader {
    stream: RecvStream,
    buffer: BytesMut,
}

impl Reader {
    pub(super) fn new(stream: RecvStream) -> Self {
        Self {
            stream,
            buffer: BytesMut::new(),
        }
    }

    /// The next message; `None` when the stream ended after one.
    pub(super) async fn next<M: Message + Default>(&mut self) -> Result<Option<M>, ControlError> {
        loop {
            if let Some(length) = delimited(&self.buffer)? {
                let message = M::decode_length_delimited(&self.buffer[..length])?;
                self.buffer.advance(length);
                return Ok(Some(message));
            }
            match self.stream.read_chunk(MAX_CONTROL_BYTES, true).await? {
                Some(chunk) => self.buffer.extend_from_slice(&chunk.bytes),
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(ControlError::Truncated),
            }
        }
    }

    /// Reads on, so that a newer agent may say more than this server understands; gives the breach
    /// of the rules that ends the connection.
    pub(super) async fn watch(mut self) -> ControlError {
        loop {
            match self.next::<Ignored>().await {
                Ok(Some(Ignored {})) => {}
                // An agent that says no more may still send batches.
                Ok(None) => std::future::pending().await,
                Err(error) => return error,
            }
        }
    }
}

/// A message of any content.
#[derive(Clone, PartialEq, Message)]
struct Ignored {}

/// The length of the message at the start of the buffer with its delimiter, once it is complete.
fn delimited(buffer: &[u8]) -> Result<Option<usize>, ControlError> {
    let varint_ends = buffer.iter().take(MAX_VARINT).any(|byte| byte & 0x80 == 0);
    if !varint_ends && buffer.len() < MAX_VARINT {
        return Ok(None);
    }
    let mut rest = buffer;
    let length = decode_varint(&mut rest)?;
    if length > MAX_CONTROL_BYTES as u64 {
        return Err(ControlError::Oversized(length));
    }
    let total = buffer.len() - rest.len() + length as usize;
    Ok((buffer.len() >= total).then_some(total))
}

/// Writes replies until their senders are gone, then waits a little for them to arrive; between them
/// `pieces` of a long message, which are encoded already. Ends early when the agent no longer takes
/// them.
pub(super) async fn write(
    mut stream: SendStream,
    mut replies: mpsc::Receiver<Downlink>,
    mut pieces: mpsc::Receiver<Bytes>,
    linger: Duration,
) {
    loop {
        // Memory of the moment: most agents' writers wait most of the time.
        let mut waiting = Vec::new();
        tokio::select! {
            biased;
            count = replies.recv_many(&mut waiting, REPLIES) => if count == 0 {
                break;
            },
            Some(piece) = pieces.recv() => {
                if stream.write_chunk(piece).await.is_err() {
                    return;
                }
                continue;
            }
        }
        let mut out = Vec::new();
        for message in merged(waiting.into_iter()) {
            out.extend(message.encode_length_delimited_to_vec());
        }
        if stream.write_all(&out).await.is_err() {
            return;
        }
    }
    if stream.finish().is_ok() {
        let _ = timeout(linger, stream.stopped()).await;
    }
}

/// Joins the acknowledgements of each stream, but never over a refusal: one of all batches up to a
/// number must not overtake the refusal of one of them.
fn merged(messages: impl Iterator<Item = Downlink>) -> Vec<Downlink> {
    use downlink::Message::Acknowledgement as Acknowledged;
    let mut out: Vec<Downlink> = Vec::new();
    let mut streams: HashMap<(u64, i32), usize> = HashMap::new();
    for message in messages {
        let Some(Acknowledged(next)) = &message.message else {
            streams.clear();
            out.push(message);
            continue;
        };
        let earlier = streams
            .get(&(next.epoch, next.kind))
            .map(|at| &mut out[*at]);
        if let Some(Downlink {
            message: Some(Acknowledged(last)),
        }) = earlier
            && last.sequences.len() + next.sequences.len() <= MAX_SEQUENCES
        {
            last.settled_through = last.settled_through.max(next.settled_through);
            last.sequences.extend(&next.sequences);
        } else {
            streams.insert((next.epoch, next.kind), out.len());
            out.push(message);
        }
    }
    for reply in &mut out {
        if let Some(Acknowledged(reply)) = &mut reply.message {
            let through = reply.settled_through;
            reply.sequences.retain(|sequence| *sequence > through);
        }
    }
    out
}

/// Batches of a stream are stored: all up to one, and some beyond.
pub(super) fn acknowledgement(
    epoch: u64,
    kind: Kind,
    settled_through: u64,
    sequences: Vec<u64>,
) -> Downlink {
    let acknowledgement = Acknowledgement {
        epoch,
        kind: kind.into(),
        settled_through,
        sequences,
    };
    Downlink {
        message: Some(downlink::Message::Acknowledgement(acknowledgement)),
    }
}

#[cfg(test)]
mod tests {
    use netmon_common::wire::{Hello, Refusal};

    use super::*;

    #[test]
    fn a_message_is_taken_when_it_is_complete() {
        let hello = Hello {
            hostname: "a".repeat(200),
            ..Hello::default()
        };
        let bytes = hello.encode_length_delimited_to_vec();
        for end in 0..bytes.len() {
            assert!(matches!(delimited(&bytes[..end]), Ok(None)), "{end}");
        }
        assert!(matches!(delimited(&bytes), Ok(Some(length)) if length == bytes.len()));
    }

    #[test]
    fn an_announced_size_beyond_the_bound_is_refused_before_its_bytes_come() {
        let mut bytes = Vec::new();
        prost::encode_length_delimiter(MAX_CONTROL_BYTES + 1, &mut bytes).unwrap();
        assert!(matches!(delimited(&bytes), Err(ControlError::Oversized(_))));
        assert!(delimited(&[0xff; 10]).is_err(), "a varint that never ends");
    }

    #[test]
    fn acknowledgements_of_a_stream_travel_together_and_never_over_a_refusal() {
        let stored = |kind, through, sequence| acknowledgement(1, kind, through, vec![sequence]);
        let refused = Downlink {
            message: Some(downlink::Message::Refusal(Refusal::default())),
        };
        let replies = [
            stored(Kind::Bandwidth, 0, 3),
            stored(Kind::System, 0, 1),
            stored(Kind::Bandwidth, 3, 5),
            refused,
            stored(Kind::Bandwidth, 5, 7),
        ];
        let told: Vec<_> = merged(replies.into_iter())
            .into_iter()
            .map(|reply| match reply.message {
                Some(downlink::Message::Acknowledgement(a)) => {
                    Some((a.kind(), a.settled_through, a.sequences))
                }
                _ => None,
            })
            .collect();
        let expected = [
            Some((Kind::Bandwidth, 3, vec![5])),
            Some((Kind::System, 0, vec![1])),
            None,
            Some((Kind::Bandwidth, 5, vec![7])),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn no_acknowledgement_is_too_large_for_the_control_stream() {
        let many = (0..MAX_SEQUENCES as u64).map(|n| u64::MAX - n).collect();
        let full = acknowledgement(u64::MAX, Kind::Flows, u64::MAX - 5000, many);
        assert!(full.encoded_len() < MAX_CONTROL_BYTES);
        let one = acknowledgement(u64::MAX, Kind::Flows, 1, vec![u64::MAX]);
        assert_eq!(merged([full, one].into_iter()).len(), 2);
    }
}
