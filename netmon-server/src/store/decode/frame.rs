//! Reads a frame of bandwidth: the arrays of numbers here, since they are most of what agents send, and
//! everything else by the generated code, which also says what is wrong.

use netmon_common::wire::{BandwidthFrame, DirectionDeltas};
use prost::{
    DecodeError, Message,
    encoding::{DecodeContext, WireType, decode_key, decode_varint},
};

use super::delimited;

// Fields of a frame and of a direction's deltas that hold numbers, packed.
const INTERVALS: u32 = 4;
const INGRESS: u32 = 5;
const EGRESS: u32 = 6;
const PACKETS: u32 = 1;
const BYTES: u32 = 2;
const WIRE_PACKETS: u32 = 3;
const WIRE_BYTES: u32 = 4;

/// Adds what a message holds to a frame.
pub(super) fn merge(frame: &mut BandwidthFrame, mut body: &[u8]) -> Result<(), DecodeError> {
    while !body.is_empty() {
        let start = body;
        let (field, wire_type) = decode_key(&mut body)?;
        let part = match (field, wire_type) {
            (INTERVALS | INGRESS | EGRESS, WireType::LengthDelimited) => delimited(&mut body),
            _ => None,
        };
        match (field, part) {
            (INTERVALS, Some(part)) => {
                varints(part, |number| frame.interval_us.push(number as u32))?;
            }
            (INGRESS, Some(part)) => deltas(frame.ingress.get_or_insert_default(), part)?,
            (EGRESS, Some(part)) => deltas(frame.egress.get_or_insert_default(), part)?,
            _ => one(frame, start, &mut body)?,
        }
    }
    Ok(())
}

fn deltas(deltas: &mut DirectionDeltas, mut body: &[u8]) -> Result<(), DecodeError> {
    while !body.is_empty() {
        let start = body;
        let (field, wire_type) = decode_key(&mut body)?;
        let numbers = match field {
            PACKETS => &mut deltas.packets,
            BYTES => &mut deltas.bytes,
            WIRE_PACKETS => &mut deltas.wire_packets,
            WIRE_BYTES => &mut deltas.wire_bytes,
            _ => {
                one(deltas, start, &mut body)?;
                continue;
            }
        };
        let part = match wire_type {
            WireType::LengthDelimited => delimited(&mut body),
            _ => None,
        };
        match part {
            Some(part) => varints(part, |number| numbers.push(number))?,
            None => one(deltas, start, &mut body)?,
        }
    }
    Ok(())
}

/// Leaves the field at `start` to the generated code; `rest` is what follows it.
fn one<'a>(
    message: &mut impl Message,
    start: &'a [u8],
    rest: &mut &'a [u8],
) -> Result<(), DecodeError> {
    let mut after = start;
    let (field, wire_type) = decode_key(&mut after)?;
    message.merge_field(field, wire_type, &mut after, DecodeContext::default())?;
    *rest = after;
    Ok(())
}

/// Reads numbers until the end: eight octets at once where there are as many.
fn varints(mut octets: &[u8], mut take: impl FnMut(u64)) -> Result<(), DecodeError> {
    const CONTINUED: u64 = 0x8080_8080_8080_8080;
    while let [first, after @ ..] = octets {
        if *first < 0x80 {
            take(u64::from(*first));
            octets = after;
            continue;
        }
        let word = octets
            .first_chunk()
            .map_or(CONTINUED, |eight| u64::from_le_bytes(*eight));
        let last = (!word & CONTINUED).trailing_zeros();
        if last == u64::BITS {
            take(decode_varint(&mut octets)?);
            continue;
        }
        take(joined(word & (u64::MAX >> (u64::BITS - 1 - last))));
        octets = &octets[last as usize / 8 + 1..];
    }
    Ok(())
}

/// Seven bits of each octet, the first octet's lowest.
fn joined(word: u64) -> u64 {
    let word = word & 0x7f7f_7f7f_7f7f_7f7f;
    let word = (word & 0x007f_007f_007f_007f) | ((word & 0x7f00_7f00_7f00_7f00) >> 1);
    let word = (word & 0x0000_3fff_0000_3fff) | ((word & 0x3fff_0000_3fff_0000) >> 2);
    (word & 0x0fff_ffff) | ((word & 0x0fff_ffff_0000_0000) >> 4)
}

#[cfg(test)]
mod tests {
    use prost::encoding::encode_varint;

    use super::*;

    #[test]
    fn numbers_of_every_length_are_read_as_the_generated_code_does() {
        let numbers: Vec<u64> = (0..64)
            .flat_map(|bits| [(1 << bits) - 1, 1 << bits, 0x5555_5555_5555_5555 >> bits])
            .chain([u64::MAX])
            .collect();
        for count in [1, 2, 7, numbers.len()] {
            for numbers in numbers.windows(count) {
                let mut octets = Vec::new();
                numbers.iter().for_each(|n| encode_varint(*n, &mut octets));
                let mut read = Vec::new();
                varints(&octets, |number| read.push(number)).unwrap();
                assert_eq!(read, numbers);
                octets.pop();
                assert_eq!(
                    varints(&octets, |_| ()).is_ok(),
                    octets.is_empty() || octets[octets.len() - 1] < 0x80
                );
            }
        }
        assert!(varints(&[0xff; 10], |_| ()).is_err());
        assert!(varints(&[0x80; 7], |_| ()).is_err());
    }

    #[test]
    fn a_frame_is_what_the_generated_code_makes_of_it() {
        let frame = BandwidthFrame {
            interface: "eth0".to_owned(),
            started_at_unix_ns: 1,
            interval_us: vec![500_000, 1, 499_999],
            ingress: Some(DirectionDeltas {
                packets: vec![0, 127, 128],
                bytes: vec![u64::MAX, 1 << 35, 300],
                ..DirectionDeltas::default()
            }),
            egress: Some(DirectionDeltas::default()),
            flags: vec![1, 2, 4],
            attachment: 9,
            ..BandwidthFrame::default()
        };
        let mut octets = frame.encode_to_vec();
        let mut read = BandwidthFrame::default();
        merge(&mut read, &octets).unwrap();
        assert_eq!(read, frame);
        // Numbers one by one, not packed, are allowed as well.
        octets.extend([0x20, 7, 0x2a, 2, 0x08, 5]);
        let mut read = BandwidthFrame::default();
        merge(&mut read, &octets).unwrap();
        assert_eq!(read, BandwidthFrame::decode(octets.as_slice()).unwrap());
    }
}
