//! Whether addresses are found where they are known to be.

use std::net::IpAddr;

use netmon_geo::Atlas;

use super::report::{Failure, Finding};
use crate::config::Config;

/// Addresses that everybody knows: country, province and city by code; empty: whatever it says.
pub(super) const KNOWN: [(&str, &str, &str, &str); 7] = [
    ("114.114.114.114", "CN", "CN-JS", "320100"),
    ("223.5.5.5", "CN", "CN-ZJ", "330100"),
    ("202.96.209.5", "CN", "CN-SH", ""),
    ("61.135.169.121", "CN", "CN-BJ", ""),
    ("183.60.83.19", "CN", "CN-GD", "440100"),
    ("52.166.36.133", "NL", "", ""),
    ("2400:3200::1", "CN", "", ""),
];

/// The files in the program know them all.
pub(super) fn embedded() -> Result<Finding, Failure> {
    let atlas = Atlas::embedded();
    let wrong = elsewhere(&atlas, true);
    match wrong.is_empty() {
        true => Ok(Finding::new(format!("{} look-ups", KNOWN.len()))),
        false => Err(Failure::new(
            wrong.join(", "),
            "the program is damaged: install it again",
        )),
    }
}

/// The files of the configuration open, and agree on the countries.
pub(super) fn configured(config: &Config) -> Result<Finding, Failure> {
    let atlas = Atlas::open(&config.geo)
        .map_err(|error| Failure::new(error, "correct geo.sources, or put the file there"))?;
    let wrong = elsewhere(&atlas, false);
    match wrong.is_empty() {
        true => Ok(Finding::new(&atlas.edition().description)),
        false => Err(Failure::new(
            wrong.join(", "),
            "put a newer file into geo.sources, or another one first",
        )),
    }
}

fn elsewhere(atlas: &Atlas, exactly: bool) -> Vec<String> {
    let mut wrong = Vec::new();
    for (address, country, province, city) in KNOWN {
        let parsed: IpAddr = address.parse().expect("a constant address");
        let place = atlas.locate(parsed);
        let fits = |expected: &str, found: &str| expected.is_empty() || expected == found;
        let holds = fits(country, place.country())
            && (!exactly || fits(province, place.province()) && fits(city, place.city()));
        if !holds {
            wrong.push(format!(
                "{address} is said to be in {:?} {:?} {:?}",
                place.country(),
                place.province(),
                place.city()
            ));
        }
    }
    wrong
}
