//! ip2region.db, the file of ip2region 1: provinces and cities of Chinese IPv4 addresses.
//!
//! Two offsets at its beginning say where its index begins and where its last entry stands. An entry
//! is twelve octets: first and last address, offset of its text in 24 bits, length of that in 8. Before
//! the text stand four octets that are skipped. Numbers are little-endian.

use std::collections::{BTreeSet, HashMap};

use anyhow::{Context as _, Result, bail, ensure};
use netmon_geo::{Place, china, range_file::RangeFile};

use super::packages::Package;

const ENTRY: usize = 12;
const CHINA: &str = "中国";
const NOT_KNOWN: &str = "0";

/// Its places in China, and the names that it has for them: province and city, line by line.
pub fn convert(package: &Package, file: &[u8]) -> Result<(RangeFile, String)> {
    let first = number(file, 0)? as usize;
    let last = number(file, 4)? as usize;
    let entries = file
        .get(first..last + ENTRY)
        .context("its index is cut short")?;
    ensure!(entries.len() % ENTRY == 0, "its index is not where it says");
    let made = made(file).context("it does not say when it was made")?;
    let description = format!(
        "{} {} of npm: ip2region data of {made}",
        package.name, package.version
    );
    let mut names = BTreeSet::new();
    let mut known = HashMap::new();
    let mut ranges = Vec::new();
    let mut next = Some(0u32);
    for entry in entries.chunks_exact(ENTRY) {
        let (from, to, text) = (number(entry, 0)?, number(entry, 4)?, number(entry, 8)?);
        ensure!(
            next == Some(from) && from <= to,
            "its ranges do not follow each other"
        );
        next = to.checked_add(1);
        let place = match known.get(&text) {
            Some(place) => *place,
            None => {
                let place = place(region(file, text)?, &mut names)?;
                known.insert(text, place);
                place
            }
        };
        ranges.push((from, place));
    }
    ensure!(next.is_none(), "its ranges do not cover all addresses");
    let names = names
        .iter()
        .map(|(province, city)| format!("{province}\t{city}\n"));
    Ok((RangeFile::new(description, ranges, [])?, names.collect()))
}

fn number(octets: &[u8], at: usize) -> Result<u32> {
    let octets = octets.get(at..at + 4).context("it is cut short")?;
    Ok(octets
        .iter()
        .rev()
        .fold(0, |sum, octet| sum << 8 | u32::from(*octet)))
}

fn region(file: &[u8], text: u32) -> Result<&str> {
    let (offset, length) = ((text & 0x00ff_ffff) as usize, (text >> 24) as usize);
    let text = file.get(offset + 4..offset + length);
    Ok(std::str::from_utf8(text.context("a text is cut short")?)?)
}

/// `country|area|province|city|provider`. Every name must have a code, or the file would silently
/// know less than its source.
fn place(region: &str, names: &mut BTreeSet<(String, String)>) -> Result<Place> {
    let fields: Vec<_> = region.split('|').collect();
    let [country, _, province, city, _] = fields[..] else {
        bail!("the region {region:?} has not five fields");
    };
    if country != CHINA || province == NOT_KNOWN {
        return Ok(Place::UNKNOWN);
    }
    names.insert((province.to_owned(), city.to_owned()));
    let code = china::province(province);
    let code = code.with_context(|| format!("the province {province:?} has no code"))?;
    if china::is_deliberately_unknown(code) {
        return Ok(Place::UNKNOWN);
    }
    let city = match city {
        NOT_KNOWN => "",
        city => china::city(code, city)
            .with_context(|| format!("the city {city:?} of {province} has no code"))?,
    };
    Ok(Place::new("CN", code, city)?)
}

/// The date in the line at the file's end: `Created by lionsoul at 2021/10/25`.
fn made(file: &[u8]) -> Option<String> {
    let end = String::from_utf8_lossy(&file[file.len().saturating_sub(64)..]).into_owned();
    let (_, date) = end.rsplit_once(" at ")?;
    let date = date.trim_end_matches(|c: char| !c.is_ascii_digit());
    let is_date = date.len() == 10 && date.bytes().all(|b| b.is_ascii_digit() || b == b'/');
    is_date.then(|| date.replace('/', "-"))
}

#[cfg(test)]
mod tests {
    use super::{super::packages::IP2REGION, *};

    fn file(ranges: &[(u32, u32, &str)]) -> Vec<u8> {
        let mut file = vec![0; 8];
        let mut index = Vec::new();
        for (from, to, region) in ranges {
            let length = region.len() as u32 + 4;
            let text = file.len() as u32 | length << 24;
            file.extend([0; 4]);
            file.extend(region.bytes());
            index.extend([*from, *to, text].into_iter().flat_map(u32::to_le_bytes));
        }
        let first = file.len() as u32;
        file.extend(&index);
        let last = file.len() as u32 - ENTRY as u32;
        file[..4].copy_from_slice(&first.to_le_bytes());
        file[4..8].copy_from_slice(&last.to_le_bytes());
        file.extend(b"Created by somebody at 2021/10/25");
        file
    }

    #[test]
    fn places_in_china_get_codes_and_others_are_unknown() {
        let file = file(&[
            (0, 99, "0|0|0|内网IP|内网IP"),
            (100, 199, "中国|0|江苏省|南京市|电信"),
            (200, 299, "中国|0|江苏省|南京市|移动"),
            (300, 399, "中国|0|青海省|海南|电信"),
            (400, 499, "中国|0|海南省|0|电信"),
            (500, 599, "中国|0|香港|沙田|0"),
            (600, u32::MAX, "澳大利亚|0|0|0|0"),
        ]);
        let (places, names) = convert(&IP2REGION, &file).unwrap();
        let found: Vec<_> = places
            .v4()
            .map(|(at, place)| (at, place.to_string()))
            .collect();
        let expected = [
            (0, "unknown"),
            (100, "CN CN-JS 320100"),
            (300, "CN CN-QH 632500"),
            (400, "CN CN-HI"),
            (500, "unknown"),
        ];
        assert_eq!(found, expected.map(|(at, place)| (at, place.to_owned())));
        assert!(
            names.contains("江苏省\t南京市\n") && names.contains("香港\t沙田\n"),
            "{names}"
        );
        assert!(
            places.description().ends_with("2021-10-25"),
            "{}",
            places.description()
        );
    }

    #[test]
    fn a_name_without_a_code_is_an_error() {
        for (region, says) in [
            (
                "中国|0|江苏省|亚特兰蒂斯|0",
                "the city \"亚特兰蒂斯\" of 江苏省 has no code",
            ),
            (
                "中国|0|亚特兰蒂斯|0|0",
                "the province \"亚特兰蒂斯\" has no code",
            ),
            ("中国|江苏省", "has not five fields"),
        ] {
            let error = convert(&IP2REGION, &file(&[(0, u32::MAX, region)])).unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
        }
        let gap = file(&[(0, 5, "0|0|0|0|0"), (7, u32::MAX, "0|0|0|0|0")]);
        assert!(convert(&IP2REGION, &gap).is_err());
    }
}
