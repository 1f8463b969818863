//! Where addresses are, while the server runs: an atlas that is read again when its files change.

pub mod relocation;

use std::{
    net::IpAddr,
    sync::{Arc, PoisonError, RwLock},
};

use netmon_geo::{Atlas, Edition, GeoError, Place};

use crate::{config, metrics};

/// The atlas in use, shared by all who locate addresses.
#[derive(Debug)]
pub struct Geo {
    settings: config::Geo,
    current: RwLock<Current>,
}

/// An atlas as it was when it was asked for: whoever locates several addresses for one purpose takes
/// one, so that all come from the same edition.
#[derive(Clone, Debug)]
pub struct Current {
    atlas: Arc<Atlas>,
    metrics: metrics::Geo,
}

impl Geo {
    /// Reads the files that the configuration names.
    ///
    /// # Errors
    /// When one cannot be read or used.
    pub fn open(settings: &config::Geo, metrics: metrics::Geo) -> Result<Self, GeoError> {
        let atlas = Atlas::open(settings)?;
        Ok(Self::of(settings.clone(), atlas, metrics))
    }

    /// Of the embedded files, counted nowhere.
    pub fn embedded() -> Self {
        let metrics = metrics::Geo::default();
        Self::of(config::Geo::default(), Atlas::embedded(), metrics)
    }

    fn of(settings: config::Geo, atlas: Atlas, metrics: metrics::Geo) -> Self {
        metrics.in_use(&atlas);
        let atlas = Arc::new(atlas);
        Self {
            settings,
            current: RwLock::new(Current { atlas, metrics }),
        }
    }

    /// The atlas in use now.
    pub fn current(&self) -> Current {
        let current = self.current.read();
        current.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the files again if one of them is not the one that was read; whether the edition is
    /// another one. Blocks while it reads.
    ///
    /// # Errors
    /// When a file cannot be read or used; the old atlas stays in use.
    pub fn reload(&self) -> Result<bool, GeoError> {
        let Current { atlas, metrics } = self.current();
        if !atlas.has_changed() {
            return Ok(false);
        }
        let read = Atlas::open(&self.settings);
        metrics.reloaded(read.is_ok());
        let read = read?;
        let is_other = read.edition() != atlas.edition();
        metrics.in_use(&read);
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        current.atlas = Arc::new(read);
        Ok(is_other)
    }
}

impl Current {
    /// Where an address is.
    pub fn locate(&self, address: IpAddr) -> Place {
        let place = self.atlas.locate(address);
        self.metrics.looked_up(&place);
        place
    }

    /// Which edition this is.
    pub fn edition(&self) -> &Edition {
        self.atlas.edition()
    }

    /// The atlas itself, for look-ups that count nowhere.
    pub fn atlas(&self) -> &Arc<Atlas> {
        &self.atlas
    }

    /// Where look-ups are counted.
    pub fn metrics(&self) -> &metrics::Geo {
        &self.metrics
    }
}

#[cfg(test)]
#[path = "../../netmon-geo/tests/files/xdb_writer.rs"]
#[expect(dead_code, reason = "shared with tests that need more of it")]
mod xdb_writer;

#[cfg(test)]
mod tests {
    use std::fs;

    use netmon_geo::Source;

    use super::*;

    #[test]
    fn files_that_changed_are_read_again_and_unusable_ones_are_not_used() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("china.xdb");
        let write = |city: &str| {
            let region = format!("中国|0|浙江省|{city}|0");
            let file = xdb_writer::write_v4(3, &[("1.2.3.0", "1.2.3.255", &region)]);
            let next = directory.path().join("next");
            fs::write(&next, file).unwrap();
            fs::rename(next, &path).unwrap();
        };
        write("杭州市");
        let settings = config::Geo {
            sources: vec![Source::File(path.clone()), Source::Embedded],
            ..config::Geo::default()
        };
        let geo = Geo::open(&settings, metrics::Geo::default()).unwrap();
        let city = |of: &Current| of.locate([1, 2, 3, 4].into()).city().to_owned();
        let first = geo.current();
        assert_eq!(city(&first), "330100");
        assert!(!geo.reload().unwrap(), "nothing changed");

        write("舟山市岛");
        assert!(geo.reload().unwrap());
        write("宁波市宁波市");
        assert!(geo.reload().unwrap());
        fs::write(&path, "damaged").unwrap();
        let error = geo.reload().unwrap_err().to_string();
        assert!(error.contains("cannot use the geo file"), "{error}");
        assert_eq!(city(&geo.current()), "", "the last usable file stays");

        write("宁波市");
        assert!(geo.reload().unwrap());
        assert_eq!(city(&geo.current()), "330200");
        assert_ne!(geo.current().edition(), first.edition());
        assert_eq!(city(&first), "330100", "who has the old one keeps it");
    }
}
