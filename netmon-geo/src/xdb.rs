//! ip2region's xdb: structure 2 (IPv4) and 3 (IPv4 or IPv6).
//!
//! A header of 256 octets, an index of 512 KiB that is not needed here, the texts of the regions, and
//! segments in order: first and last address, length and offset of the region's text. Numbers are
//! little-endian, IPv4 addresses too, IPv6 addresses are not.

use std::{collections::HashMap, net::IpAddr};

use time::OffsetDateTime;

use crate::{china, names, place::Place, range_file::RangeFile, special::separate};

const HEADER: usize = 256;
const SEGMENTS_FROM: usize = HEADER + 256 * 256 * 8;

/// A file, read into ranges.
#[derive(Debug)]
pub(crate) struct Xdb {
    ranges: RangeFile,
    version: String,
    is_v6: bool,
}

const CUT: &str = "it is cut short";

impl Xdb {
    /// Whether octets look like such a file.
    pub fn recognises(file: &[u8]) -> bool {
        let header = (number(file, 0, 2), number(file, 2, 2));
        matches!(header, (Some(2 | 3), Some(1 | 2)))
    }

    /// Reads a file: every segment.
    pub fn new(file: Vec<u8>) -> Result<Self, String> {
        let field = |at, octets| number(&file, at, octets).ok_or(CUT);
        let is_v6 = match (field(0, 2)?, field(16, 2)?) {
            (2, _) | (3, 4) => false,
            (3, 6) => true,
            (_, other) => return Err(format!("it is for IP version {other}")),
        };
        let width = if is_v6 { 16 } else { 4 };
        let size = 2 * width + 6;
        let (first, last) = (field(8, 4)? as usize, field(12, 4)? as usize);
        // The second points at the last segment, not behind it.
        let end = last.checked_add(size).ok_or(CUT)?;
        let segments = file.get(first..end).ok_or(CUT)?;
        if first < SEGMENTS_FROM || segments.len() % size != 0 {
            return Err("it is damaged: its segments are not where its header says".to_owned());
        }
        let mut places = HashMap::new();
        let mut starts: Vec<(u128, Place)> = Vec::with_capacity(segments.len() / size);
        let mut next = Some(0u128);
        for segment in segments.chunks_exact(size) {
            let (from, rest) = segment.split_at(width);
            let (to, rest) = rest.split_at(width);
            let (from, to) = (address(from), address(to));
            if next.is_none_or(|next| from < next) || to < from {
                return Err("it is damaged: its segments are not in order".to_owned());
            }
            if next != Some(from) {
                starts.extend(next.map(|gap| (gap, Place::UNKNOWN)));
            }
            let text = (
                number(rest, 2, 4).ok_or(CUT)?,
                number(rest, 0, 2).ok_or(CUT)?,
            );
            let place = match places.get(&text) {
                Some(place) => *place,
                None => {
                    let (offset, length) = (text.0 as usize, text.1 as usize);
                    let region = file.get(offset..offset + length).ok_or(CUT)?;
                    let region = std::str::from_utf8(region)
                        .map_err(|_| "it is damaged: a region is not UTF-8")?;
                    let place = place_of(region);
                    places.insert(text, place);
                    place
                }
            };
            starts.push((from, place));
            next = to.checked_add(1).filter(|_| to != last_address(is_v6));
        }
        starts.extend(next.map(|gap| (gap, Place::UNKNOWN)));
        if places.values().all(Place::is_unknown) {
            return Err("it knows no country".to_owned());
        }
        let ranges = if is_v6 {
            RangeFile::new(String::new(), [], starts)
        } else {
            let starts = starts.iter().map(|&(start, place)| (start as u32, place));
            RangeFile::new(String::new(), starts, [])
        };
        let made = OffsetDateTime::from_unix_timestamp(field(4, 4)?.into());
        let made = made.map_or(String::new(), |made| format!(" of {}", made.date()));
        let family = if is_v6 { "IPv6" } else { "IPv4" };
        Ok(Self {
            ranges: ranges.map_err(|error| error.to_string())?,
            version: format!("xdb for {family}{made}"),
            is_v6,
        })
    }

    /// Which addresses, and its date.
    pub fn version(&self) -> String {
        self.version.clone()
    }

    /// Octets in memory, about.
    pub fn memory_bytes(&self) -> usize {
        self.ranges.memory_bytes()
    }

    /// Where an address is.
    pub fn locate(&self, address: IpAddr) -> Place {
        match address.is_ipv6() == self.is_v6 {
            true => self.ranges.locate(address),
            false => Place::UNKNOWN,
        }
    }
}

/// `country|province|city|provider|code`, or the older `country|area|province|city|provider`. What
/// is not known is `0`.
fn place_of(region: &str) -> Place {
    let fields: Vec<_> = region.split('|').collect();
    let is_code =
        |text: &str| text.len() == 2 && text.bytes().all(|octet| octet.is_ascii_uppercase());
    let (country, code, province, city) = match fields[..] {
        [country, province, city, _, code] if is_code(code) => (country, code, province, city),
        [country, _, province, city, _] => (country, "", province, city),
        [country, province, city, _] => (country, "", province, city),
        _ => return Place::UNKNOWN,
    };
    let code = match code {
        "UK" => "GB",
        code => code,
    };
    let country = match names::country(code) {
        Some(_) => code,
        None => china::country(country).unwrap_or_default(),
    };
    if country != "CN" {
        return Place::of_country(country);
    }
    let province = china::province(province).unwrap_or_default();
    let city = china::city(province, city).unwrap_or_default();
    let place = Place::new("CN", province, city);
    place.map_or(Place::of_country("CN"), separate)
}

fn last_address(is_v6: bool) -> u128 {
    match is_v6 {
        true => u128::MAX,
        false => u128::from(u32::MAX),
    }
}

/// An address: four octets backwards, or sixteen forwards.
fn address(octets: &[u8]) -> u128 {
    let add = |sum: u128, octet: &u8| sum << 8 | u128::from(*octet);
    match octets.len() {
        4 => octets.iter().rev().fold(0, add),
        _ => octets.iter().fold(0, add),
    }
}

/// A little-endian number.
fn number(octets: &[u8], at: usize, count: usize) -> Option<u32> {
    let octets = octets.get(at..at + count)?.iter().rev();
    Some(octets.fold(0, |sum, octet| sum << 8 | u32::from(*octet)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_of_every_age_are_understood() {
        for (region, expected) in [
            ("中国|0|江苏省|南京市|电信", "CN CN-JS 320100"),
            ("中国|江苏省|南京市|电信|CN", "CN CN-JS 320100"),
            ("中国|江苏省|南京市|电信", "CN CN-JS 320100"),
            ("中国|0|江苏省|0|0", "CN CN-JS"),
            ("中国|0|0|0|0", "CN"),
            ("中国|0|香港|0|电讯盈科", "HK"),
            ("中国|0|台湾省|台北|中华电信", "TW"),
            ("United States|California|San Jose|xTom|US", "US"),
            ("美国|0|加利福尼亚|圣何塞|0", "US"),
            ("英国|0|0|0|0", "GB"),
            ("somewhere|0|0|0|UK", "GB"),
            ("0|0|0|内网IP|内网IP", "unknown"),
            ("Reserved|Reserved|Reserved|0|0", "unknown"),
            ("", "unknown"),
        ] {
            assert_eq!(place_of(region).to_string(), expected, "{region}");
        }
    }
}
