//! Codes for names in Chinese and English, as files of addresses write them.

use std::{collections::HashMap, sync::OnceLock};

use crate::names::{self, rows};

/// A country's ISO 3166-1 code by its Chinese or English name.
pub fn country(name: &str) -> Option<&'static str> {
    Codes::shared().countries.get(name).copied()
}

/// A Chinese province's ISO 3166-2 code by its name: `广东省`, `广东` or `Guangdong`.
pub fn province(name: &str) -> Option<&'static str> {
    Codes::shared().provinces.get(name).copied()
}

/// A Chinese city's GB/T 2260 code by its province's code and its name: `南京市`, `南京` or `Nanjing`.
pub fn city(province: &str, name: &str) -> Option<&'static str> {
    Codes::shared().cities.get(&(province, name)).copied()
}

/// Whether ip2region's pair of province and city stands for nothing smaller than the province:
/// districts of Hong Kong, cities of Taiwan, both located by country alone.
pub fn is_deliberately_unknown(province: &str) -> bool {
    matches!(province, "CN-HK" | "CN-MO" | "CN-TW")
}

const OTHERS: &str = include_str!("names/others.tsv");

struct Codes {
    countries: HashMap<&'static str, &'static str>,
    provinces: HashMap<&'static str, &'static str>,
    cities: HashMap<(&'static str, &'static str), &'static str>,
}

impl Codes {
    fn shared() -> &'static Self {
        static SHARED: OnceLock<Codes> = OnceLock::new();
        SHARED.get_or_init(Self::new)
    }

    fn new() -> Self {
        let (mut countries, mut provinces, mut cities) = (
            HashMap::<&'static str, &'static str>::new(),
            HashMap::<&'static str, &'static str>::new(),
            HashMap::new(),
        );
        for (code, names) in names::countries() {
            countries.extend([names.en, names.zh].map(|name| (name, code)));
        }
        for (code, names) in names::provinces() {
            provinces.extend([names.en, names.zh, names.zh_full].map(|name| (name, code)));
        }
        let mut city = |code: &'static str, name: &'static str| {
            let province = names::province_of_city(code).expect("a test looks at every city");
            cities.insert((province, name), code);
        };
        for (code, names) in names::cities() {
            for name in [names.en, names.zh, names.zh_full] {
                city(code, name);
            }
        }
        for [code, name] in rows(OTHERS) {
            match code.len() {
                2 => drop(countries.insert(name, code)),
                5 => drop(provinces.insert(name, code)),
                _ => city(code, name),
            }
        }
        Self {
            countries,
            provinces,
            cities,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_a_place_leads_to_its_code() {
        for (code, names) in names::countries() {
            assert_eq!(country(names.zh), Some(code));
            assert_eq!(country(names.en), Some(code));
        }
        for (code, names) in names::provinces() {
            for name in [names.en, names.zh, names.zh_full] {
                assert_eq!(province(name), Some(code), "{name}");
            }
        }
        for (code, names) in names::cities() {
            let province = names::province_of_city(code).unwrap();
            assert_eq!(
                city(province, names.zh_full),
                Some(code),
                "{}",
                names.zh_full
            );
            assert_eq!(city(province, names.zh), Some(code), "{}", names.zh);
        }
    }

    #[test]
    fn other_names_lead_to_codes_that_exist() {
        for [code, name] in rows(OTHERS) {
            let exists = match code.len() {
                2 => names::country(code).is_some() && country(name) == Some(code),
                5 => names::province(code).is_some() && province(name) == Some(code),
                _ => names::city(code).is_some(),
            };
            assert!(exists, "{code} {name}");
        }
        assert_eq!(
            city("CN-SD", "莱芜市"),
            Some("370100"),
            "a part of Jinan since 2019"
        );
        assert_eq!(city("CN-JS", "莱芜市"), None);
        assert_eq!(country("南京"), None);
    }

    /// All names of provinces and cities in the ip2region data that the embedded file is made from.
    #[test]
    fn every_name_of_the_chinese_file_has_a_code_or_is_deliberately_unknown() {
        let names = include_str!("../tests/data/ip2region-names.tsv");
        let mut known = 0;
        for line in names.lines() {
            let (province_name, city_name) = line.split_once('\t').unwrap();
            let code = province(province_name).unwrap_or_else(|| panic!("{line}"));
            if is_deliberately_unknown(code) || city_name == "0" {
                continue;
            }
            assert!(city(code, city_name).is_some(), "{line}");
            known += 1;
        }
        assert!(known > 330, "{known}");
    }
}
