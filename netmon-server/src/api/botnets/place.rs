//! Places as the API shows them: codes, and their names in the language asked for.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock},
};

use serde::Serialize;
use sqlx::PgPool;
use utoipa::ToSchema;

use super::names::Language;
use crate::api::problem::Problem;

/// Where something is. What is not known, or not asked for, is null.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = BotnetPlace)]
pub struct Place {
    /// ISO 3166-1 alpha-2.
    #[schema(example = "CN")]
    pub country: Option<String>,
    #[schema(value_type = Option<String>, example = "China")]
    pub country_name: Option<&'static str>,
    /// ISO 3166-2.
    #[schema(example = "CN-JS")]
    pub province: Option<String>,
    #[schema(value_type = Option<String>, example = "Jiangsu")]
    pub province_name: Option<&'static str>,
    /// In China GB/T 2260; elsewhere as the geo file numbers it.
    #[schema(example = "320100")]
    pub city: Option<String>,
    #[schema(value_type = Option<String>, example = "Nanjing")]
    pub city_name: Option<&'static str>,
}

impl Place {
    /// A place by its codes, each empty if not known.
    pub fn new(country: &str, province: &str, city: &str, language: Language) -> Self {
        let code = |code: &str| Some(code.to_owned()).filter(|code| !code.is_empty());
        Self {
            country: code(country),
            country_name: language.country(country),
            province: code(province),
            province_name: language.province(province),
            city: code(city),
            city_name: language.city(city),
        }
    }
}

/// The places of `botnet_places` by number. Rows are only ever added to that table, so what was read
/// once stays right.
#[derive(Debug, Default)]
pub struct Places(RwLock<HashMap<i32, [Box<str>; 3]>>);

#[derive(sqlx::FromRow)]
struct PlaceRow {
    place_id: i32,
    country: String,
    province: String,
    city: String,
}

impl Places {
    /// Reads those of these places that are not known yet.
    pub async fn read(
        &self,
        database: &PgPool,
        ids: impl Iterator<Item = i32>,
    ) -> Result<(), Problem> {
        let missing: Vec<i32> = {
            let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
            ids.filter(|id| !known.contains_key(id)).collect()
        };
        if missing.is_empty() {
            return Ok(());
        }
        let rows: Vec<PlaceRow> = sqlx::query_as(
            "SELECT place_id, country, province, city FROM botnet_places WHERE place_id = ANY ($1)",
        )
        .bind(missing)
        .fetch_all(database)
        .await?;
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.extend(rows.into_iter().map(|row| {
            let codes = [row.country, row.province, row.city];
            (row.place_id, codes.map(String::into_boxed_str))
        }));
        Ok(())
    }

    /// A place that was read.
    pub fn place(&self, id: i32, language: Language) -> Place {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        match known.get(&id) {
            Some([country, province, city]) => Place::new(country, province, city, language),
            None => Place::new("", "", "", language),
        }
    }
}

/// Which places are asked for, by code; empty: those of which it is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlaceFilter {
    pub country: Option<String>,
    pub province: Option<String>,
    pub city: Option<String>,
}

/// What stands for an empty code in a query.
const UNKNOWN: &str = "unknown";

impl PlaceFilter {
    /// Parses the parameters `country`, `province` and `city`.
    pub fn parse(
        country: Option<&str>,
        province: Option<&str>,
        city: Option<&str>,
    ) -> Result<Self, Problem> {
        let code = |name, text: Option<&str>, fits: fn(&str) -> bool, reason: &str| match text {
            None => Ok(None),
            Some(text) if text.eq_ignore_ascii_case(UNKNOWN) => Ok(Some(String::new())),
            Some(text) => {
                let code = text.to_ascii_uppercase();
                match fits(&code) {
                    true => Ok(Some(code)),
                    false => Err(Problem::parameter(name, reason)),
                }
            }
        };
        let country = code(
            "country",
            country,
            is_country,
            "it must be two letters (ISO 3166-1), like CN, or unknown",
        )?;
        let province = code(
            "province",
            province,
            is_province,
            "it must be a code of ISO 3166-2, like CN-JS, or unknown",
        )?;
        let city = code(
            "city",
            city,
            is_city,
            "it must be a code such as 320100 (GB/T 2260), or unknown",
        )?;
        // People write it so, and everybody means the same.
        let country = country.map(|code| if code == "UK" { "GB".to_owned() } else { code });
        Ok(Self {
            country,
            province,
            city,
        })
    }

    /// Whether any place fits.
    pub fn is_any(&self) -> bool {
        *self == Self::default()
    }
}

fn is_country(code: &str) -> bool {
    code.len() == 2 && code.bytes().all(|octet| octet.is_ascii_uppercase())
}

fn is_province(code: &str) -> bool {
    let parts = code.split_once('-');
    parts.is_some_and(|(country, rest)| {
        is_country(country) && (1..=3).contains(&rest.len()) && is_alphanumeric(rest)
    })
}

fn is_city(code: &str) -> bool {
    (1..=10).contains(&code.len()) && is_alphanumeric(code)
}

fn is_alphanumeric(code: &str) -> bool {
    code.bytes().all(|octet| octet.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_taken_in_either_case_and_anything_else_is_refused() {
        let filter = PlaceFilter::parse(Some("cn"), Some("CN-js"), Some("320100")).unwrap();
        assert_eq!(filter.country.as_deref(), Some("CN"));
        assert_eq!(filter.province.as_deref(), Some("CN-JS"));
        assert_eq!(filter.city.as_deref(), Some("320100"));
        for (country, province, city) in [
            (Some(""), None, None),
            (Some("CHN"), None, None),
            (Some("C1"), None, None),
            (None, Some("JS"), None),
            (None, Some("CN-"), None),
            (None, Some("CN-ABCD"), None),
            (None, Some("江苏"), None),
            (None, None, Some("")),
            (None, None, Some("Nanjing City")),
        ] {
            let parsed = PlaceFilter::parse(country, province, city);
            assert!(parsed.is_err(), "{country:?} {province:?} {city:?}");
        }
    }

    #[test]
    fn unknown_is_the_empty_code_and_uk_is_gb() {
        let filter = PlaceFilter::parse(Some("UK"), Some("Unknown"), None).unwrap();
        assert_eq!(filter.country.as_deref(), Some("GB"));
        assert_eq!(filter.province.as_deref(), Some(""));
        assert!(!filter.is_any());
        assert!(PlaceFilter::default().is_any());
    }
}
