//! The files of a spool on disk.

use std::{
    fs::{self, DirBuilder, File, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use netmon_common::wire::KINDS;

use super::{
    record::MAX_SEGMENT_BYTES,
    segment::SegmentKey,
    state::{Held, State, StateFile},
};

const LOCK: &str = "lock";
const STATE: &str = "state";
const EXTENSION: &str = ".seg";

/// The spool's directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It cannot be made or entered.
    #[error(
        "cannot use {path} as spool.directory: {source}; name one the agent may write to, or none \
         (\"\") to keep batches in memory"
    )]
    Unusable {
        /// Which file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another agent has it.
    #[error("another agent uses spool.directory {0}; each needs its own")]
    Locked(PathBuf),
    /// A later release wrote it.
    #[error(
        "{path} is of spool format {version}, which this release does not know: run the newer \
         agent again, or name another spool.directory"
    )]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
}

/// An open directory that no other agent uses.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    handle: File,
    state: StateFile,
    _lock: File,
    /// Called after each change on disk.
    #[cfg(test)]
    pub(super) on_step: Option<super::tests::OnStep>,
}

/// A segment that is written to.
#[derive(Debug)]
pub struct SegmentFile {
    file: File,
    length: u64,
}

impl Directory {
    /// Opens a directory, or makes it, for its owner alone.
    pub fn open(path: &Path) -> Result<(Self, Option<Box<State>>), OpenError> {
        let unusable = |path: &Path| {
            let path = path.to_owned();
            move |source| OpenError::Unusable { path, source }
        };
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(path).map_err(unusable(path))?;
        let lock = open_file(&path.join(LOCK)).map_err(unusable(&path.join(LOCK)))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::Locked(path.to_owned())),
            Err(TryLockError::Error(source)) => return Err(unusable(path)(source)),
        }
        let handle = File::open(path).map_err(unusable(path))?;
        let state_path = path.join(STATE);
        let (state, held) = open_file(&state_path)
            .and_then(StateFile::open)
            .map_err(unusable(&state_path))?;
        let held = match held {
            Held::State(held) => held,
            Held::Newer(version) => {
                return Err(OpenError::Newer {
                    path: state_path,
                    version,
                });
            }
        };
        let directory = Self {
            path: path.to_owned(),
            handle,
            state,
            _lock: lock,
            #[cfg(test)]
            on_step: None,
        };
        Ok((directory, held))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Every segment, in order. Files with other names are not ours.
    ///
    /// # Errors
    /// When the directory cannot be listed.
    pub fn segments(&self) -> io::Result<Vec<SegmentKey>> {
        Ok(list(&self.path)?.into_iter().map(|(key, _)| key).collect())
    }

    /// The path of a segment.
    pub fn path_of(&self, key: SegmentKey) -> PathBuf {
        let name = format!("{}-{}-{}{EXTENSION}", key.kind.name(), key.epoch, key.first);
        self.path.join(name)
    }

    /// A segment's bytes, as far as a segment may reach.
    ///
    /// # Errors
    /// When it is not there or the disk fails.
    pub fn read(&self, key: SegmentKey) -> io::Result<Vec<u8>> {
        let file = File::open(self.path_of(key))?;
        let length = file.metadata()?.len().min(MAX_SEGMENT_BYTES as u64);
        let mut bytes = vec![0; length as usize];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    /// Part of a segment.
    ///
    /// # Errors
    /// When it is not there or the disk fails.
    pub fn read_at(&self, key: SegmentKey, offset: u32, bytes: u32) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; bytes as usize];
        let file = File::open(self.path_of(key))?;
        file.read_exact_at(&mut buffer, offset.into())?;
        Ok(buffer)
    }

    /// A new segment with its first bytes; nothing is left of it when they cannot be written.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn create(&mut self, key: SegmentKey, bytes: &[u8]) -> io::Result<SegmentFile> {
        let path = self.path_of(key);
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        let written = file.write_all_at(bytes, 0);
        if let Err(error) = written {
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        self.step("create");
        Ok(SegmentFile {
            file,
            length: bytes.len() as u64,
        })
    }

    /// Appends a record by one write.
    ///
    /// # Errors
    /// When the disk does not take it; [`SegmentFile::is_whole`] says whether the segment may still
    /// be appended to.
    pub fn append(&mut self, segment: &mut SegmentFile, bytes: &[u8]) -> io::Result<()> {
        match segment.file.write_all_at(bytes, segment.length) {
            Ok(()) => {
                segment.length += bytes.len() as u64;
                self.step("append");
                Ok(())
            }
            Err(error) => {
                // What was written of it is cut off; recovery does the same if this fails too.
                let _ = segment.file.set_len(segment.length);
                Err(error)
            }
        }
    }

    /// Cuts a segment after its last whole record.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn truncate(&mut self, key: SegmentKey, length: u64) -> io::Result<()> {
        let file = File::options().write(true).open(self.path_of(key))?;
        file.set_len(length)?;
        self.step("truncate");
        Ok(())
    }

    /// Deletes a segment; one that is gone is as good as deleted.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn delete(&mut self, key: SegmentKey) -> io::Result<()> {
        match fs::remove_file(self.path_of(key)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => {
                self.step("delete");
                Ok(())
            }
        }
    }

    /// Writes the state file.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn write_state(&mut self, state: &State, sync: bool) -> io::Result<()> {
        self.state.write(state, sync)?;
        self.step("state");
        Ok(())
    }

    /// Makes names of new and deleted files last.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn sync(&self) -> io::Result<()> {
        self.handle.sync_all()
    }

    /// From now on the state file cannot be written, as on a disk that has become read-only.
    #[cfg(test)]
    pub(super) fn freeze_state(&mut self) {
        let file = File::open(self.path.join(STATE)).expect("it is open already");
        self.state = StateFile::open(file).expect("it has its size").0;
    }

    #[cfg(test)]
    fn step(&mut self, name: &'static str) {
        if let Some(on_step) = &mut self.on_step {
            on_step.0(&self.path, name);
        }
    }

    #[cfg(not(test))]
    fn step(&mut self, _name: &'static str) {}
}

impl SegmentFile {
    /// Octets.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Whether the file ends with its last record.
    pub fn is_whole(&self) -> bool {
        self.file
            .metadata()
            .is_ok_and(|metadata| metadata.len() == self.length)
    }

    /// Makes its contents last.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// Every segment in a directory, in order.
pub(super) fn list(path: &Path) -> io::Result<Vec<(SegmentKey, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if let Some(key) = entry.file_name().to_str().and_then(key_of) {
            found.push((key, entry.path()));
        }
    }
    found.sort();
    Ok(found)
}

fn open_file(path: &Path) -> io::Result<File> {
    File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

fn key_of(name: &str) -> Option<SegmentKey> {
    let mut parts = name.strip_suffix(EXTENSION)?.split('-');
    let (kind, epoch, first) = (parts.next()?, parts.next()?, parts.next()?);
    let key = SegmentKey {
        kind: KINDS.into_iter().find(|known| known.name() == kind)?,
        epoch: epoch.parse().ok()?,
        first: first.parse().ok().filter(|first| *first > 0)?,
    };
    parts.next().is_none().then_some(key)
}
