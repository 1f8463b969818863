//! Several sources as one.

use std::net::IpAddr;

use crate::{
    edition::Edition,
    place::Place,
    source::{GeoError, Opened, Settings, SpecialRegions},
    special,
};

/// Where addresses are, by all sources together. Made once, asked often, from many threads.
#[derive(Debug)]
pub struct Atlas {
    sources: Vec<Opened>,
    special_regions: SpecialRegions,
    edition: Edition,
}

impl Atlas {
    /// Of the embedded files alone; Hong Kong, Macao and Taiwan by their own country codes.
    pub fn embedded() -> Self {
        Self::of(vec![Opened::embedded()], SpecialRegions::default())
    }

    /// Of what settings name: reads the files into memory.
    ///
    /// # Errors
    /// When there is no source, or a file cannot be read or used.
    pub fn open(settings: &Settings) -> Result<Self, GeoError> {
        if settings.sources.is_empty() {
            return Err(GeoError::NoSource);
        }
        let sources = settings.sources.iter().map(Opened::open);
        let sources = sources.collect::<Result<Vec<_>, _>>()?;
        Ok(Self::of(sources, settings.special_regions))
    }

    fn of(sources: Vec<Opened>, special_regions: SpecialRegions) -> Self {
        let parts = sources
            .iter()
            .map(|source| (source.digest.as_str(), source.description.as_str()));
        let edition = Edition::new(parts, special_regions.name());
        Self {
            sources,
            special_regions,
            edition,
        }
    }

    /// Where an address is. Private, reserved and multicast addresses are nowhere; an IPv4-mapped
    /// address is where the IPv4 address is.
    pub fn locate(&self, address: IpAddr) -> Place {
        let address = address.to_canonical();
        if special::is_nowhere(address) {
            return Place::UNKNOWN;
        }
        let mut place = Place::UNKNOWN;
        for source in &self.sources {
            place = place.completed_by(source.locate(address));
            if place.is_complete() {
                break;
            }
        }
        self.special_regions.put(place)
    }

    /// Which data this is.
    pub fn edition(&self) -> &Edition {
        &self.edition
    }

    /// Octets in memory, about; those of the embedded files are shared by all atlases.
    pub fn memory_bytes(&self) -> usize {
        self.sources.iter().map(Opened::memory_bytes).sum()
    }

    /// Whether a file is not the one that was read: it looks at sizes and times of modification.
    pub fn has_changed(&self) -> bool {
        self.sources.iter().any(Opened::has_changed)
    }
}
