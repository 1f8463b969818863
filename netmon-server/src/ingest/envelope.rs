//! Looks at what a stream brought before it is decoded.
//!
//! Two octets on the wire can become hundreds in memory (an empty exchange), so repeated messages
//! are counted first. And a message that ends early must be told from one that is wrong: the first
//! may come again whole and must leave no verdict, the second never gets better.

use std::ops::Range;

use netmon_common::wire::{Kind, MAX_STREAM_BATCHES, MAX_UPLINK_BYTES};
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

/// Repeated messages on one stream, of all kinds together. A batch of the size allowed holds fewer
/// if they carry anything.
const MAX_ROWS: usize = MAX_UPLINK_BYTES / 64;

/// The batch a message carries, as far as could be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct BatchKey {
    pub(super) epoch: u64,
    pub(super) sequence: u64,
    /// As it stands on the wire: 0 and 1 to 5 mean something.
    pub(super) kind: u64,
}

/// What a stream brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// Batches, at least one, in the order in which they came.
    Batches(Vec<Part>),
    /// Anything else that may be decoded.
    Other,
}

/// One batch of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) key: BatchKey,
    /// Where its message lies in what came.
    pub(super) place: Range<usize>,
    /// How many rows it has, or why it is not worth decoding.
    pub(super) rows: Result<usize, Defect>,
}

/// What is wrong with a batch for certain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Defect {
    /// A field breaks off although the message is whole.
    Malformed,
    /// More rows than a batch may hold.
    TooManyRows,
}

/// Why what came is not worth decoding, and nothing can be said of any batch in it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It ends before it should.
    Truncated,
    /// It is no message, or none this server knows.
    Garbage,
}

const BATCH: u32 = 1;
const LIVE: u32 = 2;
const BATCH_ROWS: &[u32] = &[5, 6, 7, 9, 10, 11, 12, 13, 14, 15];
const LIVE_ROWS: &[u32] = &[2, 5];

/// Checks the outer shape of all that a stream brought.
pub(super) fn inspect(message: &[u8]) -> Result<Content, Fault> {
    if message.is_empty() {
        return Err(Fault::Truncated);
    }
    let mut rest = message;
    let mut parts = Vec::new();
    let (mut all_rows, mut is_live) = (0, false);
    while !rest.is_empty() {
        let start = message.len() - rest.len();
        let (field, wire_type) = decode_key(&mut rest).map_err(|_| Fault::Garbage)?;
        if wire_type != WireType::LengthDelimited {
            let skipped = skip_field(wire_type, field, &mut rest, DecodeContext::default());
            skipped.map_err(|_| Fault::Garbage)?;
            continue;
        }
        let length = decode_varint(&mut rest).map_err(|_| Fault::Truncated)?;
        let Some((body, after)) = usize::try_from(length)
            .ok()
            .and_then(|n| rest.split_at_checked(n))
        else {
            return Err(Fault::Truncated);
        };
        rest = after;
        let (mut rows, mut key) = (0, BatchKey::default());
        match field {
            BATCH => {
                let is_whole = walk(body, BATCH_ROWS, &mut rows, &mut key);
                let defect = match (is_whole, rows > MAX_ROWS) {
                    (false, _) => Some(Defect::Malformed),
                    (true, true) => Some(Defect::TooManyRows),
                    (true, false) => None,
                };
                // A verdict needs the key it is for.
                if parts.len() == MAX_STREAM_BATCHES || defect.is_some() && !key.is_complete() {
                    return Err(Fault::Garbage);
                }
                parts.push(Part {
                    key,
                    place: start..message.len() - rest.len(),
                    rows: defect.map_or(Ok(rows), Err),
                });
                all_rows += rows;
            }
            LIVE => {
                if !walk(body, LIVE_ROWS, &mut rows, &mut key) || rows > MAX_ROWS {
                    return Err(Fault::Garbage);
                }
                is_live = true;
            }
            _ => {}
        }
    }
    match parts.len() {
        0 => Ok(Content::Other),
        _ if is_live => Err(Fault::Garbage),
        // Whose fault it is cannot be said; no agent sends so much together.
        2.. if all_rows > MAX_ROWS => Err(Fault::Garbage),
        _ => Ok(Content::Batches(parts)),
    }
}

/// The batch of which `start` is the first part, if that is enough to tell.
pub(super) fn key_of_start(start: &[u8]) -> Option<BatchKey> {
    let mut rest = start;
    let (field, wire_type) = decode_key(&mut rest).ok()?;
    if (field, wire_type) != (BATCH, WireType::LengthDelimited) {
        return None;
    }
    decode_varint(&mut rest).ok()?;
    let mut batch = BatchKey::default();
    walk(rest, BATCH_ROWS, &mut 0, &mut batch);
    batch.is_complete().then_some(batch)
}

impl BatchKey {
    /// What the batch carries; of a kind this server does not know, that it does not.
    pub(super) fn kind(self) -> Kind {
        i32::try_from(self.kind)
            .ok()
            .and_then(|kind| Kind::try_from(kind).ok())
            .unwrap_or(Kind::Unspecified)
    }

    fn is_complete(self) -> bool {
        self.epoch != 0 && self.sequence != 0
    }
}

/// Walks over the fields of a message, counting rows and taking the numbers of a batch; `false`
/// when it breaks off.
fn walk(mut body: &[u8], counted: &[u32], rows: &mut usize, batch: &mut BatchKey) -> bool {
    while !body.is_empty() {
        let Ok((field, wire_type)) = decode_key(&mut body) else {
            return false;
        };
        if counted.contains(&field) {
            *rows += 1;
        }
        let read = match (field, wire_type) {
            (1, WireType::Varint) => decode_varint(&mut body).map(|n| batch.epoch = n),
            (2, WireType::Varint) => decode_varint(&mut body).map(|n| batch.sequence = n),
            (3, WireType::Varint) => decode_varint(&mut body).map(|n| batch.kind = n),
            _ => skip_field(wire_type, field, &mut body, DecodeContext::default()),
        };
        if read.is_err() {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use netmon_common::wire::{
        BandwidthFrame, Batch, Gap, Interface, Live, NtpControl, NtpExchange, NtpFold, Omission,
        Sighting, StreamState, SystemSample, Uplink, uplink,
    };
    use prost::Message;

    use super::*;

    fn batch(exchanges: usize) -> Vec<u8> {
        let batch = Batch {
            epoch: 300,
            sequence: 7,
            kind: Kind::Exchanges.into(),
            sealed_at_unix_ns: 1,
            exchanges: vec![NtpExchange::default(); exchanges],
            ..Batch::default()
        };
        Uplink {
            message: Some(uplink::Message::Batch(batch)),
        }
        .encode_to_vec()
    }

    const KEY: BatchKey = BatchKey {
        epoch: 300,
        sequence: 7,
        kind: Kind::Exchanges as u64,
    };

    fn alone(bytes: &[u8], rows: Result<usize, Defect>) -> Result<Content, Fault> {
        let place = 0..bytes.len();
        let key = KEY;
        Ok(Content::Batches(vec![Part { key, place, rows }]))
    }

    #[test]
    fn a_batch_is_known_before_it_is_decoded() {
        let three = batch(3);
        assert_eq!(inspect(&three), alone(&three, Ok(3)));
        assert_eq!(key_of_start(&batch(1000)[..20]), Some(KEY));
        assert_eq!(key_of_start(&batch(1000)[..4]), None);
    }

    #[test]
    fn batches_that_travel_together_are_told_apart() {
        let [one, two] = [1, 2].map(batch);
        let Ok(Content::Batches(parts)) = inspect(&[one.clone(), two.clone()].concat()) else {
            panic!("two batches");
        };
        let end = one.len() + two.len();
        let places = [0..one.len(), one.len()..end];
        assert_eq!(
            parts.iter().map(|p| p.place.clone()).collect::<Vec<_>>(),
            places
        );
        assert_eq!(
            parts.iter().map(|p| p.rows).collect::<Vec<_>>(),
            [Ok(1), Ok(2)]
        );
    }

    #[test]
    fn one_batch_that_is_wrong_leaves_the_others() {
        let (good, mut bad) = (batch(1), batch(0));
        *bad.last_mut().unwrap() = 0x80;
        let Ok(Content::Batches(parts)) = inspect(&[good.clone(), bad, good].concat()) else {
            panic!("three batches");
        };
        let rows: Vec<_> = parts.iter().map(|part| part.rows).collect();
        assert_eq!(rows, [Ok(1), Err(Defect::Malformed), Ok(1)]);
    }

    #[test]
    fn every_shorter_part_of_a_batch_is_truncated_and_never_malformed() {
        let whole = batch(3);
        for end in 0..whole.len() {
            assert_eq!(inspect(&whole[..end]), Err(Fault::Truncated), "{end} bytes");
        }
    }

    #[test]
    fn a_batch_that_is_whole_but_wrong_inside_is_malformed() {
        let mut bytes = batch(0);
        // The sealing time's varint loses its end.
        *bytes.last_mut().unwrap() = 0x80;
        assert_eq!(inspect(&bytes), alone(&bytes, Err(Defect::Malformed)));
    }

    #[test]
    fn rows_of_every_kind_are_counted() {
        // Every field by its name: whoever adds one has to decide.
        let batch = Batch {
            epoch: KEY.epoch,
            sequence: KEY.sequence,
            kind: KEY.kind as i32,
            sealed_at_unix_ns: 1,
            clock: None,
            interfaces: vec![Interface::default()],
            bandwidth: vec![BandwidthFrame::default()],
            exchanges: vec![NtpExchange::default()],
            streams: vec![StreamState::default()],
            omissions: vec![Omission::default()],
            gaps: vec![Gap::default()],
            system: vec![SystemSample::default()],
            ntp_controls: vec![NtpControl::default()],
            ntp_folds: vec![NtpFold::default()],
            sightings: vec![Sighting::default()],
        };
        let message = Some(uplink::Message::Batch(batch));
        let bytes = Uplink { message }.encode_to_vec();
        assert_eq!(inspect(&bytes), alone(&bytes, Ok(10)));
    }

    #[test]
    fn more_rows_than_allowed_are_counted_before_they_take_memory() {
        let over = batch(MAX_ROWS + 1);
        assert_eq!(inspect(&over), alone(&over, Err(Defect::TooManyRows)));
        let most = batch(MAX_ROWS);
        assert_eq!(inspect(&most), alone(&most, Ok(MAX_ROWS)));
        assert_eq!(inspect(&[most, batch(1)].concat()), Err(Fault::Garbage));
    }

    #[test]
    fn more_batches_than_allowed_are_not_looked_at() {
        let many = batch(0).repeat(MAX_STREAM_BATCHES);
        assert!(matches!(inspect(&many), Ok(Content::Batches(parts)) if parts.len() == 64));
        assert_eq!(inspect(&[many, batch(0)].concat()), Err(Fault::Garbage));
    }

    #[test]
    fn other_messages_are_no_batch() {
        let live = Uplink {
            message: Some(uplink::Message::Live(Live::default())),
        }
        .encode_to_vec();
        assert_eq!(inspect(&live), Ok(Content::Other));
        assert_eq!(inspect(&[live, batch(0)].concat()), Err(Fault::Garbage));
        assert_eq!(inspect(b"\x07garbage"), Err(Fault::Garbage));
        assert_eq!(inspect(b""), Err(Fault::Truncated));
    }
}
