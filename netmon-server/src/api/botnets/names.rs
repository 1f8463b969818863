//! Names of places for people, in English or Chinese.

use netmon_geo::names;

use crate::api::problem::Problem;

/// In which language names are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    English,
    Chinese,
}

impl Language {
    /// Parses the parameter `lang`.
    pub fn parse(text: Option<&str>, otherwise: Self) -> Result<Self, Problem> {
        match text {
            None => Ok(otherwise),
            Some("en") => Ok(Self::English),
            Some("zh") => Ok(Self::Chinese),
            Some(_) => Err(Problem::parameter("lang", "it must be en or zh")),
        }
    }

    /// What a country is called; `None` for a code without a name.
    pub fn country(self, code: &str) -> Option<&'static str> {
        self.of(names::country(code))
    }

    /// What a province is called.
    pub fn province(self, code: &str) -> Option<&'static str> {
        self.of(names::province(code))
    }

    /// What a city is called.
    pub fn city(self, code: &str) -> Option<&'static str> {
        self.of(names::city(code))
    }

    fn of(self, names: Option<names::Names>) -> Option<&'static str> {
        names.map(|names| match self {
            Self::English => names.en,
            Self::Chinese => names.zh,
        })
    }
}

/// A Chinese name of a city without 市.
pub fn short_city(name: &str) -> &str {
    match name.strip_suffix('市') {
        Some(rest) if !rest.is_empty() => rest,
        _ => name,
    }
}

/// The code of a Chinese province, by the code or by one of its names.
pub fn province_code(text: &str) -> Option<&'static str> {
    let fits = |(code, names): &(&'static str, names::Names)| {
        text.eq_ignore_ascii_case(code)
            || text.eq_ignore_ascii_case(names.en)
            || text == names.zh
            || text == names.zh_full
    };
    names::provinces().find(fits).map(|(code, _)| code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_of_place_is_left_out_of_names_of_cities_only_where_it_is_a_city() {
        for (long, short) in [
            ("南京市", "南京"),
            ("恩施土家族苗族自治州", "恩施土家族苗族自治州"),
            ("市", "市"),
            ("", ""),
        ] {
            assert_eq!(short_city(long), short);
        }
    }

    #[test]
    fn a_province_is_found_by_its_code_and_by_each_of_its_names() {
        for name in [
            "CN-XJ",
            "cn-xj",
            "新疆",
            "新疆维吾尔自治区",
            "Xinjiang",
            "xinjiang",
        ] {
            assert_eq!(province_code(name), Some("CN-XJ"), "{name}");
        }
        assert_eq!(province_code("Bavaria"), None);
        assert_eq!(province_code(""), None);
    }
}
