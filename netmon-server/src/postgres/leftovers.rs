//! Processes of a cluster that outlived the server which started them, if only for a moment.

use std::{
    ffi::OsStr,
    fs, io,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, Uid},
};

use super::{PostgresError, supervisor::Control};

/// A fast shutdown, which the kernel has asked for, gets this long to write its checkpoint.
const PATIENCE: [(Duration, Option<Signal>); 3] = [
    (Duration::from_secs(20), Some(Signal::SIGQUIT)),
    (Duration::from_secs(25), Some(Signal::SIGKILL)),
    (Duration::from_secs(30), None),
];

/// Waits until no process of the cluster in `data`, run by `user`, is left; helps after twenty
/// seconds.
pub(super) fn wait_until_gone(
    data: &Path,
    user: Uid,
    control: &Control,
) -> Result<(), PostgresError> {
    let started = Instant::now();
    let mut steps = PATIENCE.iter().peekable();
    loop {
        let left = of(data, user);
        if left.is_empty() {
            return Ok(());
        }
        if let Some((_, signal)) = steps.next_if(|(after, _)| started.elapsed() >= *after) {
            let Some(signal) = *signal else {
                return Err(PostgresError::Leftovers(left));
            };
            tracing::warn!(pids = ?left, %signal, "ends database processes of an earlier run");
            for pid in left {
                let _ = kill(Pid::from_raw(pid), signal);
            }
        }
        if control.pause(Duration::from_millis(50)) {
            return Err(PostgresError::Stopped);
        }
    }
}

/// Every process of PostgreSQL that works in the directory `data`: all of them change to it.
fn of(data: &Path, user: Uid) -> Vec<i32> {
    let Ok(data) = data.canonicalize() else {
        return Vec::new();
    };
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| works_in(*pid, &data, user)).collect()
}

fn works_in(pid: i32, data: &Path, user: Uid) -> bool {
    match link(pid, "cwd") {
        Ok(cwd) if cwd == data => {}
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return is_database(pid, user) && serves(pid, data);
        }
        _ => return false,
    }
    // A program replaced by an upgrade shows as "postgres (deleted)".
    link(pid, "exe").is_ok_and(|program| is_program(program.file_name().unwrap_or_default()))
}

fn link(pid: i32, name: &str) -> io::Result<PathBuf> {
    fs::read_link(format!("/proc/{pid}/{name}"))
}

fn is_program(name: &OsStr) -> bool {
    let name = name.as_bytes();
    name.starts_with(b"postgres") || name.starts_with(b"initdb")
}

/// Whether the process is a PostgreSQL of `user`, by what anybody may read: links of another
/// user's process are closed to a root without `CAP_SYS_PTRACE`.
fn is_database(pid: i32, user: Uid) -> bool {
    let of_user =
        fs::metadata(format!("/proc/{pid}")).is_ok_and(|meta| meta.uid() == user.as_raw());
    of_user
        && fs::read(format!("/proc/{pid}/comm"))
            .is_ok_and(|name| is_program(OsStr::from_bytes(&name)))
}

/// The same where only the arguments can be read: a postmaster names its directory, its children
/// have a title instead. `user` may run other clusters, which must not be touched.
fn serves(pid: i32, data: &Path) -> bool {
    let Ok(arguments) = fs::read(format!("/proc/{pid}/cmdline")) else {
        return false;
    };
    if !arguments.starts_with(b"postgres: ") {
        return names(&arguments, data);
    }
    // Without a postmaster it is on its way out, and safe to end whosever it is.
    let parent = parent(pid).and_then(|parent| fs::read(format!("/proc/{parent}/cmdline")).ok());
    parent.is_none_or(|parent| {
        let program = parent.split(|byte| *byte == 0).next().unwrap_or_default();
        let program = Path::new(OsStr::from_bytes(program)).file_name();
        !program.is_some_and(is_program) || names(&parent, data)
    })
}

fn names(arguments: &[u8], data: &Path) -> bool {
    let mut arguments = arguments.split(|byte| *byte == 0);
    arguments.any(|argument| argument == data.as_os_str().as_bytes())
}

fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, parentheses included.
    let (_, fields) = stat.rsplit_once(") ")?;
    fields.split(' ').nth(1)?.parse().ok()
}

/// Removes those of the cluster's lock files whose number now belongs to another program.
///
/// PostgreSQL takes such a process, if it is of the same user, for a living predecessor and would
/// refuse to start for ever. Call only when no process of the cluster in `data` is left.
pub(super) fn remove_reused_lock_files(data: &Path, socket_lock: &Path, user: Uid) {
    for path in [&data.join("postmaster.pid"), socket_lock] {
        let Ok(text) = fs::read_to_string(path) else {
            continue;
        };
        // Negative for a PostgreSQL without a postmaster.
        let pid = text.lines().next().and_then(|line| {
            let pid = line.trim().trim_start_matches('-').parse::<i32>().ok()?;
            (pid > 0 && Path::new(&format!("/proc/{pid}")).exists()).then_some(pid)
        });
        let Some(pid) = pid else {
            continue;
        };
        let unknown =
            link(pid, "cwd").is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied);
        if unknown && is_database(pid, user) {
            tracing::warn!(pid, ?path, "keeps a lock file: its number is a database's");
            continue;
        }
        tracing::info!(
            pid,
            ?path,
            "removes a stale lock file: its number belongs to another program"
        );
        let _ = fs::remove_file(path);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::{fs::PermissionsExt, process::CommandExt},
        process::{Child, Command, Stdio},
    };

    use nix::unistd::geteuid;
    use tempfile::TempDir;

    use super::*;

    const NOBODY: Uid = Uid::from_raw(65534);

    #[test]
    fn a_program_that_merely_works_in_the_directory_is_none_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut sleep = Command::new("sleep");
        let mut child = sleep.arg("30").current_dir(dir.path()).spawn().unwrap();
        assert!(of(dir.path(), geteuid()).is_empty());
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_lock_file_is_removed_only_if_its_number_lives_on_elsewhere() {
        let dir = tempfile::tempdir().unwrap();
        let files = ["postmaster.pid", ".s.PGSQL.5432.lock"].map(|name| dir.path().join(name));
        for (content, kept) in [
            (format!("{}\n/data\n", std::process::id()), false),
            (format!("-{}\n/data\n", std::process::id()), false),
            ("2147483647\n/data\n".to_owned(), true),
            ("garbage".to_owned(), true),
        ] {
            for file in &files {
                fs::write(file, &content).unwrap();
            }
            remove_reused_lock_files(dir.path(), &files[1], geteuid());
            assert_eq!([kept; 2], [files[0].exists(), files[1].exists()]);
        }
    }

    #[test]
    fn a_database_whose_directory_cannot_be_seen_is_found_and_its_lock_files_stay() {
        if !geteuid().is_root() {
            return;
        }
        let (ours, theirs) = (open_dir(), open_dir());
        let mut postmasters = [&ours, &theirs].map(|dir| postmaster(dir.path()));
        lose_cap_sys_ptrace();
        let pid = postmasters[0].id().cast_signed();
        assert!(link(pid, "cwd").is_err(), "the capability is still there");

        assert_eq!(of(ours.path(), NOBODY), [pid]);
        assert!(of(ours.path(), Uid::from_raw(65533)).is_empty());
        let files = ["postmaster.pid", "socket.lock"].map(|name| ours.path().join(name));
        for file in &files {
            fs::write(file, format!("{pid}\n")).unwrap();
        }
        remove_reused_lock_files(ours.path(), &files[1], NOBODY);
        assert!(files.iter().all(|file| file.exists()));

        for postmaster in &mut postmasters {
            postmaster.kill().unwrap();
            postmaster.wait().unwrap();
        }
        assert!(of(ours.path(), NOBODY).is_empty());
    }

    fn open_dir() -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        dir
    }

    /// What looks like one: waits for input that never comes.
    fn postmaster(data: &Path) -> Child {
        let program = data.join("postgres");
        fs::write(&program, "#!/bin/sh\nread nothing\n").unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let mut command = Command::new(&program);
        command.arg("-D").arg(data).current_dir(data);
        command.uid(NOBODY.as_raw()).stdin(Stdio::piped());
        command.spawn().unwrap()
    }

    /// From this thread only.
    fn lose_cap_sys_ptrace() {
        const VERSION_3: u32 = 0x2008_0522;
        const CAP_SYS_PTRACE: u32 = 19;
        let header = [VERSION_3, 0];
        // Effective, permitted and inheritable; then the same for the numbers from 32.
        let mut sets = [0_u32; 6];
        // SAFETY: the header is of version 3, whose data is two times three words.
        unsafe {
            let got = libc::syscall(libc::SYS_capget, header.as_ptr(), sets.as_mut_ptr());
            assert_eq!(got, 0);
            sets[0] &= !(1 << CAP_SYS_PTRACE);
            let set = libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr());
            assert_eq!(set, 0);
        }
    }
}
