//! What people call places, in English and Chinese.
//!
//! Countries are those of ISO 3166-1 and `XK`, which ISO leaves to its users and several files use for
//! Kosovo. Of provinces only China's have names here, of cities only China's prefecture-level ones
//! and those directly under a province.

use std::{collections::HashMap, sync::OnceLock};

/// The names of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Names {
    /// In English, as usually written: `Inner Mongolia`, `Ürümqi`.
    pub en: &'static str,
    /// In Chinese, short: `内蒙古`, `乌鲁木齐`.
    pub zh: &'static str,
    /// In Chinese, in full: `内蒙古自治区`, `乌鲁木齐市`; of a country the same as the short one.
    pub zh_full: &'static str,
}

/// A country's, by its ISO 3166-1 code.
pub fn country(code: &str) -> Option<Names> {
    Tables::shared().countries.get(code).copied()
}

/// A Chinese province's, by its ISO 3166-2 code.
pub fn province(code: &str) -> Option<Names> {
    Tables::shared().provinces.get(code).copied()
}

/// A Chinese city's, by its GB/T 2260 code.
pub fn city(code: &str) -> Option<Names> {
    Tables::shared().cities.get(code).copied()
}

/// All countries, by code.
pub fn countries() -> impl Iterator<Item = (&'static str, Names)> {
    rows(COUNTRIES).map(|[code, en, zh]| (code, names(en, zh, zh)))
}

/// All provinces of China, in the order of GB/T 2260.
pub fn provinces() -> impl Iterator<Item = (&'static str, Names)> {
    rows(PROVINCES).map(|[_, code, en, zh, full]| (code, names(en, zh, full)))
}

/// All cities of China, in the order of GB/T 2260.
pub fn cities() -> impl Iterator<Item = (&'static str, Names)> {
    rows(CITIES).map(|[code, en, zh, full]| (code, names(en, zh, full)))
}

/// The code of the province that a Chinese city belongs to, both by their codes.
pub fn province_of_city(code: &str) -> Option<&'static str> {
    province_by_digits(code.get(..2)?)
}

/// The code of a province by its first two digits in GB/T 2260.
pub(crate) fn province_by_digits(digits: &str) -> Option<&'static str> {
    rows(PROVINCES).find_map(|[first, code, ..]: [_; 5]| (first == digits).then_some(code))
}

const COUNTRIES: &str = include_str!("names/countries.tsv");
const PROVINCES: &str = include_str!("names/provinces.tsv");
const CITIES: &str = include_str!("names/cities.tsv");

struct Tables {
    countries: HashMap<&'static str, Names>,
    provinces: HashMap<&'static str, Names>,
    cities: HashMap<&'static str, Names>,
}

impl Tables {
    fn shared() -> &'static Self {
        static SHARED: OnceLock<Tables> = OnceLock::new();
        SHARED.get_or_init(|| Self {
            countries: countries().collect(),
            provinces: provinces().collect(),
            cities: cities().collect(),
        })
    }
}

fn names(en: &'static str, zh: &'static str, zh_full: &'static str) -> Names {
    Names { en, zh, zh_full }
}

/// The rows of a table: columns between tabulators, comments behind #.
pub(crate) fn rows<const N: usize>(table: &'static str) -> impl Iterator<Item = [&'static str; N]> {
    let lines = table.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| {
        let mut columns = line.split('\t');
        let row = std::array::from_fn(|_| columns.next().unwrap_or_default());
        debug_assert!(
            columns.next().is_none() && !row[N - 1].is_empty(),
            "{line:?}"
        );
        row
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Place;

    #[test]
    fn names_are_as_usually_written() {
        let found = [
            country("NL"),
            country("HK"),
            province("CN-NM"),
            city("650100"),
            city("320100"),
            city("532900"),
        ];
        let found = found.map(|names| names.map(|n| (n.en, n.zh, n.zh_full)).unwrap());
        assert_eq!(
            found,
            [
                ("Netherlands", "荷兰", "荷兰"),
                ("Hong Kong", "香港", "香港"),
                ("Inner Mongolia", "内蒙古", "内蒙古自治区"),
                ("Ürümqi", "乌鲁木齐", "乌鲁木齐市"),
                ("Nanjing", "南京", "南京市"),
                ("Dali", "大理", "大理白族自治州"),
            ]
        );
        assert_eq!(country("UK"), None);
        assert_eq!(province("NL-NH"), None);
        assert_eq!(city("320500000"), None);
    }

    #[test]
    fn every_code_stands_once_and_makes_a_place() {
        assert_eq!(countries().count(), 250);
        assert_eq!(provinces().count(), 34);
        assert_eq!(Tables::shared().countries.len(), 250);
        assert_eq!(Tables::shared().provinces.len(), 34);
        assert_eq!(Tables::shared().cities.len(), cities().count());
        for (code, names) in countries() {
            assert_eq!(Place::new(code, "", "").unwrap().country(), code);
            assert!(!names.en.is_empty() && !names.zh.is_empty(), "{code}");
        }
        for (code, names) in cities() {
            let province = province_of_city(code).unwrap();
            Place::new("CN", province, code).unwrap();
            assert!(names.zh_full.starts_with(names.zh), "{code}");
            assert!(code.len() == 6 && code.is_ascii(), "{code}");
        }
    }
}
