//! Looks at a message before it is decoded.
//!
//! Two octets on the wire can become hundreds in memory (an empty exchange), so repeated messages
//! are counted first. And a message that ends early must be told from one that is wrong: the first
//! may come again whole and must leave no verdict, the second never gets better.

use netmon_common::wire::{Kind, MAX_UPLINK_BYTES};
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

/// Repeated messages in one [`netmon_common::wire::Uplink`], of all kinds together. A batch of the
/// size allowed holds fewer if they carry anything.
const MAX_ROWS: usize = MAX_UPLINK_BYTES / 64;

/// The batch a message carries, as far as could be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct BatchKey {
    pub(super) epoch: u64,
    pub(super) sequence: u64,
    /// As it stands on the wire: 0 and 1 to 4 mean something.
    pub(super) kind: u64,
}

/// Why a message is not worth decoding.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It ends before it should.
    Truncated,
    /// It is no message, or none this server knows.
    Garbage,
    /// It is a batch for certain, and wrong inside.
    Malformed(BatchKey),
    /// More rows than a batch may hold.
    TooManyRows(BatchKey),
}

const BATCH: u32 = 1;
const LIVE: u32 = 2;
const BATCH_ROWS: &[u32] = &[5, 6, 7, 9, 10, 11, 12];
const LIVE_ROWS: &[u32] = &[2, 5];

/// Checks the outer shape of a whole `Uplink` message. Gives the key of the batch in it and how
/// many rows it has, `None` for anything else that may be decoded.
pub(super) fn inspect(message: &[u8]) -> Result<Option<(BatchKey, usize)>, Fault> {
    if message.is_empty() {
        return Err(Fault::Truncated);
    }
    let mut rest = message;
    let mut key = None;
    let mut rows = 0;
    while !rest.is_empty() {
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
        match field {
            BATCH => {
                let mut batch = key.unwrap_or_default();
                let whole = walk(body, BATCH_ROWS, &mut rows, &mut batch);
                key = Some(batch);
                if !whole {
                    return Err(known_or_garbage(batch, Fault::Malformed(batch)));
                }
            }
            LIVE if !walk(body, LIVE_ROWS, &mut rows, &mut BatchKey::default()) => {
                return Err(Fault::Garbage);
            }
            _ => {}
        }
    }
    match key {
        Some(batch) if rows > MAX_ROWS => Err(known_or_garbage(batch, Fault::TooManyRows(batch))),
        None if rows > MAX_ROWS => Err(Fault::Garbage),
        key => Ok(key.map(|key| (key, rows))),
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

/// A verdict needs the key it is for.
fn known_or_garbage(batch: BatchKey, fault: Fault) -> Fault {
    if batch.is_complete() {
        fault
    } else {
        Fault::Garbage
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
    use netmon_common::wire::{Batch, Live, NtpExchange, Uplink, uplink};
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

    #[test]
    fn a_batch_is_known_before_it_is_decoded() {
        assert_eq!(inspect(&batch(3)), Ok(Some((KEY, 3))));
        assert_eq!(key_of_start(&batch(1000)[..20]), Some(KEY));
        assert_eq!(key_of_start(&batch(1000)[..4]), None);
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
        assert_eq!(inspect(&bytes), Err(Fault::Malformed(KEY)));
    }

    #[test]
    fn more_rows_than_allowed_are_counted_before_they_take_memory() {
        assert_eq!(inspect(&batch(MAX_ROWS + 1)), Err(Fault::TooManyRows(KEY)));
        assert_eq!(inspect(&batch(MAX_ROWS)), Ok(Some((KEY, MAX_ROWS))));
    }

    #[test]
    fn other_messages_are_no_batch() {
        let live = Uplink {
            message: Some(uplink::Message::Live(Live::default())),
        };
        assert_eq!(inspect(&live.encode_to_vec()), Ok(None));
        assert_eq!(inspect(b"\x07garbage"), Err(Fault::Garbage));
        assert_eq!(inspect(b""), Err(Fault::Truncated));
    }
}
