//! The guard of the disk: warns when space is short, and drops raw days early only if told to.

use std::{fmt, io, path::PathBuf, sync::Arc};

use time::OffsetDateTime;

use super::{
    Series, Store, StoreError, attempt,
    expire::{Dropped, time_duration},
    partitions,
};
use crate::{config::Disk, store::Resolution};

/// Space of a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Free for the database, octets.
    pub free_bytes: u64,
    /// In all, octets.
    pub total_bytes: u64,
}

/// Asks for the space of the file system the database is on.
#[derive(Clone)]
pub(super) struct Probe(Arc<dyn Fn() -> io::Result<Space> + Send + Sync>);

/// What the guard found and did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Guarded {
    /// Space of the managed database's file system; `None`: external, or it cannot be asked.
    pub space: Option<Space>,
    /// Size of the database, if that is bounded, octets.
    pub database_bytes: Option<u64>,
    /// What is short now.
    pub shortage: Option<Shortage>,
    /// Partitions dropped for it, by name.
    pub dropped: Vec<String>,
}

/// What is short.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shortage {
    /// Less of the file system is free than `disk.warn_free_percent`.
    FreeSpace {
        /// What is free, per cent.
        free_percent: f64,
    },
    /// The database is larger than `disk.max_database_bytes`.
    DatabaseSize {
        /// Its size, octets.
        bytes: u64,
    },
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Probe")
    }
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FreeSpace { free_percent } => write!(
                f,
                "{free_percent:.1} % of the database's file system is free, less than \
                 disk.warn_free_percent"
            ),
            Self::DatabaseSize { bytes } => write!(
                f,
                "the database has {bytes} octets, more than disk.max_database_bytes"
            ),
        }
    }
}

impl Space {
    /// Space of the file system that holds a directory, as an unprivileged process sees it.
    ///
    /// # Errors
    /// As statvfs(3).
    pub fn of(directory: &std::path::Path) -> io::Result<Self> {
        let status = nix::sys::statvfs::statvfs(directory)?;
        let block = status.fragment_size();
        Ok(Self {
            free_bytes: status.blocks_available().saturating_mul(block),
            total_bytes: status.blocks().saturating_mul(block),
        })
    }

    fn free_percent(self) -> f64 {
        100.0 * self.free_bytes as f64 / self.total_bytes.max(1) as f64
    }
}

/// What is short, by the settings.
fn shortage(space: Option<Space>, database_bytes: Option<u64>, disk: &Disk) -> Option<Shortage> {
    let free_percent = space.map(Space::free_percent);
    if let Some(free_percent) = free_percent.filter(|free| *free < disk.warn_free_percent) {
        return Some(Shortage::FreeSpace { free_percent });
    }
    let over = |bytes: &u64| disk.max_database_bytes > 0 && *bytes > disk.max_database_bytes;
    let bytes = database_bytes.filter(over)?;
    Some(Shortage::DatabaseSize { bytes })
}

impl Store {
    /// Guards the file system of a directory: that of the managed database.
    pub fn guarding(self, directory: PathBuf) -> Self {
        self.with_free_space(move || Space::of(&directory))
    }

    /// Guards what the function says.
    pub fn with_free_space(
        mut self,
        probe: impl Fn() -> io::Result<Space> + Send + Sync + 'static,
    ) -> Self {
        self.free_space = Some(Probe(Arc::new(probe)));
        self
    }

    /// Looks how much space there is and, if that is short and `disk.shorten_raw` says so, drops the
    /// oldest raw days that are rolled up, until there is enough or only `disk.min_raw` is left.
    ///
    /// # Errors
    /// As [`Store::commit`]; what was dropped until then stays dropped.
    pub async fn guard_once(&self, now: OffsetDateTime) -> Result<Guarded, StoreError> {
        let disk = &self.ageing.disk;
        let mut guarded = Guarded::default();
        loop {
            guarded.space = self.space().await;
            guarded.database_bytes = self.database_bytes().await?;
            guarded.shortage = shortage(guarded.space, guarded.database_bytes, disk);
            if guarded.shortage.is_none() || !disk.shorten_raw {
                return Ok(guarded);
            }
            match self.drop_oldest_raw(now).await? {
                Some(partition) => guarded.dropped.push(partition),
                None => return Ok(guarded),
            }
        }
    }

    /// Drops the oldest raw partition that may go; gives its name.
    async fn drop_oldest_raw(&self, now: OffsetDateTime) -> Result<Option<String>, StoreError> {
        let horizon = now - time_duration(self.ageing.disk.min_raw);
        let mut candidates = Vec::new();
        let all = Series::ALL.iter().copied();
        let raw = |of: &Series| of.resolution() == Resolution::Raw && !of.is_of_botnets();
        for series in all.filter(raw) {
            let mut connection = self.pool.acquire().await?;
            let days = partitions::existing(&mut connection, series).await?;
            let may_go = |day: &partitions::Day| series.partition_end(*day).start() <= horizon;
            candidates.extend(days.into_iter().filter(may_go).map(|day| (day, series)));
        }
        candidates.sort();
        for (day, series) in candidates {
            if self.drop_partition(series, day).await? == Dropped::Gone {
                return Ok(Some(series.partition(day)));
            }
        }
        Ok(None)
    }

    async fn space(&self) -> Option<Space> {
        let Probe(probe) = self.free_space.clone()?;
        // A file system that hangs must not hold up a thread that others need.
        match tokio::task::spawn_blocking(move || probe()).await {
            Ok(Ok(space)) => Some(space),
            Ok(Err(error)) => {
                tracing::warn!(%error, "cannot ask for the free space of the database's file system");
                None
            }
            Err(_) => None,
        }
    }

    async fn database_bytes(&self) -> Result<Option<u64>, StoreError> {
        if self.ageing.disk.max_database_bytes == 0 {
            return Ok(None);
        }
        let size = sqlx::query_scalar("SELECT pg_database_size(current_database())");
        let size: i64 = attempt(async { Ok(size.fetch_one(&self.pool).await?) }).await?;
        Ok(Some(size.unsigned_abs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn space_is_short_below_a_share_of_the_file_system_or_above_a_size() {
        let space = |free_bytes| {
            let total_bytes = 1000;
            Some(Space {
                free_bytes,
                total_bytes,
            })
        };
        let disk = Disk {
            max_database_bytes: 500,
            ..Disk::default()
        };
        let free = |free_percent| Some(Shortage::FreeSpace { free_percent });
        for (space, bytes, expected) in [
            (space(100), None, None),
            (space(99), None, free(9.9)),
            (None, Some(500), None),
            (None, Some(501), Some(Shortage::DatabaseSize { bytes: 501 })),
            (space(50), Some(501), free(5.0)),
        ] {
            assert_eq!(shortage(space, bytes, &disk), expected);
        }
        assert_eq!(shortage(None, Some(u64::MAX), &Disk::default()), None);
    }

    #[test]
    fn a_directory_has_a_file_system() {
        let space = Space::of(std::path::Path::new("/")).unwrap();
        assert!(space.total_bytes > 0 && space.free_bytes <= space.total_bytes);
    }
}
