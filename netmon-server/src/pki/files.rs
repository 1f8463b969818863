//! Certificate and key files: written whole or not at all, keys readable by their owner only.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, chown, fchown},
    path::{Path, PathBuf},
};

use nix::fcntl::{Flock, FlockArg};

use super::PkiError;

/// Who may read a file.
#[derive(Clone, Copy)]
pub(super) enum Readers {
    Everyone,
    Owner,
}

impl Readers {
    fn mode(self) -> u32 {
        match self {
            Self::Everyone => 0o644,
            Self::Owner => 0o600,
        }
    }
}

/// Creates `path`, 0700, unless it exists; its parents as usual.
pub(super) fn create_private_dir(path: &Path) -> Result<(), PkiError> {
    let create = || {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
            Ok(()) => give_to_owner_of_parent(&File::open(path)?, path),
        }
    };
    create().map_err(failed("create", path))
}

/// Holds the directory for one process: whoever comes second sees the first one's files.
pub(super) fn lock(dir: &Path) -> Result<Flock<File>, PkiError> {
    let path = dir.join(".lock");
    let open = || {
        let mut options = OpenOptions::new();
        let file = options
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)?;
        give_to_owner_of_parent(&file, &path)?;
        Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno.into())
    };
    open().map_err(failed("lock", &path))
}

/// The file's text, or none if there is no such file.
pub(super) fn read(path: &Path) -> Result<Option<String>, PkiError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", path)(error)),
    }
}

/// Tells one state of a file from another without reading it: inode, length and time of the last
/// change; none for one that is missing.
pub(super) type Stamp = Option<(u64, u64, i64, i64)>;

/// The state of the file now.
pub(super) fn stamp(path: &Path) -> Stamp {
    let file = fs::metadata(path).ok()?;
    Some((file.ino(), file.size(), file.mtime(), file.mtime_nsec()))
}

/// Replaces `path` at once: a reader sees the old content or the new one, also after a power cut.
pub(super) fn replace(path: &Path, content: &str, readers: Readers) -> Result<(), PkiError> {
    let fresh = PathBuf::from(format!("{}.new-{}", path.display(), std::process::id()));
    let write = || {
        // Of a process that was killed here and had the same number: in a container all have.
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        create(&fresh, content, readers)?;
        // Whoever could read the old one is to read the new one.
        if nix::unistd::geteuid().is_root()
            && let Ok(old) = fs::metadata(path)
        {
            chown(&fresh, Some(old.uid()), Some(old.gid()))?;
        }
        fs::rename(&fresh, path)?;
        File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
    };
    write().map_err(|error| {
        let _ = fs::remove_file(&fresh);
        failed("write", path)(error)
    })
}

/// Writes a file that must not exist yet.
pub(super) fn create(path: &Path, content: &str, readers: Readers) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(readers.mode())
        .open(path)?;
    give_to_owner_of_parent(&file, path)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()
}

/// A certificate issued by root belongs to the user the server runs as.
fn give_to_owner_of_parent(file: &File, path: &Path) -> io::Result<()> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    let Some(parent) = path.parent() else {
        return Ok(());
    };
    let owner = fs::metadata(parent)?;
    fchown(file, Some(owner.uid()), Some(owner.gid()))
}

pub(super) fn failed(action: &'static str, path: &Path) -> impl Fn(io::Error) -> PkiError {
    let path = path.to_owned();
    move |source| PkiError::File {
        action,
        path: path.clone(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_readable_by_its_owner_only_and_replaced_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.pem");
        let left_over = format!("key.pem.new-{}", std::process::id());
        fs::write(dir.path().join(left_over), "half").unwrap();
        replace(&path, "first", Readers::Owner).unwrap();
        replace(&path, "second", Readers::Owner).unwrap();
        assert_eq!(read(&path).unwrap().as_deref(), Some("second"));
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
