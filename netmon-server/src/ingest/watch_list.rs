//! Tells agents what to watch: each when it connects, and whenever that changes, by the difference from
//! what it holds if that is known here, whole if not.
//!
//! The list is put together from the database when what it is made of has changed, in memory that all
//! sessions share; so are the messages that tell of it.

use std::{
    convert::Infallible,
    future::pending,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use netmon_common::watch::{Digest, Held};
use time::OffsetDateTime;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::history::{History, Messages};
use super::{Shared, persist::Pauses, session::Session};
use crate::{
    metrics::DatabaseOperation,
    store::{Sign, Store, StoreError},
};

mod history;

/// How often it is looked whether the list has changed.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// The list is put together once more after so long, whether it seems to have changed or not: as many
/// nodes may have come as went.
const REBUILD_INTERVAL: Duration = Duration::from_secs(600);

/// Putting the list together takes at most this part of the time, however often it changes.
const BUSY_PART: u32 = 10;

/// What is to be watched, as of now.
#[derive(Debug)]
pub struct WatchList {
    history: Mutex<Option<History>>,
    /// Names the newest; `None`: nothing is known yet.
    newest: watch::Sender<Option<Digest>>,
}

/// The newest list, for whoever asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Newest {
    /// When it was put together, milliseconds since 1970.
    pub version: u64,
    /// Names its content.
    pub digest: Digest,
    /// How long it is.
    pub entries: usize,
}

impl Default for WatchList {
    fn default() -> Self {
        Self {
            history: Mutex::default(),
            newest: watch::Sender::new(None),
        }
    }
}

impl WatchList {
    /// The newest; `None` until the database has been asked for the first time.
    pub fn newest(&self) -> Option<Newest> {
        let history = self.lock();
        let Held {
            version,
            digest,
            list,
        } = history.as_ref()?.newest();
        Some(Newest {
            version: *version,
            digest: *digest,
            entries: list.len(),
        })
    }

    /// Takes another list, if it is another one.
    fn replace(&self, list: netmon_common::watch::List) -> bool {
        let mut history = self.lock();
        let now_ms = u64::try_from(OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000);
        let now_ms = now_ms.unwrap_or(0);
        let has_changed = match &mut *history {
            Some(history) => history.replace(list, now_ms),
            None => {
                *history = Some(History::new(Held::new(now_ms, list)));
                true
            }
        };
        let digest = history.as_ref().map(|history| history.newest().digest);
        drop(history);
        self.newest.send_if_modified(|known| {
            let is_news = *known != digest;
            *known = digest;
            is_news
        });
        has_changed
    }

    /// What is to be said to an agent that holds a list.
    fn messages(&self, held: Option<Digest>) -> Option<Messages> {
        self.lock().as_ref()?.messages(held)
    }

    fn lock(&self) -> MutexGuard<'_, Option<History>> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks for changes until stopped.
pub(super) async fn watch(shared: Arc<Shared>, stop: CancellationToken) {
    let mut pauses = Pauses::new(&shared.ingest.limits);
    let mut built: Option<Built> = None;
    loop {
        let pause = match look(&shared, &mut built).await {
            Ok(pause) => {
                pauses = Pauses::new(&shared.ingest.limits);
                pause
            }
            Err(error) => {
                let metrics = &shared.ingest.metrics;
                metrics.database_error(DatabaseOperation::WatchList);
                if let Some(suppressed) = shared.database_log.allow() {
                    tracing::warn!(%error, suppressed, "what agents are to watch is not looked for");
                }
                pauses.next()
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// What the list was made of, and when.
struct Built {
    sign: Sign,
    at: Instant,
}

/// Puts the list together if it may have changed; gives how long to wait.
async fn look(shared: &Shared, built: &mut Option<Built>) -> Result<Duration, StoreError> {
    let store: &Store = &shared.ingest.store;
    let started = Instant::now();
    let sign = store.watch_sign().await?;
    let is_known = built.as_ref().is_some_and(|built| {
        built.sign == sign && (sign == Sign::default() || built.at.elapsed() < REBUILD_INTERVAL)
    });
    if is_known {
        return Ok(LOOK_INTERVAL);
    }
    let watchable = store.watchable(&sign).await?;
    let (entries, left_out) = (watchable.list.len(), watchable.left_out);
    // Comparing and naming a million entries takes a while.
    let (list, lists) = (watchable.list, Arc::clone(&shared.ingest.watch_list));
    let replaced = tokio::task::spawn_blocking(move || lists.replace(list)).await;
    if replaced.unwrap_or(false) {
        tracing::info!(
            entries,
            left_out,
            "agents are told what to watch from now on"
        );
    }
    let metrics = &shared.ingest.metrics.watch;
    metrics.listed(shared.ingest.watch_list.newest(), left_out);
    *built = Some(Built {
        sign,
        at: Instant::now(),
    });
    Ok(LOOK_INTERVAL.max(started.elapsed() * BUSY_PART))
}

/// Tells one agent, for as long as its connection lasts, if it takes a watch list.
pub(super) async fn tell(session: &Session) -> Infallible {
    let metrics = &session.shared.ingest.metrics.watch;
    let Some(state) = session.watch_state() else {
        let _counted = metrics.agent(false);
        return pending().await;
    };
    let _counted = metrics.agent(true);
    let mut held = Digest::parse(&state.digest);
    let list = &session.shared.ingest.watch_list;
    let mut newest = list.newest.subscribe();
    loop {
        // Marked as seen before the messages are made: what changes meanwhile is another change.
        newest.borrow_and_update();
        if let Some(messages) = list.messages(held) {
            let octets: usize = messages.pieces.iter().map(bytes::Bytes::len).sum();
            for piece in messages.pieces.iter() {
                session.update(piece.clone()).await;
            }
            metrics.told(messages.is_whole, octets);
            held = Some(messages.to);
        }
        if newest.changed().await.is_err() {
            // The server ends.
            return pending().await;
        }
    }
}
