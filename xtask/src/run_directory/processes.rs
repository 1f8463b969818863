//! Finding and ending the processes of a run: by what they carry or hold, never by name.

use std::{
    fmt, fs,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    path::{Path, PathBuf},
    str::FromStr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use super::MARK;

/// How long a process may take to end before it is killed, where what it has yet to store is kept.
/// The server's own deadline is 20 s.
pub(super) const PATIENT: Duration = Duration::from_secs(25);
/// The same where everything is removed anyway.
pub(super) const BRIEF: Duration = Duration::from_secs(2);
/// How long a PostgreSQL may take to end its processes and give its shared memory back.
const IMMEDIATE: Duration = Duration::from_secs(5);

/// A process, told from a later one with the same id by when it started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The process id.
    pub pid: i32,
    /// Clock ticks from boot to its start.
    pub started: u64,
}

impl Owner {
    /// The process that asks.
    ///
    /// # Errors
    /// When `/proc` is not mounted.
    pub fn this_process() -> Result<Self> {
        let pid = std::process::id().cast_signed();
        let started = start_time(pid).context("cannot read /proc/self/stat")?;
        Ok(Self { pid, started })
    }

    /// Whether it still runs.
    pub fn is_alive(&self) -> bool {
        start_time(self.pid) == Some(self.started)
    }

    /// Asks it to end.
    pub fn terminate(&self) {
        self.signal(libc::SIGTERM);
    }

    /// Ends it.
    pub fn kill(&self) {
        self.signal(libc::SIGKILL);
    }

    fn signal(&self, signal: libc::c_int) {
        signal_if(self.pid, signal, || self.is_alive());
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.pid, self.started)
    }
}

impl FromStr for Owner {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (pid, started) = text
            .trim()
            .split_once(' ')
            .context("two numbers expected")?;
        Ok(Self {
            pid: pid.parse()?,
            started: started.parse()?,
        })
    }
}

/// Ends every process that carries `mark`, first asking, then killing.
pub(super) fn end_all(mark: &str, grace: Duration) {
    let entry = format!("{MARK}={mark}");
    end(
        &[(libc::SIGTERM, grace)],
        || processes().filter(|pid| carries(*pid, &entry)).collect(),
        |pid| carries(pid, &entry),
    );
}

/// Ends every PostgreSQL whose data directory lies under `directory`. It runs as another user and
/// overwrites its environment, but its working directory is the one that holds its pid file.
pub(super) fn end_databases(directory: &Path, grace: Duration) {
    let mut clusters = Vec::new();
    find_clusters(directory, 4, &mut clusters);
    for cluster in clusters {
        let is_its_postmaster = |pid: i32| {
            is_running(pid)
                && fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == cluster)
        };
        let find = || {
            let file = fs::read_to_string(cluster.join("postmaster.pid")).unwrap_or_default();
            let pid = file.lines().next().and_then(|line| line.parse().ok());
            pid.filter(|pid| is_its_postmaster(*pid))
                .into_iter()
                .collect()
        };
        // Fast shutdown: sessions are ended, the cluster stays consistent. Then immediate shutdown:
        // the shared memory of a killed one would stay.
        let requests = [(libc::SIGINT, grace), (libc::SIGQUIT, IMMEDIATE)];
        end(&requests, find, is_its_postmaster);
    }
}

fn find_clusters(directory: &Path, depth: u32, found: &mut Vec<PathBuf>) {
    if directory.join("postmaster.pid").exists()
        && let Ok(directory) = directory.canonicalize()
    {
        found.push(directory);
        return;
    }
    if depth == 0 {
        return;
    }
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            find_clusters(&entry.path(), depth - 1, found);
        }
    }
}

/// Sends one request after the other, each with its patience, to what `find` finds until nothing
/// is left, and kills what outlives them.
fn end(
    requests: &[(libc::c_int, Duration)],
    find: impl Fn() -> Vec<i32>,
    still: impl Fn(i32) -> bool,
) {
    for (request, patience) in requests {
        let deadline = Instant::now() + *patience;
        let mut asked: Vec<i32> = Vec::new();
        while Instant::now() < deadline {
            let found = find();
            if found.is_empty() {
                return;
            }
            for pid in found {
                // Once: a second request can mean something else to a program.
                if !asked.contains(&pid) {
                    signal_if(pid, *request, || still(pid));
                    asked.push(pid);
                }
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
    let deadline = Instant::now() + Duration::from_secs(5);
    while Instant::now() < deadline {
        let found = find();
        if found.is_empty() {
            return;
        }
        for pid in found {
            signal_if(pid, libc::SIGKILL, || still(pid));
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Sends `signal` to the process if it is the right one: asked after it can no longer be mistaken.
fn signal_if(pid: i32, signal: libc::c_int, is_right: impl FnOnce() -> bool) {
    // SAFETY: pidfd_open takes no pointer; the descriptor is new and nobody else's. Linux 5.3.
    let process = unsafe {
        let fd = libc::syscall(libc::SYS_pidfd_open, pid, 0);
        let Ok(fd @ 0..) = i32::try_from(fd) else {
            return;
        };
        OwnedFd::from_raw_fd(fd)
    };
    if is_right() {
        let no_information = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: a null siginfo is allowed.
        unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                process.as_raw_fd(),
                signal,
                no_information,
                0,
            );
        }
    }
}

fn processes() -> impl Iterator<Item = i32> {
    let own = std::process::id().cast_signed();
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(move |pid| *pid != own)
}

fn carries(pid: i32, entry: &str) -> bool {
    is_running(pid)
        && fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environment| {
            environment
                .split(|byte| *byte == 0)
                .any(|variable| variable == entry.as_bytes())
        })
}

fn is_running(pid: i32) -> bool {
    start_time(pid).is_some()
}

/// When the process started (proc(5), field 22 of stat); `None` when it has ended, also when nobody
/// has collected its exit status.
fn start_time(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, parentheses included.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_told_from_a_later_one_with_its_id() {
        let own = Owner::this_process().unwrap();
        assert!(own.is_alive());
        let earlier = Owner {
            started: own.started - 1,
            ..own.clone()
        };
        assert!(!earlier.is_alive());
        assert_eq!(own.to_string().parse::<Owner>().unwrap(), own);
    }

    #[test]
    fn who_ignores_the_first_request_gets_the_second() {
        let mut child = std::process::Command::new("sh")
            .args([
                "-c",
                "trap '' INT; trap 'exit 7' QUIT; echo; while :; do sleep 0.05; done",
            ])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        // It has set its traps.
        let output = child.stdout.take().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(output), &mut String::new())
            .unwrap();
        let pid = child.id().cast_signed();
        let find = || is_running(pid).then_some(pid).into_iter().collect();
        let brief = Duration::from_millis(100);
        let requests = [(libc::SIGINT, brief), (libc::SIGQUIT, IMMEDIATE)];
        end(&requests, find, |_| true);
        assert_eq!(child.wait().unwrap().code(), Some(7));
    }

    #[test]
    fn a_process_that_has_ended_but_was_not_collected_is_not_running() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id().cast_signed();
        netmon_lab::wait_until(Duration::from_secs(5), "the end", || {
            (!is_running(pid)).then_some(())
        })
        .unwrap();
        child.wait().unwrap();
    }
}
