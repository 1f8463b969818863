//! A directory in `/tmp` that one run of a command owns: exclusive by a lock, and cleaned up with
//! every process of the run, however the run ends.
//!
//! A killed process cannot clean up after itself, so a guard process does: it waits for the end of
//! a pipe that only the run holds. If the guard is killed too, the next claim does the same.

pub mod guard;
mod processes;

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{ErrorKind, Write as _},
    os::{
        fd::AsRawFd as _,
        unix::{
            fs::{DirBuilderExt as _, MetadataExt as _},
            process::CommandExt as _,
        },
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

pub use self::processes::Owner;

/// Set for every process of a run, with the run's own value: how they are recognised.
const MARK: &str = "NETMON_RUN";
/// How long the guard of a killed run may take to clean up.
const CLEANING_LIMIT: Duration = Duration::from_secs(90);

/// A claimed directory; dropping it ends what is left of the run and removes it.
#[derive(Debug)]
pub struct RunDirectory {
    path: PathBuf,
    mark: String,
    keep: bool,
    guard: Option<Child>,
    /// Held until the end; the guard holds it as well.
    _lock: File,
}

impl RunDirectory {
    /// Makes `path` the directory of this run of `command`. What a killed run left there is ended
    /// and removed first, except what it was told to keep.
    ///
    /// # Errors
    /// When another run owns it, or the path belongs to somebody else.
    pub fn claim(command: &str, path: PathBuf) -> Result<Self> {
        let lock = lock(command, &path)?;
        clear_stale(&path)?;
        let own = Owner::this_process()?;
        let mark = format!("{}.{}", own.pid, own.started);
        fs::write(path.join("owner"), format!("{own}\n"))
            .with_context(|| format!("cannot write to {}", path.display()))?;
        let guard = start_guard(&path, &mark, &lock)?;
        Ok(Self {
            keep: is_kept(&path),
            path,
            mark,
            guard: Some(guard),
            _lock: lock,
        })
    }

    /// Where it is. Other users can pass through but not look.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves the directory in place at the end, for the next claim to go on with.
    ///
    /// # Errors
    /// When the mark for it cannot be written.
    pub fn keep(&mut self) -> Result<()> {
        File::create(self.path.join("kept")).context("cannot mark the directory as kept")?;
        self.keep = true;
        Ok(())
    }

    /// Whether the directory stays at the end.
    pub fn is_kept(&self) -> bool {
        self.keep
    }

    /// Forgets an earlier [`RunDirectory::keep`].
    pub fn forget(&mut self) {
        let _ = fs::remove_file(self.path.join("kept"));
        self.keep = false;
    }

    /// Makes `command` a process of this run.
    pub fn mark<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env(MARK, &self.mark)
    }

    /// Tells the guard that the terminal shows the live view, for it to restore.
    pub fn note_live_view(&mut self) {
        self.tell_guard("view\n");
    }

    /// Ends the run: ends its remaining processes and removes the directory unless it is kept.
    ///
    /// # Errors
    /// When the directory cannot be removed.
    pub fn close(mut self) -> Result<()> {
        self.clean()
    }

    fn clean(&mut self) -> Result<()> {
        if self.guard.is_none() {
            return Ok(());
        }
        let result = clean(&self.path, &self.mark, self.keep);
        self.tell_guard("done\n");
        if let Some(mut guard) = self.guard.take() {
            drop(guard.stdin.take());
            let _ = guard.wait();
        }
        result
    }

    fn tell_guard(&mut self, word: &str) {
        if let Some(pipe) = self.guard.as_mut().and_then(|guard| guard.stdin.as_mut()) {
            // A guard that is gone cannot be told; the next claim does its work.
            let _ = pipe.write_all(word.as_bytes());
        }
    }
}

impl Drop for RunDirectory {
    fn drop(&mut self) {
        if let Err(error) = self.clean() {
            eprintln!("{error:#}");
        }
    }
}

/// Who owns the directory, or owned it when it was killed.
pub fn owner(path: &Path) -> Option<Owner> {
    fs::read_to_string(path.join("owner")).ok()?.parse().ok()
}

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
            RunDirectory::claim("test", entry.path())?.close()?;
        }
    }
    Ok(())
}

/// Ends every process of the run and removes its directory, or only what the next run must not
/// find when it is kept.
fn clean(path: &Path, mark: &str, keep: bool) -> Result<()> {
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

fn clear_stale(path: &Path) -> Result<()> {
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

fn is_kept(path: &Path) -> bool {
    path.join("kept").exists()
}

/// Creates the directory and takes its lock.
fn lock(command: &str, path: &Path) -> Result<File> {
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
                return Ok(file);
            }
            continue;
        }
        if let Some(owner) = owner(path).filter(Owner::is_alive) {
            bail!(
                "`cargo xtask {command}` already runs for this checkout (process {}): stop it \
                 there with Ctrl-C{}",
                owner.pid,
                if command == crate::up::STATE {
                    " or by `cargo xtask down`"
                } else {
                    ""
                }
            );
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
fn create(path: &Path) -> Result<()> {
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

fn start_guard(path: &Path, mark: &str, lock: &File) -> Result<Child> {
    let mut command = Command::new("/proc/self/exe");
    command
        .args(["guard", "--mark", mark, "--directory"])
        .arg(path)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null());
    let lock = lock.as_raw_fd();
    // SAFETY: setsid and fcntl are async-signal-safe.
    unsafe {
        command.pre_exec(move || {
            // Out of reach of the terminal's signals.
            libc::setsid();
            // The lock is shared: it ends with the last of the two.
            libc::fcntl(lock, libc::F_SETFD, 0);
            Ok(())
        });
    }
    command.spawn().context("cannot start the guard")
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
