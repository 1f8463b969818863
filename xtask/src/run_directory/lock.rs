//! Whose a directory is: whoever holds the lock in it.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::ErrorKind,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::{Owner, owner};

/// How long the guard of a killed run may take to clean up.
const CLEANING_LIMIT: Duration = Duration::from_secs(90);

/// What came of an attempt to take the lock.
#[derive(Debug)]
pub(super) enum Lock {
    /// It is held as long as the file is open.
    Taken(File),
    /// By a run that is alive.
    Held(Owner),
}

/// Creates the directory and takes its lock, unless a living run has it.
pub(super) fn lock(command: &str, path: &Path) -> Result<Lock> {
    let deadline = Instant::now() + CLEANING_LIMIT;
    let mut told = false;
    loop {
        create(path)?;
        let name = path.join("lock");
        let Ok(file) = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&name)
        else {
            // Removed between the two steps by the run that owned it.
            bail_if_past(deadline, path)?;
            continue;
        };
        if file.try_lock().is_ok() {
            // Whoever removed the directory removed the lock with it: a lock on a file without a
            // name excludes nobody.
            let same = fs::metadata(&name).is_ok_and(|found| {
                file.metadata()
                    .is_ok_and(|held| (held.dev(), held.ino()) == (found.dev(), found.ino()))
            });
            if same {
                return Ok(Lock::Taken(file));
            }
            continue;
        }
        if let Some(owner) = owner(path).filter(Owner::is_alive) {
            return Ok(Lock::Held(owner));
        }
        if !told {
            println!("waiting for the clean-up after a killed `cargo xtask {command}`");
            told = true;
        }
        bail_if_past(deadline, path)?;
        thread::sleep(Duration::from_millis(50));
    }
}

fn bail_if_past(deadline: Instant, path: &Path) -> Result<()> {
    if Instant::now() >= deadline {
        bail!(
            "{} stays locked: remove it when no netmon runs",
            path.display()
        );
    }
    Ok(())
}

/// `/tmp` belongs to everybody: a directory that somebody else prepared is refused.
pub(super) fn create(path: &Path) -> Result<()> {
    match DirBuilder::new().mode(0o711).create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => {
            return Err(error).with_context(|| format!("cannot create {}", path.display()));
        }
    }
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        other => other.with_context(|| format!("cannot look at {}", path.display()))?,
    };
    let own = nix::unistd::geteuid().as_raw();
    if !metadata.is_dir() || metadata.uid() != own || metadata.mode() & 0o022 != 0 {
        bail!(
            "{} is not a directory of this user alone: remove it",
            path.display()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_others_may_write_to_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;

        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("prepared");
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        let error = lock("up", &path).unwrap_err().to_string();
        assert!(
            error.contains("not a directory of this user alone"),
            "{error}"
        );
    }

    #[test]
    fn a_directory_that_another_run_holds_is_told_from_a_free_one() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("run");
        let first = lock("test", &path).unwrap();
        assert!(matches!(first, Lock::Taken(_)));
        let own = Owner::this_process().unwrap();
        fs::write(path.join("owner"), own.to_string()).unwrap();
        assert!(matches!(lock("test", &path), Ok(Lock::Held(owner)) if owner == own));
    }
}
