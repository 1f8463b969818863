//! Turns a message into a batch without an allocation for each row.
//!
//! A frame has nine arrays, and a fresh message lets each grow from nothing: more time went into that
//! than into reading the numbers. Here frames and exchanges are decoded into those of the message
//! before, whose arrays have grown already. What they are is left to the generated code, but for the
//! numbers of frames.

mod frame;

use netmon_common::wire::{BandwidthFrame, Batch, DirectionDeltas, NtpExchange, Uplink, uplink};
use prost::{
    Message,
    encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field},
};

/// Frames and exchanges kept for the next message; a message of many more is rare.
const KEPT: usize = 1024;

/// Octets kept of the rest of a message.
const KEPT_BYTES: usize = 64 << 10;

const BATCH: u32 = 1;
const BANDWIDTH: u32 = 6;
const EXCHANGES: u32 = 7;

/// Memory for one message after the other.
#[derive(Debug, Default)]
pub struct Decoder {
    rest: Vec<u8>,
    frames: Vec<BandwidthFrame>,
    exchanges: Vec<NtpExchange>,
}

/// A batch whose frames and exchanges lie beside it.
#[derive(Debug)]
pub(super) struct Decoded<'a> {
    pub(super) batch: Batch,
    pub(super) frames: &'a [BandwidthFrame],
    pub(super) exchanges: &'a [NtpExchange],
}

impl Decoder {
    /// The batch in an [`Uplink`] message, or why there is none.
    pub(super) fn decode(&mut self, message: &[u8]) -> Result<Decoded<'_>, String> {
        let error = |error| format!("does not decode: {error}");
        self.shrink();
        let Some(body) = only_batch(message) else {
            return self.whole(message);
        };
        let (mut frames, mut exchanges) = (0, 0);
        let mut left = body;
        while !left.is_empty() {
            let start = left;
            let (field, wire_type) = decode_key(&mut left).map_err(error)?;
            let of_rows = matches!(field, BANDWIDTH | EXCHANGES);
            if !of_rows || wire_type != WireType::LengthDelimited {
                skip_field(wire_type, field, &mut left, DecodeContext::default()).map_err(error)?;
                let length = start.len() - left.len();
                self.rest.extend_from_slice(&start[..length]);
                continue;
            }
            let row = delimited(&mut left).ok_or("does not decode: it ends early")?;
            if field == BANDWIDTH {
                let frame = reuse(&mut self.frames, &mut frames);
                clear(frame);
                frame::merge(frame, row).map_err(error)?;
            } else {
                let exchange = reuse(&mut self.exchanges, &mut exchanges);
                exchange.clear();
                exchange.merge(row).map_err(error)?;
            }
        }
        Ok(Decoded {
            batch: Batch::decode(self.rest.as_slice()).map_err(error)?,
            frames: &self.frames[..frames],
            exchanges: &self.exchanges[..exchanges],
        })
    }

    /// The same by the generated code alone, for messages that are put together otherwise.
    fn whole(&mut self, message: &[u8]) -> Result<Decoded<'_>, String> {
        match Uplink::decode(message) {
            Ok(Uplink {
                message: Some(uplink::Message::Batch(mut batch)),
            }) => {
                self.frames = std::mem::take(&mut batch.bandwidth);
                self.exchanges = std::mem::take(&mut batch.exchanges);
                Ok(Decoded {
                    batch,
                    frames: &self.frames,
                    exchanges: &self.exchanges,
                })
            }
            Ok(_) => Err("carries a batch and another message".to_owned()),
            Err(error) => Err(format!("does not decode: {error}")),
        }
    }

    fn shrink(&mut self) {
        self.frames.truncate(KEPT);
        self.exchanges.truncate(KEPT);
        self.rest.clear();
        self.rest.shrink_to(KEPT_BYTES);
    }
}

/// The body of the batch if there is nothing else in the message.
fn only_batch(mut message: &[u8]) -> Option<&[u8]> {
    let (field, wire_type) = decode_key(&mut message).ok()?;
    if (field, wire_type) != (BATCH, WireType::LengthDelimited) {
        return None;
    }
    let body = delimited(&mut message)?;
    message.is_empty().then_some(body)
}

/// Takes what a length stands before.
fn delimited<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(decode_varint(bytes).ok()?).ok()?;
    let (taken, after) = bytes.split_at_checked(length)?;
    *bytes = after;
    Some(taken)
}

/// The next value, one used before if there is one.
fn reuse<'a, T: Default>(values: &'a mut Vec<T>, used: &mut usize) -> &'a mut T {
    if *used == values.len() {
        values.push(T::default());
    }
    *used += 1;
    &mut values[*used - 1]
}

/// Empties a frame but not the memory of its arrays.
fn clear(frame: &mut BandwidthFrame) {
    let directions = [frame.ingress.take(), frame.egress.take()];
    frame.clear();
    [frame.ingress, frame.egress] = directions.map(|deltas| {
        deltas.map(|mut deltas: DirectionDeltas| {
            deltas.clear();
            deltas
        })
    });
}

#[cfg(test)]
mod tests {
    use netmon_common::wire::{Counters, Gap, Interface, Kind, NtpPacket};

    use super::*;

    fn frame(samples: usize, n: u64) -> BandwidthFrame {
        let deltas = || DirectionDeltas {
            packets: (0..samples as u64).map(|s| s * n).collect(),
            bytes: vec![n << 20; samples],
            ..DirectionDeltas::default()
        };
        BandwidthFrame {
            interface: format!("eth{n}"),
            started_at_unix_ns: 1,
            interval_us: vec![500_000; samples],
            ingress: Some(deltas()),
            egress: Some(deltas()),
            flags: vec![n as u32; samples],
            egress_total: Some(Counters::default()),
            ..BandwidthFrame::default()
        }
    }

    fn exchange(n: u64) -> NtpExchange {
        NtpExchange {
            interface: "eth0".to_owned(),
            client: vec![n as u8; 4],
            request: n.is_multiple_of(2).then(NtpPacket::default),
            offset_ns: n.is_multiple_of(3).then_some(-1),
            ..NtpExchange::default()
        }
    }

    fn batches() -> Vec<Batch> {
        let of = |frames: &[usize], exchanges| Batch {
            epoch: 3,
            sequence: 9,
            kind: Kind::Unspecified.into(),
            sealed_at_unix_ns: 77,
            interfaces: vec![Interface::default(); frames.len()],
            bandwidth: (1..)
                .zip(frames)
                .map(|(n, samples)| frame(*samples, n))
                .collect(),
            exchanges: (0..exchanges).map(exchange).collect(),
            gaps: vec![Gap::default()],
            ..Batch::default()
        };
        // Each leaves something behind for the next one.
        vec![of(&[30, 60], 3), of(&[2], 5), of(&[], 0), of(&[1, 0, 4], 1)]
    }

    fn message(batch: &Batch) -> Vec<u8> {
        let message = Some(uplink::Message::Batch(batch.clone()));
        Uplink { message }.encode_to_vec()
    }

    fn decoded(decoder: &mut Decoder, message: &[u8]) -> Result<Batch, String> {
        decoder.decode(message).map(|decoded| Batch {
            bandwidth: decoded.frames.to_vec(),
            exchanges: decoded.exchanges.to_vec(),
            ..decoded.batch
        })
    }

    #[test]
    fn nothing_of_one_message_gets_into_the_next() {
        let mut decoder = Decoder::default();
        for batch in batches().iter().chain(&batches()) {
            assert_eq!(decoded(&mut decoder, &message(batch)).as_ref(), Ok(batch));
        }
    }

    #[test]
    fn a_message_in_parts_is_what_the_generated_code_makes_of_it() {
        let mut parts = Vec::new();
        for batch in &batches()[..2] {
            parts.extend(message(batch));
        }
        let Some(uplink::Message::Batch(expected)) =
            Uplink::decode(parts.as_slice()).unwrap().message
        else {
            panic!("a batch");
        };
        let mut decoder = Decoder::default();
        assert_eq!(decoded(&mut decoder, &parts), Ok(expected));
    }

    #[test]
    fn octets_that_the_generated_code_refuses_are_refused() {
        let mut decoder = Decoder::default();
        let whole = message(&batches()[0]);
        for at in 0..whole.len() {
            for value in [0x00, 0x7f, 0xff] {
                let mut spoilt = whole.clone();
                spoilt[at] = value;
                let expected = match Uplink::decode(spoilt.as_slice()) {
                    Ok(Uplink {
                        message: Some(uplink::Message::Batch(batch)),
                    }) => Some(batch),
                    _ => None,
                };
                let got = decoded(&mut decoder, &spoilt).ok();
                // A direction that is missing comes out as one without values, invalid as well.
                let without_directions = |batch: Batch| Batch {
                    bandwidth: batch
                        .bandwidth
                        .into_iter()
                        .map(|frame| BandwidthFrame {
                            ingress: Some(frame.ingress.unwrap_or_default()),
                            egress: Some(frame.egress.unwrap_or_default()),
                            ..frame
                        })
                        .collect(),
                    ..batch
                };
                assert_eq!(
                    got.map(without_directions),
                    expected.map(without_directions),
                    "octet {at} is {value:#x}"
                );
            }
        }
    }
}
