//! Starts PostgreSQL's programs so that they end with the thread that started them.

use std::{
    io,
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, Stdio},
};

use nix::{
    sys::{prctl::set_pdeathsig, signal::Signal},
    unistd::{Pid, getpid, getppid},
};

use super::owner::Owner;

/// What the kernel sends when the starting thread dies. SIGINT is PostgreSQL's fast shutdown: it
/// ends the sessions (whose client is dead anyway), writes a checkpoint and keeps the statistics
/// that autovacuum lives on; SIGQUIT would lose those and cost a crash recovery.
const ON_DEATH_OF_PARENT: Signal = Signal::SIGINT;

/// A command run as `owner`, in a clean environment, in the directory `cwd`.
///
/// The signal follows the *thread* that spawns it: spawn it only from one that lives as long as
/// the server.
pub(super) fn command(program: &Path, owner: &Owner, cwd: &Path) -> Command {
    let mut command = Command::new(program);
    command
        // No PGDATA, PGPORT or locale of whoever started the server.
        .env_clear()
        .env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        )
        .env("LC_ALL", "C")
        .current_dir(cwd)
        .stdin(Stdio::null())
        // Ctrl-C in the terminal reaches the server only, which stops the database last.
        .process_group(0);
    if owner.is_other() {
        command.uid(owner.uid.as_raw()).gid(owner.gid.as_raw());
    }
    let parent = getpid();
    // SAFETY: between fork and exec only async-signal-safe functions are called: prctl(2) and
    // getppid(2), neither of which allocates. std runs this after setuid(2), which would clear
    // the setting.
    unsafe { command.pre_exec(move || end_with_parent(parent)) };
    command
}

fn end_with_parent(parent: Pid) -> io::Result<()> {
    set_pdeathsig(ON_DEATH_OF_PARENT)?;
    // It may have died before the line above.
    match getppid() == parent {
        true => Ok(()),
        false => Err(io::ErrorKind::BrokenPipe.into()),
    }
}
