//! A directory in `/tmp` that one run of a command owns: exclusive by a lock, and cleaned up with
//! every process of the run, however the run ends.
//!
//! A killed process cannot clean up after itself, so a guard process does: it waits for the end of
//! a pipe that only the run holds. If the guard is killed too, the next claim does the same.

mod clean;
pub mod guard;
mod lock;
mod processes;

use std::{
    fs::{self, File},
    io::Write as _,
    os::{fd::AsRawFd as _, unix::process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

pub use self::{clean::clear_abandoned, processes::Owner};
use self::{
    clean::{clean, clear_stale, is_kept},
    lock::{Lock, lock},
};

/// Set for every process of a run, with the run's own value: how they are recognised.
const MARK: &str = "NETMON_RUN";

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
        match lock(command, &path)? {
            Lock::Taken(lock) => Self::start(path, lock),
            Lock::Held(owner) => bail!(
                "`cargo xtask {command}` already runs for this checkout (process {}): stop it \
                 there with Ctrl-C{}",
                owner.pid,
                if command == crate::up::STATE {
                    " or by `cargo xtask down`"
                } else {
                    ""
                }
            ),
        }
    }

    fn start(path: PathBuf, lock: File) -> Result<Self> {
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
