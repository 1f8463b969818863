//! Entries of a list as octets, for messages and files.
//!
//! IPv4: for each entry a varint, twice the distance from the address before (the first: from 0), odd
//! if an octet with the prefix's length follows; a million addresses take two octets each. IPv6: 16
//! octets and the length.

use std::vec::Vec;

use super::{
    Prefix,
    list::{Entry4, Entry6, entry4, entry6, parts6},
};

/// Appends IPv4 entries, which come in ascending order.
pub(super) fn encode4(entries: &[Entry4], out: &mut Vec<u8>) {
    let mut before = 0;
    for [a, b, c, d, length] in entries {
        let address = u32::from_be_bytes([*a, *b, *c, *d]);
        let is_prefix = *length != 32;
        varint(u64::from(address - before) << 1 | u64::from(is_prefix), out);
        if is_prefix {
            out.push(*length);
        }
        before = address;
    }
}

/// Appends IPv6 entries.
pub(super) fn encode6(entries: &[Entry6], out: &mut Vec<u8>) {
    out.extend_from_slice(entries.as_flattened());
}

/// Reads IPv4 entries; `None`: these are none, or not in ascending order.
pub(super) fn decode4(mut octets: &[u8], entries: &mut Vec<Entry4>) -> Option<()> {
    let mut before = 0_u64;
    let mut last = None;
    while !octets.is_empty() {
        let number = read_varint(&mut octets)?;
        let address = u32::try_from(before.checked_add(number >> 1)?).ok()?;
        let length = match number & 1 {
            0 => 32,
            _ => {
                let (length, rest) = octets.split_first()?;
                octets = rest;
                *length
            }
        };
        Prefix::new(address.to_be_bytes().into(), length).ok()?;
        let entry = entry4(address.to_be_bytes(), length);
        if last.is_some_and(|last| last >= entry) {
            return None;
        }
        last = Some(entry);
        entries.push(entry);
        before = address.into();
    }
    Some(())
}

/// The same of IPv6.
pub(super) fn decode6(octets: &[u8], entries: &mut Vec<Entry6>) -> Option<()> {
    let (all, rest) = octets.as_chunks::<17>();
    if !rest.is_empty() {
        return None;
    }
    let mut last = None;
    for entry in all {
        let (address, length) = parts6(entry);
        Prefix::new(address.into(), length).ok()?;
        if last.is_some_and(|last| last >= *entry) {
            return None;
        }
        last = Some(*entry);
        entries.push(entry6(address, length));
    }
    Some(())
}

fn varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Of at most five octets: enough for 33 bits.
fn read_varint(octets: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in [0, 7, 14, 21, 28] {
        let (octet, rest) = octets.split_first()?;
        *octets = rest;
        number |= u64::from(octet & 0x7f) << shift;
        if octet & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::List;

    fn list() -> List {
        let texts = [
            "0.0.0.0/0",
            "0.0.0.0",
            "10.0.0.0/8",
            "10.0.0.0/9",
            "10.0.0.1",
            "255.255.255.255",
            "::/0",
            "2001:db8::/32",
            "2001:db8::1",
        ];
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn entries_come_back_as_they_were() {
        let list = list();
        let (mut four, mut six) = (Vec::new(), Vec::new());
        encode4(list.v4(), &mut four);
        encode6(list.v6(), &mut six);
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        decode4(&four, &mut v4).unwrap();
        decode6(&six, &mut v6).unwrap();
        assert_eq!(List::of_sorted(v4, v6), list);
    }

    #[test]
    fn addresses_side_by_side_take_an_octet_each() {
        let entries: Vec<Entry4> = (0..100).map(|n| entry4([0, 0, 0, n], 32)).collect();
        let mut octets = Vec::new();
        encode4(&entries, &mut octets);
        assert_eq!(octets.len(), 100);
    }

    #[test]
    fn damaged_octets_give_nothing_or_entries_in_order() {
        let mut whole = Vec::new();
        encode4(list().v4(), &mut whole);
        for at in 0..whole.len() {
            for value in 0..=u8::MAX {
                let mut damaged = whole.clone();
                damaged[at] = value;
                let mut entries = Vec::new();
                if decode4(&damaged, &mut entries).is_some() {
                    assert!(entries.is_sorted());
                }
            }
            let mut entries = Vec::new();
            let _ = decode4(&whole[..at], &mut entries);
        }
        let mut entries = Vec::new();
        assert!(decode4(&[0xff; 9], &mut entries).is_none(), "no end");
        assert!(decode4(&[0xfe, 0xff, 0xff, 0xff, 0x7f], &mut entries).is_none());
        assert!(decode4(&[1, 33], &mut entries).is_none(), "33 bits");
        assert!(decode4(&[2, 0], &mut entries).is_none(), "the same twice");
        assert!(
            decode6(&[0; 16], &mut Vec::new()).is_none(),
            "half an entry"
        );
        assert!(decode6(&[1; 17], &mut Vec::new()).is_none(), "bits behind");
    }
}
