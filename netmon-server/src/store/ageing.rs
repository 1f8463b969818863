//! How data ages: the settings of roll-up, retention and the disk guard.

use std::time::Duration;

use super::{Resolution, Series};
use crate::config::{Config, Disk, Retention, RollUp};

/// How long rows are kept at each resolution, and when they are summed up.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ageing {
    /// How long rows are kept.
    pub retention: Retention,
    /// When hours are rolled up.
    pub rollup: RollUp,
    /// When space on disk is short.
    pub disk: Disk,
}

impl Ageing {
    /// How long the rows of a table are kept.
    pub(super) fn retention_of(&self, series: Series) -> Duration {
        match series.resolution() {
            Resolution::Raw => self.retention.raw,
            Resolution::Minute => self.retention.minutes,
            Resolution::Hour => self.retention.hours,
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
