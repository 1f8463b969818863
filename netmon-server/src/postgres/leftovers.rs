//! Processes of a cluster that outlived the server which started them, if only for a moment.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{PostgresError, supervisor::Control};

/// A fast shutdown, which the kernel has asked for, gets this long to write its checkpoint.
const PATIENCE: [(Duration, Option<Signal>); 3] = [
    (Duration::from_secs(20), Some(Signal::SIGQUIT)),
    (Duration::from_secs(25), Some(Signal::SIGKILL)),
    (Duration::from_secs(30), None),
];

/// Waits until no process of the cluster in `data` is left; helps after twenty seconds.
pub(super) fn wait_until_gone(data: &Path, control: &Control) -> Result<(), PostgresError> {
    let started = Instant::now();
    let mut steps = PATIENCE.iter().peekable();
    loop {
        let left = of(data);
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
fn of(data: &Path) -> Vec<i32> {
    let Ok(data) = data.canonicalize() else {
        return Vec::new();
    };
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| works_in(*pid, &data)).collect()
}

fn works_in(pid: i32, data: &Path) -> bool {
    let link = |name: &str| fs::read_link(format!("/proc/{pid}/{name}"));
    if !link("cwd").is_ok_and(|cwd| cwd == data) {
        return false;
    }
    // A program replaced by an upgrade shows as "postgres (deleted)".
    link("exe").is_ok_and(|program| {
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("postgres") || name.starts_with("initdb")
    })
}

/// Removes a `postmaster.pid` whose number now belongs to another program of the same user.
///
/// PostgreSQL takes such a process for a living predecessor and would refuse to start for ever.
/// Call only when no process of the cluster is left.
pub(super) fn remove_reused_pid_file(data: &Path) {
    let path = data.join("postmaster.pid");
    let Ok(text) = fs::read_to_string(&path) else {
        return;
    };
    let pid = text
        .lines()
        .next()
        .and_then(|line| line.trim().parse::<i32>().ok());
    let reused = pid.is_some_and(|pid| pid > 0 && Path::new(&format!("/proc/{pid}")).exists());
    if reused {
        tracing::info!(
            ?pid,
            "removes a stale postmaster.pid: its number belongs to another program"
        );
        let _ = fs::remove_file(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_merely_works_in_the_directory_is_none_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut sleep = std::process::Command::new("sleep");
        let mut child = sleep.arg("30").current_dir(dir.path()).spawn().unwrap();
        assert!(of(dir.path()).is_empty());
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_pid_file_is_removed_only_if_its_number_lives_on_elsewhere() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("postmaster.pid");
        for (content, kept) in [
            (format!("{}\n/data\n", std::process::id()), false),
            ("2147483647\n/data\n".to_owned(), true),
            ("garbage".to_owned(), true),
        ] {
            fs::write(&path, content).unwrap();
            remove_reused_pid_file(dir.path());
            assert_eq!(path.exists(), kept);
        }
    }
}
