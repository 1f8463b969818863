//! The files in the program: countries of all addresses, provinces and cities of Chinese IPv4
//! addresses. `cargo xtask geo` makes them; their notices lie beside them.

use std::{net::IpAddr, sync::OnceLock};

use crate::{edition::sha256, place::Place, range_file::RangeFile};

const COUNTRIES: &[u8] = include_bytes!("../data/country.bin");
const CHINA: &[u8] = include_bytes!("../data/china.bin");

/// Both files, unpacked.
#[derive(Debug)]
pub(crate) struct Embedded {
    countries: RangeFile,
    china: RangeFile,
    /// SHA-256 of both.
    pub digest: String,
    /// What they are made from.
    pub description: String,
}

impl Embedded {
    /// Unpacked at first use, then kept.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Embedded> = OnceLock::new();
        SHARED.get_or_init(|| {
            let read = |file| RangeFile::from_bytes(file).expect("a test reads both files");
            let (countries, china) = (read(COUNTRIES), read(CHINA));
            let digest = sha256(format!("{} {}", sha256(COUNTRIES), sha256(CHINA)).as_bytes());
            let description = format!(
                "embedded ({}; {})",
                countries.description(),
                china.description()
            );
            Self {
                countries,
                china,
                digest,
                description,
            }
        })
    }

    pub fn locate(&self, address: IpAddr) -> Place {
        let country = self.countries.locate(address);
        if country.country() != "CN" {
            return country;
        }
        country.completed_by(self.china.locate(address))
    }

    /// Octets in memory, about.
    pub fn memory_bytes(&self) -> usize {
        self.countries.memory_bytes() + self.china.memory_bytes()
    }
}
