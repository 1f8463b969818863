//! A place by its codes.

use std::fmt;

/// Country, province and city of an address, each by code and each empty if not known.
///
/// Small and copied; equal places are equal in every octet, so that it serves as a key. The default
/// is the unknown place.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    country: Code<2>,
    province: Code<6>,
    city: Code<10>,
}

/// Codes that make no place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{country:?}, {province:?}, {city:?} is no place: a country is two capital letters, a province \
     is its country's with - and up to three letters or digits, a city is up to ten letters or digits"
)]
pub struct PlaceError {
    country: String,
    province: String,
    city: String,
}

impl Place {
    /// Where nobody knows.
    pub const UNKNOWN: Self = Self {
        country: Code::EMPTY,
        province: Code::EMPTY,
        city: Code::EMPTY,
    };

    /// A place by codes: ISO 3166-1 alpha-2 (`CN`), ISO 3166-2 (`CN-JS`), and for a city in China
    /// GB/T 2260 (`320100`), elsewhere `G` and its number at GeoNames (`G2759794`). Each may be
    /// empty, but a province or a city needs its country.
    ///
    /// # Errors
    /// When a code has not that form. Whether it is assigned is not asked.
    pub fn new(country: &str, province: &str, city: &str) -> Result<Self, PlaceError> {
        Self::checked(country, province, city).ok_or_else(|| PlaceError {
            country: country.to_owned(),
            province: province.to_owned(),
            city: city.to_owned(),
        })
    }

    fn checked(country: &str, province: &str, city: &str) -> Option<Self> {
        let capital = |text: &str| text.bytes().all(|octet| octet.is_ascii_uppercase());
        let counts = |text: &str| {
            let mut octets = text.bytes();
            octets.all(|octet| octet.is_ascii_uppercase() || octet.is_ascii_digit())
        };
        let country_holds = country.is_empty() || (country.len() == 2 && capital(country));
        let province_holds = province.is_empty()
            || province
                .strip_prefix(country)
                .and_then(|rest| rest.strip_prefix('-'))
                .is_some_and(|part| (1..=3).contains(&part.len()) && counts(part));
        let alone = country.is_empty() && !(province.is_empty() && city.is_empty());
        if !country_holds || !province_holds || !counts(city) || alone {
            return None;
        }
        Some(Self {
            country: Code::new(country)?,
            province: Code::new(province)?,
            city: Code::new(city)?,
        })
    }

    /// Only a country.
    pub(crate) fn of_country(country: &str) -> Self {
        Self::checked(country, "", "").unwrap_or_default()
    }

    /// ISO 3166-1 alpha-2, or empty.
    pub fn country(&self) -> &str {
        self.country.as_str()
    }

    /// ISO 3166-2, or empty.
    pub fn province(&self) -> &str {
        self.province.as_str()
    }

    /// GB/T 2260 in China, elsewhere `G` and the number at GeoNames; or empty.
    pub fn city(&self) -> &str {
        self.city.as_str()
    }

    /// Whether not even the country is known.
    pub fn is_unknown(&self) -> bool {
        self.country == Code::EMPTY
    }

    /// This place with what it lacks from another that does not contradict it.
    pub(crate) fn completed_by(self, other: Self) -> Self {
        if self.is_unknown() {
            return other;
        }
        if self.country != other.country {
            return self;
        }
        let province = if self.province == Code::EMPTY && self.city == Code::EMPTY {
            other.province
        } else {
            self.province
        };
        let city = if self.city == Code::EMPTY && province == other.province {
            other.city
        } else {
            self.city
        };
        Self {
            country: self.country,
            province,
            city,
        }
    }

    /// Whether no source could add anything.
    pub(crate) fn is_complete(&self) -> bool {
        self.city != Code::EMPTY
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_unknown() {
            return f.write_str("unknown");
        }
        f.write_str(self.country())?;
        for code in [self.province(), self.city()] {
            if !code.is_empty() {
                write!(f, " {code}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({self})")
    }
}

/// Up to `N` octets of ASCII, the rest zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Code<const N: usize>([u8; N]);

impl<const N: usize> Code<N> {
    const EMPTY: Self = Self([0; N]);

    fn new(text: &str) -> Option<Self> {
        let mut code = [0; N];
        code.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        Some(Self(code))
    }

    fn as_str(&self) -> &str {
        let length = self.0.iter().position(|&octet| octet == 0).unwrap_or(N);
        // Made from a str of ASCII, so never the other case.
        std::str::from_utf8(&self.0[..length]).unwrap_or_default()
    }
}

impl<const N: usize> Default for Code<N> {
    fn default() -> Self {
        Self::EMPTY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(country: &str, province: &str, city: &str) -> Place {
        Place::new(country, province, city).unwrap()
    }

    #[test]
    fn codes_come_back_as_they_went_in() {
        for (country, province, city) in [
            ("", "", ""),
            ("CN", "", ""),
            ("CN", "CN-JS", "320100"),
            ("NL", "NL-NH", "G2759794"),
            ("SG", "", "G1880252"),
            ("GB", "GB-ENG", ""),
        ] {
            let place = place(country, province, city);
            assert_eq!(place.country(), country);
            assert_eq!(place.province(), province);
            assert_eq!(place.city(), city);
        }
        assert_eq!(size_of::<Place>(), 18);
    }

    #[test]
    fn what_is_no_code_makes_no_place() {
        for (country, province, city) in [
            ("cn", "", ""),
            ("C", "", ""),
            ("CHN", "", ""),
            ("", "CN-JS", ""),
            ("", "", "320100"),
            ("CN", "JS", ""),
            ("CN", "CN-", ""),
            ("CN", "CN-JIAN", ""),
            ("CN", "HK-KC", ""),
            ("CN", "CN-JS", "南京"),
            ("CN", "CN-JS", "12345678901"),
        ] {
            let error = Place::new(country, province, city).unwrap_err();
            assert!(error.to_string().contains("is no place"), "{error}");
        }
    }

    #[test]
    fn a_place_is_completed_only_by_what_agrees_with_it() {
        let nanjing = place("CN", "CN-JS", "320100");
        let jiangsu = place("CN", "CN-JS", "");
        let zhejiang = place("CN", "CN-ZJ", "");
        let china = place("CN", "", "");
        let dutch = place("NL", "NL-NH", "G2759794");
        let singapore = place("SG", "", "G1880252");
        for (first, second, together) in [
            (Place::UNKNOWN, nanjing, nanjing),
            (china, nanjing, nanjing),
            (jiangsu, nanjing, nanjing),
            (zhejiang, nanjing, zhejiang),
            (dutch, nanjing, dutch),
            (china, dutch, china),
            (china, Place::UNKNOWN, china),
            (place("SG", "", ""), singapore, singapore),
            (singapore, place("SG", "SG-01", ""), singapore),
        ] {
            assert_eq!(first.completed_by(second), together, "{first} and {second}");
        }
    }
}
