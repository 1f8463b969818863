//! The form of the embedded files: places for all addresses, without a gap, compressed.
//!
//! After a magic line follows a zlib stream of: description; places by their codes; a table for IPv4
//! and one for IPv6. A table is a number of ranges and their columns, each column on its own, since
//! like compresses with like: the length of each range as the number of its trailing zero bits, with
//! the highest bit set where the length is no power of two; for those the rest of the length; the
//! number of the place. Numbers of more than one octet are little-endian or, of lengths, in base 128.

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::IpAddr,
};

use flate2::{Compression, read::ZlibDecoder, write::ZlibEncoder};

use crate::{place::Place, ranges::Ranges};

const MAGIC: &[u8] = b"netmon-geo 1\n";

/// Most octets that a file unpacks to.
const MAX_UNPACKED: u64 = 256 << 20;

/// The highest bit of a length's first octet: the length is no power of two.
const MORE: u8 = 0x80;

/// Places of all addresses.
#[derive(Debug)]
pub struct RangeFile {
    description: String,
    places: Vec<Place>,
    v4: Ranges<u32>,
    v6: Ranges<u128>,
}

/// What is wrong with a file, or with what is to become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RangeFileError(&'static str);

const CUT: RangeFileError = RangeFileError("it is cut short");

impl RangeFile {
    /// Of ranges by their beginnings, ascending; before the first is the unknown place. Neighbours
    /// of the same place become one.
    ///
    /// # Errors
    /// When beginnings do not ascend, or there are more than 65,535 places.
    pub fn new(
        description: String,
        v4: impl IntoIterator<Item = (u32, Place)>,
        v6: impl IntoIterator<Item = (u128, Place)>,
    ) -> Result<Self, RangeFileError> {
        let (v4, v6) = (merged(v4)?, merged(v6)?);
        let places: BTreeSet<Place> = v4
            .iter()
            .map(|(_, place)| *place)
            .chain(v6.iter().map(|(_, place)| *place))
            .chain([Place::UNKNOWN])
            .collect();
        let places: Vec<Place> = places.into_iter().collect();
        if places.len() > usize::from(u16::MAX) {
            return Err(RangeFileError("it has more than 65,535 places"));
        }
        let number = |place| {
            let found = places.binary_search(&place);
            found.expect("gathered from these ranges") as u16
        };
        let v4 = v4.iter().map(|&(start, place)| (start, number(place)));
        let v6 = v6.iter().map(|&(start, place)| (start, number(place)));
        let (v4, v6) = (Ranges::new(v4.collect()), Ranges::new(v6.collect()));
        Ok(Self {
            description,
            places,
            v4,
            v6,
        })
    }

    /// Reads a file.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn from_bytes(file: &[u8]) -> Result<Self, RangeFileError> {
        let packed = file
            .strip_prefix(MAGIC)
            .ok_or(RangeFileError("it is no file of ranges"))?;
        let mut unpacked = Vec::new();
        ZlibDecoder::new(packed)
            .take(MAX_UNPACKED)
            .read_to_end(&mut unpacked)
            .map_err(|_| RangeFileError("it cannot be unpacked"))?;
        let mut octets = Octets(&unpacked);
        let length = octets.number(2)?;
        let description = octets.text(length)?.to_owned();
        let count = octets.number(2)?;
        let places = (0..count).map(|_| place(&mut octets));
        let places = places.collect::<Result<Vec<_>, _>>()?;
        let v4 = table(&mut octets, 32, places.len())?;
        let v4 = v4.into_iter().map(|(start, place)| (start as u32, place));
        let v4 = Ranges::new(v4.collect());
        let v6 = Ranges::new(table(&mut octets, 128, places.len())?);
        if !octets.0.is_empty() {
            return Err(RangeFileError("something follows its end"));
        }
        Ok(Self {
            description,
            places,
            v4,
            v6,
        })
    }

    /// The file's content.
    ///
    /// # Panics
    /// When the description is longer than 65,535 octets.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut plain = Vec::new();
        let length = u16::try_from(self.description.len()).expect("descriptions are short");
        plain.extend(length.to_le_bytes());
        plain.extend(self.description.bytes());
        plain.extend((self.places.len() as u16).to_le_bytes());
        for place in &self.places {
            let codes = [place.country(), place.province(), place.city()].join("/");
            plain.push(codes.len() as u8);
            plain.extend(codes.bytes());
        }
        let wide = self.places.len() > 256;
        let v4 = self.v4.iter();
        let v4: Vec<_> = v4
            .map(|(start, place)| (u128::from(start), place))
            .collect();
        put_table(&mut plain, &v4, 32, wide);
        let v6: Vec<_> = self.v6.iter().collect();
        put_table(&mut plain, &v6, 128, wide);
        let mut packed = ZlibEncoder::new(MAGIC.to_vec(), Compression::best());
        packed.write_all(&plain).expect("memory takes everything");
        packed.finish().expect("memory takes everything")
    }

    /// What the file is made from.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// Where an address is.
    pub fn locate(&self, address: IpAddr) -> Place {
        let number = match address {
            IpAddr::V4(address) => self.v4.place(address.into()),
            IpAddr::V6(address) => self.v6.place(address.into()),
        };
        self.places[usize::from(number)]
    }

    /// Its IPv4 ranges: beginnings and places.
    pub fn v4(&self) -> impl Iterator<Item = (u32, Place)> {
        let ranges = self.v4.iter();
        ranges.map(|(start, place)| (start, self.places[usize::from(place)]))
    }

    /// Its IPv6 ranges: beginnings and places.
    pub fn v6(&self) -> impl Iterator<Item = (u128, Place)> {
        let ranges = self.v6.iter();
        ranges.map(|(start, place)| (start, self.places[usize::from(place)]))
    }

    /// Octets in memory, about.
    pub fn memory_bytes(&self) -> usize {
        self.v4.memory_bytes() + self.v6.memory_bytes() + self.places.len() * size_of::<Place>()
    }
}

/// Ranges from the first address on, each of another place than the one before.
fn merged<A: Copy + Ord + Default>(
    ranges: impl IntoIterator<Item = (A, Place)>,
) -> Result<Vec<(A, Place)>, RangeFileError> {
    let mut merged = vec![(A::default(), Place::UNKNOWN)];
    let mut before = None;
    for (start, place) in ranges {
        if before.is_some_and(|before| start <= before) {
            return Err(RangeFileError("its ranges do not ascend"));
        }
        before = Some(start);
        if start == A::default() {
            merged[0].1 = place;
        } else if merged[merged.len() - 1].1 != place {
            merged.push((start, place));
        }
    }
    Ok(merged)
}

fn put_table(plain: &mut Vec<u8>, ranges: &[(u128, u16)], bits: u32, wide: bool) {
    plain.extend((ranges.len() as u32).to_le_bytes());
    let mut rests = Vec::new();
    for (index, (start, _)) in ranges.iter().enumerate() {
        // The end of the last one is 2^bits: for 128 bits the difference wraps to what it is,
        // but for a single range of all, whose length has no place in 128 bits.
        let end = match ranges.get(index + 1) {
            Some((next, _)) => *next,
            None if bits == 128 => 0,
            None => 1 << bits,
        };
        let length = end.wrapping_sub(*start);
        if length == 0 {
            plain.push(MORE | 127);
            rests.push(0);
            continue;
        }
        let zeros = length.trailing_zeros();
        let rest = length >> zeros >> 1;
        if rest == 0 {
            plain.push(zeros as u8);
        } else {
            plain.push(zeros as u8 | MORE);
            put_varint(&mut rests, rest);
        }
    }
    plain.extend(rests);
    plain.extend(ranges.iter().map(|(_, place)| *place as u8));
    if wide {
        plain.extend(ranges.iter().map(|(_, place)| (place >> 8) as u8));
    }
}

fn table(
    octets: &mut Octets<'_>,
    bits: u32,
    places: usize,
) -> Result<Vec<(u128, u16)>, RangeFileError> {
    const SUM: RangeFileError = RangeFileError("its ranges do not cover all addresses");
    let count = octets.number(4)?;
    let firsts = octets.take(count)?;
    let last_address = u128::MAX >> (128 - bits);
    let mut starts = Vec::with_capacity(count);
    let mut start = Some(0u128);
    for first in firsts {
        let begins = start.ok_or(SUM)?;
        starts.push(begins);
        let rest = match first & MORE {
            0 => 0,
            _ => octets.varint()?,
        };
        let zeros = u32::from(first & !MORE);
        let whole = first & MORE != 0 && zeros == 127 && rest == 0;
        // The last range ends with the last address; what follows that has no number.
        let odd = rest.checked_mul(2).and_then(|twice| twice.checked_add(1));
        let length = odd.and_then(|odd| odd.checked_mul(1u128.checked_shl(zeros)?));
        start = match length {
            _ if whole => None,
            None => return Err(SUM),
            Some(length) => match begins.checked_add(length - 1) {
                Some(end) if end == last_address => None,
                Some(end) if end < last_address => Some(end + 1),
                _ => return Err(SUM),
            },
        };
    }
    if start.is_some() {
        return Err(SUM);
    }
    let low = octets.take(count)?;
    let high = match places > 256 {
        true => octets.take(count)?,
        false => &[],
    };
    let mut ranges = Vec::with_capacity(count);
    for (index, start) in starts.into_iter().enumerate() {
        let high = high.get(index).copied().unwrap_or(0);
        let place = u16::from_le_bytes([low[index], high]);
        if usize::from(place) >= places {
            return Err(RangeFileError("it names a place that it does not have"));
        }
        ranges.push((start, place));
    }
    Ok(ranges)
}

fn place(octets: &mut Octets<'_>) -> Result<Place, RangeFileError> {
    const NO_PLACE: RangeFileError = RangeFileError("it has a place of unusable codes");
    let length = octets.number(1)?;
    let mut codes = octets.text(length)?.split('/');
    let mut code = || codes.next().ok_or(NO_PLACE);
    Place::new(code()?, code()?, code()?).map_err(|_| NO_PLACE)
}

fn put_varint(octets: &mut Vec<u8>, mut number: u128) {
    while number >= 0x80 {
        octets.push(number as u8 | 0x80);
        number >>= 7;
    }
    octets.push(number as u8);
}

/// What is not read yet.
struct Octets<'a>(&'a [u8]);

impl<'a> Octets<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], RangeFileError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(CUT)?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self, octets: usize) -> Result<usize, RangeFileError> {
        let taken = self.take(octets)?.iter().rev();
        Ok(taken.fold(0, |number, octet| number << 8 | usize::from(*octet)))
    }

    fn text(&mut self, length: usize) -> Result<&'a str, RangeFileError> {
        let text = std::str::from_utf8(self.take(length)?);
        text.map_err(|_| RangeFileError("it holds text that is not UTF-8"))
    }

    fn varint(&mut self) -> Result<u128, RangeFileError> {
        let mut number = 0u128;
        for shift in (0..126).step_by(7) {
            let octet = self.take(1)?[0];
            number |= u128::from(octet & 0x7f) << shift;
            if octet & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(RangeFileError("it holds a number that is too large"))
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

    use super::*;

    fn place(codes: &str) -> Place {
        let codes: Vec<_> = codes.split('/').collect();
        Place::new(codes[0], codes[1], codes[2]).unwrap()
    }

    fn example() -> RangeFile {
        let (nanjing, dutch) = (place("CN/CN-JS/320100"), place("NL//"));
        let v4 = [
            (0x0100_0000, nanjing),
            (0x0100_0003, dutch),
            (0x0100_0100, dutch),
            (0xffff_ffff, nanjing),
        ];
        let v6 = [
            (1 << 125, dutch),
            ((1 << 125) + 5, Place::UNKNOWN),
            (u128::MAX, nanjing),
        ];
        RangeFile::new("an example".to_owned(), v4, v6).unwrap()
    }

    #[test]
    fn what_is_written_is_read_again() {
        let file = example();
        let read = RangeFile::from_bytes(&file.to_bytes()).unwrap();
        assert_eq!(read.description(), "an example");
        assert!(read.v4().eq(file.v4()));
        assert!(read.v6().eq(file.v6()));
        assert_eq!(
            read.v4().count(),
            4,
            "neighbours of one place are one range"
        );
        for (address, expected) in [
            ("0.0.0.0", Place::UNKNOWN),
            ("1.0.0.2", place("CN/CN-JS/320100")),
            ("1.0.0.3", place("NL//")),
            ("255.255.255.254", place("NL//")),
            ("255.255.255.255", place("CN/CN-JS/320100")),
            ("2000::4", place("NL//")),
            ("2000::5", Place::UNKNOWN),
            (
                "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
                place("CN/CN-JS/320100"),
            ),
        ] {
            assert_eq!(read.locate(address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn a_file_may_know_nothing_or_more_than_256_places() {
        let nothing = RangeFile::new(String::new(), [], []).unwrap();
        let nothing = RangeFile::from_bytes(&nothing.to_bytes()).unwrap();
        assert_eq!(nothing.v4().count() + nothing.v6().count(), 2);

        let many = (0..1000u32).map(|n| {
            let city = format!("{n:06}");
            (n * 7, Place::new("CN", "CN-JS", &city).unwrap())
        });
        let many: Vec<_> = many.collect();
        let file = RangeFile::new(String::new(), many.clone(), []).unwrap();
        let file = RangeFile::from_bytes(&file.to_bytes()).unwrap();
        assert!(file.v4().eq(many));
    }

    #[test]
    fn beginnings_that_do_not_ascend_are_refused() {
        let (one, other) = (place("NL//"), place("DE//"));
        let error = RangeFile::new(String::new(), [(5, one), (5, other)], []).unwrap_err();
        assert_eq!(error.to_string(), "its ranges do not ascend");
    }

    #[test]
    fn damage_is_an_error_and_never_a_panic() {
        let file = example().to_bytes();
        for length in 0..file.len() {
            assert!(RangeFile::from_bytes(&file[..length]).is_err(), "{length}");
        }
        // Behind the check sum: damage to what is packed.
        let mut plain = Vec::new();
        let packed = &file[MAGIC.len()..];
        ZlibDecoder::new(packed).read_to_end(&mut plain).unwrap();
        let mut random = StdRng::seed_from_u64(8);
        for _ in 0..2_000 {
            let mut damaged = plain.clone();
            for _ in 0..random.random_range(1..4) {
                let at = random.random_range(0..damaged.len());
                damaged[at] = random.random();
            }
            let mut packed = ZlibEncoder::new(MAGIC.to_vec(), Compression::fast());
            packed.write_all(&damaged).unwrap();
            if let Ok(file) = RangeFile::from_bytes(&packed.finish().unwrap()) {
                file.locate("1.0.0.2".parse().unwrap());
                file.locate("2000::4".parse().unwrap());
            }
        }
    }
}
