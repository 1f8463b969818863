//! Keeps the set in force that file and server say.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::{Duration, Instant, SystemTime},
};

use aya::maps::MapError;
use netmon_common::watch::{Change, Held, List, MAX_ENTRIES};
use tokio::{
    signal::unix::Signal,
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval},
};

use super::{Board, FileError, InForce, read, remembered};
use crate::{heap, metrics::Metrics, sensor::WatchMaps};

/// How often the file is looked at.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);

/// A set that the kernel did not take is tried again after so long, and the server's list is written
/// to disk at most so often.
const PAUSE: Duration = Duration::from_secs(30);

/// A change of fewer entries than this part of the set is made within the set in force.
const SMALL_PART: usize = 8;

/// The set could not be put in force; the one before stays.
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
        say_nothing_to_reload();
    }
    Ok(())
}

fn say_nothing_to_reload() {
    tracing::info!("SIGHUP: no watch.file is set, and nothing else is read again on a signal");
}

/// Size and time of a file.
type State = Option<(u64, SystemTime)>;

/// Where entries come from.
pub struct Sources {
    /// The agent's own file.
    pub file: Option<PathBuf>,
    /// What the server tells.
    pub served: watch::Receiver<Held>,
    /// Where that is written down.
    pub directory: Option<PathBuf>,
}

/// The sources and the maps their entries go to.
pub struct Keeper {
    sources: Sources,
    maps: WatchMaps,
    /// Of further network namespaces, while anybody holds them.
    others: Vec<Weak<Mutex<WatchMaps>>>,
    joined: (
        mpsc::UnboundedSender<Joined>,
        mpsc::UnboundedReceiver<Joined>,
    ),
    board: Arc<Board>,
    metrics: Arc<Metrics>,
    /// Of the file that was read last.
    known: State,
    own: Arc<List>,
    served: Held,
    /// Maps hold something else than the board says, since then.
    torn: Option<Instant>,
    /// The list on disk, and when it was written.
    written: (Held, Option<Instant>),
}

/// Maps of one more network namespace, and the generation that they hold.
type Joined = (Weak<Mutex<WatchMaps>>, u64);

/// Brings the set in force in further network namespaces.
#[derive(Clone)]
pub struct Joiner {
    board: Arc<Board>,
    joined: mpsc::UnboundedSender<Joined>,
}

impl Joiner {
    /// Fills the maps with the set in force, and has them kept up to date until the returned value is
    /// dropped. Takes seconds for a million entries.
    pub fn join(&self, mut maps: WatchMaps) -> Arc<Mutex<WatchMaps>> {
        let InForce {
            all, generation, ..
        } = self.board.now();
        let mut filled = generation;
        if let Err(error) = maps.replace(&all) {
            tracing::error!(%error, "no watch list in this network namespace yet");
            filled = 0;
        }
        let maps = Arc::new(Mutex::new(maps));
        // Without a keeper, the agent ends.
        let _ = self.joined.send((Arc::downgrade(&maps), filled));
        maps
    }
}

/// What there is to do.
#[derive(Clone, Copy, Debug, Default)]
struct Due {
    file: bool,
    served: bool,
    maps: bool,
}

impl Keeper {
    /// Puts the set in force for the first time.
    ///
    /// # Errors
    /// When the file is wrong: better not to start than to watch nothing.
    pub fn start(
        sources: Sources,
        maps: WatchMaps,
        metrics: Arc<Metrics>,
    ) -> Result<Self, ReloadError> {
        let served = sources.served.borrow().clone();
        let mut keeper = Self {
            sources,
            maps,
            others: Vec::new(),
            joined: mpsc::unbounded_channel(),
            board: Arc::new(Board::default()),
            metrics,
            known: None,
            own: Arc::default(),
            written: (served.clone(), None),
            served,
            torn: None,
        };
        if keeper.sources.file.is_some() {
            keeper.reload()?;
        } else {
            keeper.put()?;
        }
        heap::give_back();
        Ok(keeper)
    }

    /// Which set is in force.
    pub fn board(&self) -> Arc<Board> {
        Arc::clone(&self.board)
    }

    /// For further network namespaces.
    pub fn joiner(&self) -> Joiner {
        Joiner {
            board: self.board(),
            joined: self.joined.0.clone(),
        }
    }

    /// Follows what the server tells, and reloads the file whenever it has changed, and on SIGHUP.
    pub async fn run(mut self, mut hangup: Signal) -> std::io::Result<()> {
        let mut checks = interval(CHECK_INTERVAL);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let mut due = Due::default();
            tokio::select! {
                _ = hangup.recv() => due.file = true,
                _ = checks.tick() => {}
                Ok(()) = self.sources.served.changed() => due.served = true,
                Some((maps, generation)) = self.joined.1.recv() => {
                    self.others.push(maps);
                    // Filled while the set changed: once more for all.
                    due.maps = generation != self.board.generation();
                }
            }
            if due.file && self.sources.file.is_none() {
                say_nothing_to_reload();
                due.file = false;
            }
            due.file |= self.file_state() != self.known;
            due.maps |= self.torn.is_some_and(|since| since.elapsed() >= PAUSE);
            if !(due.file || due.served || due.maps || self.is_to_write()) {
                continue;
            }
            // A million entries take seconds: on a thread of their own.
            let working = tokio::task::spawn_blocking(move || {
                self.work(due);
                self
            });
            self = working.await.map_err(std::io::Error::other)?;
        }
    }

    fn work(&mut self, due: Due) {
        let before_stays = |error: ReloadError| {
            tracing::error!(%error, "the watch list before stays in force");
        };
        if due.served {
            self.served = self.sources.served.borrow_and_update().clone();
        }
        if due.maps {
            // Whatever they hold.
            self.torn = Some(Instant::now());
        }
        let reloaded = due.file && self.reload().map_err(before_stays).is_ok();
        if !reloaded && (due.served || due.maps) {
            let _ = self.put().map_err(ReloadError::from).map_err(before_stays);
        }
        if self.is_to_write() {
            self.write();
        }
        heap::give_back();
    }

    /// Reads the file.
    fn reload(&mut self) -> Result<(), ReloadError> {
        // Before reading: what is written meanwhile is another change.
        self.known = self.file_state();
        let Some(path) = &self.sources.file else {
            return Ok(());
        };
        let result = read(path).map_err(ReloadError::from).and_then(|own| {
            let entries = own.len();
            let before = std::mem::replace(&mut self.own, Arc::new(own));
            if let Err(error) = self.put() {
                self.own = before;
                return Err(error.into());
            }
            Ok(entries)
        });
        self.metrics.flows.watch_reloaded(result.is_ok());
        let entries = result?;
        if let Some(path) = &self.sources.file {
            tracing::info!(entries, path = %path.display(), "watch list in force");
        }
        Ok(())
    }

    /// Puts what the sources say in force.
    fn put(&mut self) -> Result<(), MapError> {
        let before = self.board.now();
        let room = MAX_ENTRIES as usize - self.own.len();
        let left_out = self.served.list.len().saturating_sub(room);
        // As a rule there is one of the two: then it is all, and not there twice.
        let all = match left_out {
            0 if self.served.list.is_empty() => Arc::clone(&self.own),
            0 if self.own.is_empty() => Arc::clone(&self.served.list),
            0 => Arc::new(self.own.union(&self.served.list)),
            _ => Arc::new(self.own.union(&self.served.list.first(room))),
        };
        let change = before.all.change_to(&all);
        if self.torn.is_some() || before.generation == 0 || !change.is_empty() {
            let is_small = change.len() < all.len() / SMALL_PART;
            let whole = self.torn.is_some() || before.generation == 0 || !is_small;
            self.torn = Some(Instant::now());
            self.others.retain(|maps| maps.strong_count() > 0);
            fill(&mut self.maps, &all, (!whole).then_some(&change))?;
            for maps in self.others.iter().filter_map(Weak::upgrade) {
                // Whoever panicked has left maps that are filled anew.
                let mut maps = maps.lock().unwrap_or_else(PoisonError::into_inner);
                fill(&mut maps, &all, (!whole).then_some(&change))?;
            }
            self.torn = None;
        }
        if self.served.digest != before.served.digest {
            let (entries, version) = (self.served.list.len(), self.served.version);
            tracing::info!(
                entries,
                version,
                left_out,
                "the server's watch list is in force"
            );
        }
        let next = InForce {
            own: self.own.len(),
            served: self.served.clone(),
            left_out,
            generation: before.generation + 1,
            all,
        };
        self.metrics.flows.watched(&next);
        self.board.set(next);
        Ok(())
    }

    fn file_state(&self) -> State {
        self.sources.file.as_deref().and_then(state)
    }

    fn is_to_write(&self) -> bool {
        let (held, at) = &self.written;
        self.sources.directory.is_some()
            && held.digest != self.served.digest
            && at.is_none_or(|at| at.elapsed() >= PAUSE)
    }

    fn write(&mut self) {
        let Some(directory) = &self.sources.directory else {
            return;
        };
        let now = Some(Instant::now());
        match remembered::write(directory, &self.served) {
            Ok(()) => self.written = (self.served.clone(), now),
            Err(error) => {
                self.written.1 = now;
                tracing::error!(
                    %error,
                    "the server's watch list is in force, but forgotten at the next start"
                );
            }
        }
    }
}

/// Brings maps from the set before to the next one: by the change alone, or anew.
fn fill(maps: &mut WatchMaps, all: &List, change: Option<&Change>) -> Result<(), MapError> {
    let Some(change) = change else {
        return maps.replace(all);
    };
    maps.change(change).or_else(|error| {
        tracing::debug!(%error, "the watch set is replaced, since it could not be changed");
        maps.replace(all)
    })
}

fn state(path: &Path) -> State {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.len(), metadata.modified().ok()?))
}
