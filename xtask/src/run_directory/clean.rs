//! Ending what is left of a run, and removing what it wrote.

use std::{
    fs,
    io::ErrorKind,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use super::{
    RunDirectory,
    lock::{Lock, lock},
    owner, processes,
};

/// Cleans up runs that were killed together with their guards, where every run has a directory of
/// its own: those beside `path` whose names start with `prefix` and end as `path` does.
///
/// # Errors
/// When one cannot be removed.
pub fn clear_abandoned(path: &Path, prefix: &str) -> Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.to_str()) else {
        return Ok(());
    };
    let checkout = name.rsplit('-').next().unwrap_or_default();
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let ours = name
            .to_str()
            .is_some_and(|name| name.starts_with(prefix) && name.ends_with(checkout));
        if ours && owner(&entry.path()).is_some_and(|owner| !owner.is_alive()) {
            let path = entry.path();
            // Whoever else holds it is clearing it.
            if let Lock::Taken(lock) = lock("test", &path)? {
                RunDirectory::start(path, lock)?.close()?;
            }
        }
    }
    Ok(())
}

/// Ends every process of the run and removes its directory, or only what the next run must not
/// find when it is kept.
pub(super) fn clean(path: &Path, mark: &str, keep: bool) -> Result<()> {
    let grace = grace(keep);
    processes::end_all(mark, grace);
    processes::end_databases(path, grace);
    if keep {
        let _ = fs::remove_file(path.join("owner"));
        return Ok(());
    }
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        match fs::remove_dir_all(path) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            // A program on its last legs may still write.
            Err(_) if Instant::now() < deadline => thread::sleep(Duration::from_millis(50)),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot remove {}", path.display()));
            }
        }
    }
}

/// Empties the directory of what a killed run left there.
pub(super) fn clear_stale(path: &Path) -> Result<()> {
    let grace = grace(is_kept(path));
    if let Some(previous) = owner(path) {
        println!(
            "cleaning up after process {}, which was killed",
            previous.pid
        );
        processes::end_all(&format!("{}.{}", previous.pid, previous.started), grace);
    }
    processes::end_databases(path, grace);
    if is_kept(path) {
        return Ok(());
    }
    let failure = || format!("cannot empty {}", path.display());
    for entry in fs::read_dir(path).with_context(failure)? {
        let entry = entry.with_context(failure)?;
        if entry.file_name() == "lock" {
            continue;
        }
        if entry.file_type().with_context(failure)?.is_dir() {
            fs::remove_dir_all(entry.path()).with_context(failure)?;
        } else {
            fs::remove_file(entry.path()).with_context(failure)?;
        }
    }
    Ok(())
}

fn grace(keep: bool) -> Duration {
    if keep {
        processes::PATIENT
    } else {
        processes::BRIEF
    }
}

/// Whether the next claim is to go on with it.
pub(super) fn is_kept(path: &Path) -> bool {
    path.join("kept").exists()
}

#[cfg(test)]
mod tests {
    use std::{fs::File, process::Command};

    use super::{
        super::{MARK, Owner, lock::create},
        *,
    };

    #[test]
    fn what_a_killed_run_left_is_removed_and_what_is_kept_stays() {
        let parent = tempfile::tempdir().unwrap();
        for (kept, survives) in [(false, false), (true, true)] {
            let path = parent.path().join(format!("{kept}"));
            create(&path).unwrap();
            fs::create_dir(path.join("data")).unwrap();
            if kept {
                File::create(path.join("kept")).unwrap();
            }
            clear_stale(&path).unwrap();
            assert_eq!(path.join("data").exists(), survives);
        }
    }

    #[test]
    fn an_abandoned_directory_goes_and_one_in_use_stays() {
        let parent = tempfile::tempdir().unwrap();
        let own = Owner::this_process().unwrap();
        let earlier = Owner {
            started: own.started - 1,
            ..own.clone()
        };
        for (name, owner) in [("t-1-ab", &earlier), ("t-2-ab", &own), ("t-3-cd", &earlier)] {
            let path = parent.path().join(name);
            create(&path).unwrap();
            fs::write(path.join("owner"), owner.to_string()).unwrap();
        }
        clear_abandoned(&parent.path().join("t-4-ab"), "t-").unwrap();
        let left = ["t-1-ab", "t-2-ab", "t-3-cd"].map(|name| parent.path().join(name).exists());
        assert_eq!(left, [false, true, true]);
    }

    #[test]
    fn cleaning_ends_the_processes_of_the_run_and_no_other() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("run");
        create(&path).unwrap();
        let sleeper = |mark: &str| {
            let mut command = Command::new("sleep");
            command.arg("60").env(MARK, mark).spawn().unwrap()
        };
        let own = format!("test.{}", std::process::id());
        let (mut ours, mut theirs) = (sleeper(&own), sleeper("another"));
        clean(&path, &own, false).unwrap();
        assert!(!ours.wait().unwrap().success());
        assert!(theirs.try_wait().unwrap().is_none());
        theirs.kill().unwrap();
        theirs.wait().unwrap();
        assert!(!path.exists());
    }
}
