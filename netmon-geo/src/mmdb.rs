//! MaxMind's mmdb: GeoLite2 and GeoIP2 of countries and cities, and files of others with their fields.

use std::{collections::HashMap, net::IpAddr};

use maxminddb::{LookupResult, MaxMindDbError, Reader, WithinOptions, geoip2};
use serde::Deserialize;
use time::OffsetDateTime;

use crate::{china, names, place::Place, special::separate};

/// What stands before the description at the end of such a file, within its last 128 KiB.
const MARKER: &[u8] = b"\xab\xcd\xefMaxMind.com";
const MARKER_WITHIN: usize = 128 << 10;

/// A file of which every record was read once.
pub(crate) struct Mmdb {
    reader: Reader<Vec<u8>>,
    file_bytes: usize,
    /// By the record's offset. Records are shared by many networks.
    places: HashMap<usize, Place>,
}

/// Records with the country's code as text, as ipinfo.io makes them.
#[derive(Deserialize)]
struct Flat<'a> {
    #[serde(borrow, default)]
    country_code: Option<&'a str>,
    #[serde(borrow, default)]
    country: Option<&'a str>,
}

impl Mmdb {
    /// Whether octets look like such a file.
    pub fn recognises(file: &[u8]) -> bool {
        let end = &file[file.len().saturating_sub(MARKER_WITHIN)..];
        end.windows(MARKER.len()).any(|window| window == MARKER)
    }

    /// Reads a file: every record, so that damage shows now and not in a look-up.
    pub fn new(file: Vec<u8>) -> Result<Self, String> {
        let file_bytes = file.len();
        let damaged = |error: MaxMindDbError| format!("it is damaged: {error}");
        let reader = Reader::from_source(file).map_err(damaged)?;
        // A tree of n nodes has n + 1 leaves, a few more where parts are shared; a damaged one has
        // circles. Leaves without data count, or circles of such would never end.
        let leaves = WithinOptions::default().include_networks_without_data();
        let most = (reader.metadata().node_count as usize).saturating_mul(3);
        let mut places = HashMap::new();
        for (count, network) in reader.networks(leaves).map_err(damaged)?.enumerate() {
            let network = network.map_err(damaged)?;
            if count > most {
                return Err("it is damaged: its tree has a circle".to_owned());
            }
            let Some(offset) = network.offset() else {
                continue;
            };
            if places.contains_key(&offset) {
                continue;
            }
            places.insert(offset, place_at(&network).map_err(damaged)?);
        }
        if places.values().all(Place::is_unknown) {
            let kind = &reader.metadata().database_type;
            return Err(format!("it knows no country (its type is {kind:?})"));
        }
        Ok(Self {
            reader,
            file_bytes,
            places,
        })
    }

    /// Type and date.
    pub fn version(&self) -> String {
        let metadata = self.reader.metadata();
        let built = i64::try_from(metadata.build_epoch).ok();
        let built = built.and_then(|built| OffsetDateTime::from_unix_timestamp(built).ok());
        match built {
            Some(built) => format!("{} of {}", metadata.database_type, built.date()),
            None => metadata.database_type.clone(),
        }
    }

    /// Octets in memory, about.
    pub fn memory_bytes(&self) -> usize {
        self.file_bytes + self.places.capacity() * size_of::<(usize, Place)>()
    }

    /// Where an address is.
    pub fn locate(&self, address: IpAddr) -> Place {
        // An IPv6 address in a file for IPv4 is an error, and unknown.
        let found = self.reader.lookup(address).ok();
        let offset = found.and_then(|found| found.offset());
        let place = offset.and_then(|offset| self.places.get(&offset));
        place.copied().unwrap_or_default()
    }
}

impl std::fmt::Debug for Mmdb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mmdb({})", self.version())
    }
}

fn place_at(network: &LookupResult<'_, Vec<u8>>) -> Result<Place, MaxMindDbError> {
    let flat = || {
        let record = network.decode::<Flat<'_>>().ok().flatten();
        record.map(|record| place_of_flat(&record))
    };
    match network.decode::<geoip2::City<'_>>() {
        Ok(record) => {
            let place = record.map(|record| place_of(&record)).unwrap_or_default();
            Ok(match place.is_unknown() {
                true => flat().unwrap_or_default(),
                false => place,
            })
        }
        Err(error) => flat().ok_or(error),
    }
}

fn place_of(record: &geoip2::City<'_>) -> Place {
    let country = country_of(record.country.iso_code.unwrap_or_default());
    if country.is_empty() {
        return Place::UNKNOWN;
    }
    if country == "CN" {
        return chinese(record);
    }
    let provinces = record.subdivisions.iter().filter_map(|division| {
        let code = format!("{country}-{}", division.iso_code?);
        Place::new(country, &code, "").ok()
    });
    let province = provinces.map(|place| place.province().to_owned()).next();
    let city = record.city.geoname_id.map(|number| format!("G{number}"));
    let place = Place::new(
        country,
        province.as_deref().unwrap_or_default(),
        city.as_deref().unwrap_or_default(),
    );
    place.unwrap_or_else(|_| Place::of_country(country))
}

/// Chinese cities by name, since these files number them otherwise than GB/T 2260. A county or a
/// district is in the city of nobody's knowledge.
fn chinese(record: &geoip2::City<'_>) -> Place {
    let province = record.subdivisions.iter().find_map(|division| {
        let code = division.iso_code.unwrap_or_default();
        let by_letters = || {
            let code = format!("CN-{code}");
            let mut all = names::provinces().map(|(code, _)| code);
            all.find(|known| *known == code)
        };
        // Before 2017 ISO 3166-2 had the digits of GB/T 2260.
        by_letters()
            .or_else(|| names::province_by_digits(code))
            .or_else(|| known(&division.names, china::province))
    });
    let province = province.unwrap_or_default();
    let city = known(&record.city.names, |name| china::city(province, name));
    let place = Place::new("CN", province, city.unwrap_or_default());
    place.map_or(Place::of_country("CN"), separate)
}

/// A code by the Chinese name, or else the English one.
fn known<'a>(
    names: &geoip2::Names<'a>,
    code: impl Fn(&'a str) -> Option<&'static str>,
) -> Option<&'static str> {
    let names = [names.simplified_chinese, names.english];
    names.into_iter().flatten().find_map(code)
}

fn place_of_flat(record: &Flat<'_>) -> Place {
    let codes = [record.country_code, record.country];
    let mut codes = codes.into_iter().flatten().map(country_of);
    Place::of_country(codes.find(|code| !code.is_empty()).unwrap_or_default())
}

/// A code that is a country's, or nothing.
fn country_of(code: &str) -> &str {
    match code {
        "UK" => "GB",
        code if names::country(code).is_some() => code,
        _ => "",
    }
}
