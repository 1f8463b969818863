//! Botnets: families, their nodes and communications, and statistics that are exact at every moment.
//!
//! A *sighting* is one accepted line of a log, or what a sensor saw of a flow. Sightings are written
//! in transactions that hold everything that follows from them: the nodes, their communications by
//! hour and source, and one row of differences for the statistics (`botnet_deltas`), which somebody
//! folds in later ([`Botnets::fold_once`]). So writers never wait for each other's counters, and what
//! is so at a moment is `botnet_statistics` plus `botnet_deltas`, read in one statement.
//!
//! Transactions lock in one order: the family's row (shared), the chunk, nodes by address, and
//! communications only under the lock of their node. So they cannot deadlock.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, PoisonError, RwLock},
    time::Duration,
};

use netmon_geo::Place;
use sqlx::PgPool;
use tokio::sync::Semaphore;

use super::partitions::Partitions;
use crate::{config, metrics};

mod chunk;
mod commit;
mod days;
mod delete;
pub(crate) mod delta;
mod editions;
mod error;
mod families;
mod fold;
mod gathered;
mod maintain;
mod places;
mod raw;
mod relocate;
mod removal;
mod retry;
mod sighting;
mod sources;
mod timestamp;
mod uploads;
mod write;

pub use chunk::{Chunk, Figures, MAX_REJECTED_LINES, Rejections, StoredChunk};
pub use delete::{Deleted, NodeSelection};
pub use error::BotnetError;
pub use families::{Family, FamilyChange, MAX_ALIASES, MAX_FAMILIES};
pub use fold::{Folded, STATISTICS_LOCK};
pub use maintain::MaintainedBotnets;
pub use raw::{RawChunk, RawChunks};
pub use relocate::{NumberedAtlas, Relocated, RelocatedBatch};
pub use sighting::{Sighting, Traffic};
pub use sources::{MAX_SOURCES, SourceKind};
pub use uploads::Upload;
pub use write::{Prepared, Written};

/// Most raw lines of a chunk: what comes first, these or [`CHUNK_BYTES`], ends it.
pub const CHUNK_LINES: usize = 16_384;

/// Most octets of raw lines of a chunk.
pub const CHUNK_BYTES: usize = 4 << 20;

/// How long a chunk is tried again while the database cannot take it, unless said otherwise.
const PATIENCE: Duration = Duration::from_secs(20);

macro_rules! id {
    ($(#[$meta:meta])* $name:ident($number:ty)) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, sqlx::Type)]
        #[sqlx(transparent)]
        pub struct $name(pub(super) $number);

        impl $name {
            /// The number in the database.
            pub fn number(self) -> $number {
                self.0
            }
        }

        /// For numbers that come from the database.
        impl From<$number> for $name {
            fn from(number: $number) -> Self {
                Self(number)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// A family's number; never given again, also when the family is gone.
    FamilyId(i64)
}
id! {
    /// The number of who saw: a log's source, an agent, the repair.
    SourceId(i32)
}
id! {
    /// The number of the edition of geo files that places were found by.
    EditionId(i32)
}

/// The tables of botnets.
#[derive(Debug)]
pub struct Botnets {
    pool: PgPool,
    settings: config::Botnets,
    metrics: metrics::Botnets,
    partitions: Partitions,
    places: RwLock<HashMap<Place, i32>>,
    sources: RwLock<HashMap<(SourceKind, String), SourceId>>,
    editions: Mutex<HashMap<String, EditionId>>,
    /// Transactions that write sightings at once.
    writers: Semaphore,
    patience: Duration,
}

impl Botnets {
    /// The tables of a database whose migrations are applied.
    pub fn new(pool: PgPool, settings: &config::Botnets) -> Self {
        // The others of the pool are for requests and for agents.
        let most = (pool.options().get_max_connections() as usize * 3 / 4).max(1);
        let writers = (settings.writers as usize).clamp(1, most);
        Self {
            pool,
            settings: settings.clone(),
            metrics: metrics::Botnets::default(),
            partitions: Partitions::default(),
            places: RwLock::default(),
            sources: RwLock::default(),
            editions: Mutex::default(),
            writers: Semaphore::new(writers),
            patience: PATIENCE,
        }
    }

    /// Counts in a server's metrics.
    pub fn with_metrics(mut self, metrics: &metrics::Metrics) -> Self {
        self.metrics = metrics.botnets.clone();
        self
    }

    /// Tries a chunk again for so long while the database cannot take it.
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The database.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Counts what another's transaction wrote by [`Prepared::write`], once it is durable.
    pub(super) fn written(&self, written: Written) {
        self.metrics.written(written);
    }

    /// Looks at the database again before the next sightings: a partition is gone.
    pub(super) fn forget_partitions(&self) {
        self.partitions.forget();
    }

    /// Asks the database again for the numbers of places, sources and editions.
    fn forget_numbers(&self) {
        self.places
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
        self.sources
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
        self.editions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    /// How long things are kept.
    pub fn settings(&self) -> &config::Botnets {
        &self.settings
    }
}
