//! What an atlas is made of: settings, and files opened by what they contain.

use std::{
    fs::{self, File},
    io::Read,
    net::IpAddr,
    path::{Path, PathBuf},
    str::FromStr,
    time::SystemTime,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::{edition::sha256, embedded::Embedded, mmdb::Mmdb, place::Place, xdb::Xdb};

/// The largest file that is read, octets: it is held in memory.
const MAX_BYTES: u64 = 2 << 30;

/// Which data places come from, in order, and how they are put.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The first that knows the country decides it; the first of those agreeing with it that knows
    /// a province decides that; likewise the city.
    pub sources: Vec<Source>,
    /// How Hong Kong, Macao and Taiwan are put.
    pub special_regions: SpecialRegions,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            sources: vec![Source::Embedded],
            special_regions: SpecialRegions::default(),
        }
    }
}

/// One source of places: in text `embedded`, or a file's path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The files in the program.
    Embedded,
    /// An `mmdb` or `xdb` file; which of them, its content says.
    File(PathBuf),
}

/// How Hong Kong, Macao and Taiwan are put: ISO 3166 has codes for both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SpecialRegions {
    /// By ISO 3166-1: countries `HK`, `MO`, `TW`.
    #[default]
    Separate,
    /// By ISO 3166-2: country `CN`, provinces `CN-HK`, `CN-MO`, `CN-TW`.
    Cn,
}

/// Why there is no atlas.
#[derive(Debug, thiserror::Error)]
pub enum GeoError {
    /// No source at all.
    #[error("there is no source of places: name files, or \"embedded\"")]
    NoSource,
    /// A file cannot be read.
    #[error("cannot read the geo file {path:?}: {reason}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: std::io::Error,
    },
    /// A file that is no file of places.
    #[error("cannot use the geo file {path:?}: {problem}")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

impl FromStr for Source {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "" => Err("a source of places is \"embedded\" or the path of a file, not empty"),
            "embedded" => Ok(Self::Embedded),
            path => Ok(Self::File(PathBuf::from(path))),
        }
    }
}

impl<'de> Deserialize<'de> for Source {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

impl Serialize for Source {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Embedded => serializer.serialize_str("embedded"),
            Self::File(path) => path.serialize(serializer),
        }
    }
}

impl SpecialRegions {
    /// As in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Separate => "separate",
            Self::Cn => "cn",
        }
    }
}

/// A source whose data is in memory.
#[derive(Debug)]
pub(crate) struct Opened {
    data: Data,
    /// SHA-256 of its content.
    pub digest: String,
    /// Name and version.
    pub description: String,
    stamp: Option<(PathBuf, Stamp)>,
}

#[derive(Debug)]
enum Data {
    Embedded(&'static Embedded),
    Mmdb(Box<Mmdb>),
    Xdb(Box<Xdb>),
}

/// By what a changed file is told without reading it.
type Stamp = (u64, Option<SystemTime>);

impl Opened {
    /// Reads a source.
    pub fn open(source: &Source) -> Result<Self, GeoError> {
        match source {
            Source::Embedded => Ok(Self::embedded()),
            Source::File(path) => Self::file(path),
        }
    }

    /// The source that is always there.
    pub fn embedded() -> Self {
        let embedded = Embedded::shared();
        Self {
            digest: embedded.digest.clone(),
            description: embedded.description.clone(),
            data: Data::Embedded(embedded),
            stamp: None,
        }
    }

    fn file(path: &Path) -> Result<Self, GeoError> {
        let unusable = |problem: String| GeoError::Unusable {
            path: path.to_owned(),
            problem,
        };
        let unreadable = |reason| GeoError::Read {
            path: path.to_owned(),
            reason,
        };
        // Taken before reading, so that a change meanwhile shows.
        let stamp = stamp(path).map_err(unreadable)?;
        let octets = read(path).map_err(unreadable)?;
        let digest = sha256(&octets);
        let (data, version) = if Mmdb::recognises(&octets) {
            let mmdb = Mmdb::new(octets).map_err(unusable)?;
            let version = mmdb.version();
            (Data::Mmdb(Box::new(mmdb)), version)
        } else if Xdb::recognises(&octets) {
            let xdb = Xdb::new(octets).map_err(unusable)?;
            let version = xdb.version();
            (Data::Xdb(Box::new(xdb)), version)
        } else {
            let problem = "it is neither MaxMind's mmdb nor ip2region's xdb of structure 2 or 3";
            return Err(unusable(problem.to_owned()));
        };
        let name = path.file_name().unwrap_or(path.as_os_str());
        Ok(Self {
            data,
            digest,
            description: format!("{} ({version})", name.to_string_lossy()),
            stamp: Some((path.to_owned(), stamp)),
        })
    }

    /// Where it says an address is: Hong Kong, Macao and Taiwan by their own country codes.
    pub fn locate(&self, address: IpAddr) -> Place {
        match &self.data {
            Data::Embedded(embedded) => embedded.locate(address),
            Data::Mmdb(mmdb) => mmdb.locate(address),
            Data::Xdb(xdb) => xdb.locate(address),
        }
    }

    /// Octets in memory, about.
    pub fn memory_bytes(&self) -> usize {
        match &self.data {
            Data::Embedded(embedded) => embedded.memory_bytes(),
            Data::Mmdb(mmdb) => mmdb.memory_bytes(),
            Data::Xdb(xdb) => xdb.memory_bytes(),
        }
    }

    /// Whether its file is not the one that was read.
    pub fn has_changed(&self) -> bool {
        let Some((path, known)) = &self.stamp else {
            return false;
        };
        stamp(path).map_or(true, |now| now != *known)
    }
}

fn stamp(path: &Path) -> std::io::Result<Stamp> {
    let metadata = fs::metadata(path)?;
    Ok((metadata.len(), metadata.modified().ok()))
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut octets = Vec::new();
    File::open(path)?
        .take(MAX_BYTES + 1)
        .read_to_end(&mut octets)?;
    if octets.len() as u64 > MAX_BYTES {
        return Err(std::io::Error::other("it is larger than 2 GiB"));
    }
    Ok(octets)
}
