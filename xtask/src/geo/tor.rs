//! The text files of tor-geoipdb: first address, last address, country.

use std::net::Ipv6Addr;

use anyhow::{Context as _, Result};
use netmon_geo::{Place, names, range_file::RangeFile};

use super::packages::Package;

/// Both files as ranges of countries. Codes that are no country of ISO 3166-1 (`??`, `AP`, `EU` and
/// such) are unknown, `UK` is `GB`.
pub fn convert(package: &Package, v4: &str, v6: &str) -> Result<RangeFile> {
    let made = made(v4).context("the IPv4 file does not say when it was made")?;
    let description = format!(
        "{} {}: IPFire Location Database of {made}",
        package.name, package.version
    );
    let v4 = ranges(v4, |text| Some(u128::from(text.parse::<u32>().ok()?)))?;
    let v6 = ranges(v6, |text| Some(text.parse::<Ipv6Addr>().ok()?.into()))?;
    // A gap behind the last address has no beginning in 32 bits.
    let v4 = v4.into_iter();
    let v4 = v4.filter_map(|(start, place)| Some((u32::try_from(start).ok()?, place)));
    Ok(RangeFile::new(description, v4, v6)?)
}

/// The date in a line like `# Generated: Thu, 25 Jun 2026 04:33:59 GMT`.
fn made(file: &str) -> Option<String> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let line = file
        .lines()
        .find_map(|line| line.strip_prefix("# Generated:"))?;
    let mut words = line.split_whitespace().skip(1);
    let day: u8 = words.next()?.parse().ok()?;
    let month = words.next()?;
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    let year: u16 = words.next()?.parse().ok()?;
    Some(format!("{year}-{month:02}-{day:02}"))
}

/// Ranges with the gaps between them, as beginnings.
fn ranges(file: &str, address: impl Fn(&str) -> Option<u128>) -> Result<Vec<(u128, Place)>> {
    let mut ranges = Vec::new();
    let mut next = 0;
    for line in file.lines() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let range = || {
            let mut columns = line.split(',');
            let (from, to) = (address(columns.next()?)?, address(columns.next()?)?);
            let place = place(columns.next()?);
            (columns.next().is_none() && next <= from && from <= to).then_some((from, to, place))
        };
        let (from, to, place) =
            range().with_context(|| format!("the line {line:?} is not understood"))?;
        if next < from {
            ranges.push((next, Place::UNKNOWN));
        }
        ranges.push((from, place));
        next = to.saturating_add(1);
    }
    ranges.push((next, Place::UNKNOWN));
    Ok(ranges)
}

fn place(code: &str) -> Place {
    let code = match code {
        "UK" => "GB",
        code if names::country(code).is_some() => code,
        _ => "",
    };
    Place::new(code, "", "").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{super::packages::TOR, *};

    const V4: &str = "# Generated: Thu, 25 Jun 2026 04:33:59 GMT\n\
        16777216,16777471,AU\n16777472,16778239,CN\n16778240,16779263,??\n33554432,4294967295,UK\n";
    const V6: &str = "# x\n2001:200::,2001:200:ffff:ffff:ffff:ffff:ffff:ffff,JP\n";

    #[test]
    fn lines_become_ranges_and_gaps_are_unknown() {
        let file = convert(&TOR, V4, V6).unwrap();
        assert!(
            file.description().ends_with("of 2026-06-25"),
            "{}",
            file.description()
        );
        for (address, country) in [
            ("0.0.0.0", "unknown"),
            ("1.0.0.0", "AU"),
            ("1.0.1.0", "CN"),
            ("1.0.4.0", "unknown"),
            ("1.0.8.0", "unknown"),
            ("255.255.255.255", "GB"),
            ("2001:200::1", "JP"),
            ("2001:201::", "unknown"),
        ] {
            let place = file.locate(address.parse().unwrap());
            assert_eq!(place.to_string(), country, "{address}");
        }
    }

    #[test]
    fn a_line_that_is_not_understood_is_named() {
        for line in ["1,2", "2,1,CN", "1,2,CN,x", "a,b,CN", "1,4294967296,CN"] {
            let text = format!("# Generated: Thu, 25 Jun 2026 x\n{line}\n");
            let error = convert(&TOR, &text, "").unwrap_err().to_string();
            assert!(error.contains(line), "{error}");
        }
        let overlap = "# Generated: Thu, 25 Jun 2026 x\n1,5,CN\n5,6,CN\n";
        assert!(convert(&TOR, overlap, "").is_err());
    }
}
