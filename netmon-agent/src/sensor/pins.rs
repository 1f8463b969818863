//! Maps and links that outlive the agent: files on a BPF file system (bpf(2), `BPF_OBJ_PIN`).
//!
//! One folder per network namespace, since an interface's index means nothing outside of its own:
//!
//! ```text
//! /sys/fs/bpf/netmon/net-4026531840/COUNTERS
//!                                   link-2-ingress-1c0ffee1
//!                                   link-2-egress-1c0ffee1
//! ```

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use aya::maps::{MapError, MapInfo};
use netmon_common::{
    counters::{ClassKey, Direction},
    event::NtpEvent,
    loss::Loss,
};
use nix::{
    fcntl::{Flock, FlockArg},
    sys::statfs::{BPF_FS_MAGIC, statfs},
};

/// The maps that are pinned: everything the programs keep.
pub(super) const MAPS: [&str; 4] = ["COUNTERS", "COUNTERS_OF_HIGH_INDEX", "LOSSES", "EVENTS"];

/// The sensor cannot be pinned.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// The folder is not where objects can be pinned.
    #[error(
        "{0} is not on a BPF file system: mount one (mount -t bpf bpf /sys/fs/bpf), or set \
         sensor.pin = false"
    )]
    NotBpf(PathBuf),
    /// The folder cannot be used.
    #[error(
        "cannot pin to {path}: {source}; give the agent's user this folder, or set sensor.pin = \
         false"
    )]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Two agents would take each other's events.
    #[error("another agent has pinned its sensor to {0}: choose another sensor.pin_directory")]
    Busy(PathBuf),
    /// A pinned map cannot be looked at.
    #[error("a pinned map is unusable: {0}; `netmon-agent unpin` removes it")]
    Map(#[from] MapError),
}

/// The folder of this network namespace, held by one agent at a time.
#[derive(Debug)]
pub struct Pins {
    folder: PathBuf,
    _lock: Flock<File>,
}

/// The two links of an interface, as their files are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LinkName {
    pub(super) ifindex: u32,
    pub(super) direction: Direction,
    pub(super) attachment: u32,
}

impl Pins {
    /// Makes the folder under `directory`, and takes it.
    ///
    /// # Errors
    /// See [`PinError`].
    pub fn open(directory: &Path) -> Result<Self, PinError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| PinError::Folder { path, source }
        };
        let existing = directory
            .ancestors()
            .find(|path| path.exists())
            .unwrap_or(directory);
        let kind = statfs(existing).map_err(io::Error::from);
        if kind.map_err(failed(existing))?.filesystem_type() != BPF_FS_MAGIC {
            return Err(PinError::NotBpf(directory.to_owned()));
        }
        let namespace = fs::metadata("/proc/self/ns/net").map_err(failed(directory))?;
        let folder = directory.join(format!("net-{}", namespace.ino()));
        fs::create_dir_all(&folder).map_err(failed(&folder))?;
        let file = File::open(&folder).map_err(failed(&folder))?;
        let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock)
            .map_err(|_| PinError::Busy(folder.clone()))?;
        Ok(Self {
            folder,
            _lock: lock,
        })
    }

    /// The file of a map. That of the ring also says what its records look like: nothing else of it
    /// does.
    pub(super) fn map(&self, name: &str) -> PathBuf {
        match name {
            "EVENTS" => self.folder.join(format!("{name}-{}", NtpEvent::LAYOUT)),
            _ => self.folder.join(name),
        }
    }

    /// The file of a link.
    pub(super) fn link(&self, name: LinkName) -> PathBuf {
        self.folder.join(name.to_string())
    }

    /// Every pinned link.
    pub(super) fn links(&self) -> io::Result<Vec<LinkName>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            found.extend(entry?.file_name().to_str().and_then(LinkName::parse));
        }
        found.sort();
        Ok(found)
    }

    /// Removes the links' files, and with them the links nobody else holds.
    pub(super) fn remove(&self, names: &[LinkName]) {
        for name in names {
            let path = self.link(*name);
            if let Err(error) = fs::remove_file(&path)
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(path = %path.display(), %error, "a pinned link stays");
            }
        }
    }

    /// Removes everything that is pinned: nothing counts any more. Gives how many files there were.
    ///
    /// # Errors
    /// The first file that cannot be removed.
    pub fn clear(&self) -> Result<usize, PinError> {
        let failed = |source| PinError::Folder {
            path: self.folder.clone(),
            source,
        };
        // Maps of other releases too, whatever these call them.
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(failed)? {
            names.push(entry.map_err(failed)?.file_name());
        }
        // Links first: a program without its maps must not run.
        names.sort_by_key(|name| name.to_str().and_then(LinkName::parse).is_none());
        let mut removed = 0;
        for name in names {
            match fs::remove_file(self.folder.join(name)) {
                Ok(()) => removed += 1,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(removed)
    }

    /// The size of the pinned ring buffer, if the pinned maps are of this build's shape; `None`
    /// when nothing is pinned. Maps of another shape are removed: the next agent starts afresh.
    ///
    /// # Errors
    /// [`PinError::Map`] when a map cannot be looked at.
    pub(super) fn ring_bytes(&self) -> Result<Option<u32>, PinError> {
        let shape = |name: &str| -> Result<Option<Shape>, PinError> {
            let path = self.map(name);
            if !path.exists() {
                return Ok(None);
            }
            let info = MapInfo::from_pin(path)?;
            Ok(Some([
                info.key_size(),
                info.value_size(),
                info.max_entries(),
            ]))
        };
        let [counters, high, losses, events] = MAPS.map(shape);
        match Layout::of([counters?, high?, losses?, events?]) {
            Layout::Empty => Ok(None),
            Layout::Ours { ring_bytes } => Ok(Some(ring_bytes)),
            Layout::Foreign => {
                tracing::warn!(
                    "the pinned maps are of another release and are removed: counting starts \
                     afresh, and what passed since the last agent ended is not known"
                );
                self.clear()?;
                Ok(None)
            }
        }
    }
}

/// Key size, value size and number of entries of a map.
type Shape = [u32; 3];

/// What the pinned maps are.
#[derive(Debug, PartialEq, Eq)]
enum Layout {
    /// There are none.
    Empty,
    /// They fit this build's programs.
    Ours { ring_bytes: u32 },
    /// They do not fit, or some are missing.
    Foreign,
}

impl Layout {
    /// From the shapes of [`MAPS`].
    fn of(shapes: [Option<Shape>; MAPS.len()]) -> Self {
        const CAUSES: u32 = Loss::ALL.len() as u32;
        match shapes {
            [None, None, None, None] => Self::Empty,
            [
                Some([4, 32, ClassKey::SLOTS]),
                Some([8, 32, _]),
                Some([4, 8, CAUSES]),
                Some([_, _, ring_bytes]),
            ] => Self::Ours { ring_bytes },
            _ => Self::Foreign,
        }
    }
}

impl LinkName {
    /// Both directions.
    pub(super) fn pair(ifindex: u32, attachment: u32) -> [Self; 2] {
        [Direction::Ingress, Direction::Egress].map(|direction| Self {
            ifindex,
            direction,
            attachment,
        })
    }

    fn parse(name: &str) -> Option<Self> {
        let mut parts = name.strip_prefix("link-")?.splitn(3, '-');
        let ifindex = parts.next()?.parse().ok()?;
        let direction = match parts.next()? {
            "ingress" => Direction::Ingress,
            "egress" => Direction::Egress,
            _ => return None,
        };
        let attachment = u32::from_str_radix(parts.next()?, 16).ok()?;
        Some(Self {
            ifindex,
            direction,
            attachment,
        })
    }
}

impl std::fmt::Display for LinkName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let direction = match self.direction {
            Direction::Ingress => "ingress",
            Direction::Egress => "egress",
        };
        let (ifindex, attachment) = (self.ifindex, self.attachment);
        write!(f, "link-{ifindex}-{direction}-{attachment:08x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_found_again_by_its_name() {
        for name in LinkName::pair(17, 0x0c0f_fee1) {
            assert_eq!(LinkName::parse(&name.to_string()), Some(name));
        }
        for foreign in ["COUNTERS", "link-2", "link-x-ingress-1", "link-2-both-1"] {
            assert_eq!(LinkName::parse(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn maps_of_an_earlier_release_are_not_gone_on_with() {
        let now = [
            [4, 32, ClassKey::SLOTS],
            [8, 32, 36_864],
            [4, 8, 7],
            [0, 0, 4096],
        ];
        assert_eq!(Layout::of(now.map(Some)), Layout::Ours { ring_bytes: 4096 });
        // Before packets were counted by class.
        let before = [[4, 32, 2048], [8, 32, 4096], [4, 8, 7], [0, 0, 4096]];
        assert_eq!(Layout::of(before.map(Some)), Layout::Foreign);
        // The ring of one whose records look otherwise has another name.
        let [counters, high, losses, _] = now.map(Some);
        assert_eq!(Layout::of([counters, high, losses, None]), Layout::Foreign);
        assert_eq!(Layout::of([None; 4]), Layout::Empty);
    }

    #[test]
    fn a_folder_elsewhere_is_refused_with_the_remedy() {
        let error = Pins::open(Path::new("/tmp/netmon-pins-nowhere")).unwrap_err();
        assert!(error.to_string().contains("mount -t bpf"), "{error}");
    }
}
