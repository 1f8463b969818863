//! How data ages: the settings of roll-up, retention and the disk guard.

use std::time::Duration;

use super::{Resolution, Series};
use crate::config::{Botnets, Config, Disk, Retention, RollUp};

/// How long rows are kept at each resolution, and when they are summed up.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ageing {
    /// How long rows are kept.
    pub retention: Retention,
    /// When hours are rolled up.
    pub rollup: RollUp,
    /// When space on disk is short.
    pub disk: Disk,
    /// How long communications and lines of botnets are kept.
    pub botnets: Botnets,
}

impl Ageing {
    /// How long the rows of a table are kept.
    pub(super) fn retention_of(&self, series: Series) -> Duration {
        match (series, series.resolution()) {
            (Series::Communications, _) => self.botnets.communications,
            (Series::Chunks, _) => self.botnets.raw,
            (_, Resolution::Raw) => self.retention.raw,
            (_, Resolution::Minute) => self.retention.minutes,
            (_, Resolution::Hour) => self.retention.hours,
        }
    }
}

/// The settings of the configuration.
impl From<&Config> for Ageing {
    fn from(config: &Config) -> Self {
        Self {
            retention: config.retention.clone(),
            rollup: config.rollup.clone(),
            disk: config.disk.clone(),
            botnets: config.botnets.clone(),
        }
    }
}

/// Raw rows are kept so long; everything else is as by default, roll-ups at least as long.
impl From<Duration> for Ageing {
    fn from(raw: Duration) -> Self {
        let default = Retention::default();
        Self {
            retention: Retention {
                raw,
                minutes: default.minutes.max(raw),
                hours: default.hours.max(raw),
                ..default
            },
            ..Self::default()
        }
    }
}
