//! Keeps the set in force that the file holds.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::{Duration, SystemTime},
};

use aya::maps::MapError;
use netmon_common::watch::Prefix;
use tokio::{
    signal::unix::Signal,
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};

use super::{FileError, read};
use crate::{heap, metrics::Metrics, sensor::WatchMaps};

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

/// What SIGHUP does without a watch list: it is said that there is nothing to read again.
pub async fn nothing_to_reload(mut hangup: Signal) -> std::io::Result<()> {
    while hangup.recv().await.is_some() {
        tracing::info!("SIGHUP: no watch.file is set, and nothing else is read again on a signal");
    }
    Ok(())
}

/// Size and time of a file.
type State = Option<(u64, SystemTime)>;

/// The file and the maps it goes to.
pub struct Keeper {
    path: PathBuf,
    maps: WatchMaps,
    /// Of further network namespaces, while anybody holds them.
    others: Vec<Weak<Mutex<WatchMaps>>>,
    joined: (
        mpsc::UnboundedSender<Joined>,
        mpsc::UnboundedReceiver<Joined>,
    ),
    metrics: Arc<Metrics>,
    /// Of the file that was read last.
    known: State,
}

/// Maps of one more network namespace, and what the file was that they hold.
type Joined = (Weak<Mutex<WatchMaps>>, State);

/// Brings the set in force in further network namespaces.
#[derive(Clone)]
pub struct Joiner {
    path: PathBuf,
    joined: mpsc::UnboundedSender<Joined>,
}

impl Joiner {
    /// Fills the maps with the file's set, and has them kept up to date until the returned value is
    /// dropped. A file that is wrong just now leaves them empty until it is right. Takes seconds
    /// for a million entries.
    pub fn join(&self, mut maps: WatchMaps) -> Arc<Mutex<WatchMaps>> {
        let mut known = state(&self.path);
        let filled = read(&self.path).map_err(ReloadError::from);
        if let Err(error) = filled.and_then(|set| Ok(maps.replace(&set)?)) {
            tracing::error!(%error, "no watch list in this network namespace yet");
            known = None;
        }
        let maps = Arc::new(Mutex::new(maps));
        // Without a keeper, the agent ends.
        let _ = self.joined.send((Arc::downgrade(&maps), known));
        maps
    }
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
            others: Vec::new(),
            joined: mpsc::unbounded_channel(),
            metrics,
            known,
        };
        keeper.reload()?;
        Ok(keeper)
    }

    /// For further network namespaces.
    pub fn joiner(&self) -> Joiner {
        Joiner {
            path: self.path.clone(),
            joined: self.joined.0.clone(),
        }
    }

    /// Reloads whenever the file has changed, and on SIGHUP.
    pub async fn run(mut self, mut hangup: Signal) -> std::io::Result<()> {
        let mut checks = interval(CHECK_INTERVAL);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let asked = tokio::select! {
                _ = hangup.recv() => true,
                _ = checks.tick() => false,
                Some((maps, known)) = self.joined.1.recv() => {
                    self.others.push(maps);
                    // Read while the file changed: once more for all.
                    known != self.known
                }
            };
            if !asked && state(&self.path) == self.known {
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
        self.known = state(&self.path);
        let result = read(&self.path).map_err(ReloadError::from).and_then(|set| {
            self.maps.replace(&set)?;
            self.others.retain(|maps| maps.strong_count() > 0);
            for maps in self.others.iter().filter_map(Weak::upgrade) {
                // Whoever panicked has left maps that are filled anew.
                let mut maps = maps.lock().unwrap_or_else(PoisonError::into_inner);
                maps.replace(&set)?;
            }
            Ok(set)
        });
        self.metrics.flows.watch_reloaded(result.is_ok());
        let set = result?;
        let is_v4 = |prefix: &&Prefix| prefix.address().is_ipv4();
        let v4 = set.iter().filter(is_v4).count();
        self.metrics.flows.watched(v4, set.len() - v4);
        tracing::info!(entries = set.len(), path = %self.path.display(), "watch list in force");
        drop(set);
        heap::give_back();
        Ok(())
    }
}

fn state(path: &Path) -> State {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.len(), metadata.modified().ok()?))
}
