//! Keeps the set in force that the file holds.

use std::{
    fs,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use aya::maps::MapError;
use netmon_common::watch::Prefix;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{MissedTickBehavior, interval},
};

use super::{FileError, read};
use crate::{metrics::Metrics, sensor::WatchMaps};

/// How often the file is looked at.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);

/// The file's set could not be put in force; the one before stays.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The kernel.
    #[error("the kernel did not take the watch list: {0}")]
    Map(#[from] MapError),
}

/// The file and the maps it goes to.
pub struct Keeper {
    path: PathBuf,
    maps: WatchMaps,
    metrics: Arc<Metrics>,
    /// Size and time of the file that was read last.
    known: Option<(u64, SystemTime)>,
}

impl Keeper {
    /// Puts the file's set in force for the first time.
    ///
    /// # Errors
    /// When the file is wrong: better not to start than to watch nothing.
    pub fn start(
        path: PathBuf,
        maps: WatchMaps,
        metrics: Arc<Metrics>,
    ) -> Result<Self, ReloadError> {
        let known = None;
        let mut keeper = Self {
            path,
            maps,
            metrics,
            known,
        };
        keeper.reload()?;
        Ok(keeper)
    }

    /// Reloads whenever the file has changed, and on SIGHUP.
    pub async fn run(mut self) -> std::io::Result<()> {
        let mut hangup = signal(SignalKind::hangup())?;
        let mut checks = interval(CHECK_INTERVAL);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let asked = tokio::select! {
                _ = hangup.recv() => true,
                _ = checks.tick() => false,
            };
            if !asked && self.state() == self.known {
                continue;
            }
            // A million entries take seconds: on a thread of their own.
            let reloading = tokio::task::spawn_blocking(move || {
                let result = self.reload();
                (self, result)
            });
            let result;
            (self, result) = reloading.await.map_err(std::io::Error::other)?;
            if let Err(error) = result {
                tracing::error!(%error, "the watch list before stays in force");
            }
        }
    }

    fn reload(&mut self) -> Result<(), ReloadError> {
        // Before reading: what is written meanwhile is another change.
        self.known = self.state();
        let result = read(&self.path).map_err(ReloadError::from).and_then(|set| {
            self.maps.replace(&set)?;
            Ok(set)
        });
        self.metrics.flows.watch_reloaded(result.is_ok());
        let set = result?;
        let is_v4 = |prefix: &&Prefix| prefix.address().is_ipv4();
        let v4 = set.iter().filter(is_v4).count();
        self.metrics.flows.watched(v4, set.len() - v4);
        tracing::info!(entries = set.len(), path = %self.path.display(), "watch list in force");
        Ok(())
    }

    fn state(&self) -> Option<(u64, SystemTime)> {
        let metadata = fs::metadata(&self.path).ok()?;
        Some((metadata.len(), metadata.modified().ok()?))
    }
}
