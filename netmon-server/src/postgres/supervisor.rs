//! The thread that keeps PostgreSQL running.

use std::{
    io::{self, Write},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::{
        signal::{Signal, kill},
        wait::{Id, WaitPidFlag, waitid},
    },
    unistd::Pid,
};
use tokio::sync::oneshot;

use super::{PostgresError, cluster::Cluster, leftovers, log};

/// Pauses between attempts to start: doubled from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(30);

/// Who ran this long has not failed to start.
const PROVEN: Duration = Duration::from_secs(30);

/// How long PostgreSQL gets to follow each signal at the stop: fast shutdown, immediate shutdown,
/// death (its other processes notice the latter by themselves).
const STOP: [(Signal, Duration); 3] = [
    (Signal::SIGINT, Duration::from_secs(10)),
    (Signal::SIGQUIT, Duration::from_secs(2)),
    (Signal::SIGKILL, Duration::from_secs(1)),
];

/// Keeps the cluster running until it is stopped or dropped.
#[derive(Debug)]
pub struct Supervisor {
    control: Arc<Control>,
}

impl Supervisor {
    /// Starts the thread. It first makes the cluster if there is none, and tells the receiver how
    /// that went; after a failure it does nothing more.
    pub fn start(
        cluster: Arc<Cluster>,
    ) -> Result<(Self, oneshot::Receiver<Result<(), PostgresError>>), PostgresError> {
        let control = Arc::new(Control::default());
        let (prepared, receiver) = oneshot::channel();
        let of_thread = Arc::clone(&control);
        thread::Builder::new()
            .name("postgres".to_owned())
            .spawn(move || {
                let outcome = cluster.prepare(&of_thread);
                let usable = outcome.is_ok();
                // Who has stopped listening is about to stop this too.
                let _ = prepared.send(outcome);
                if usable {
                    keep_running(&cluster, &of_thread);
                }
                of_thread.finish();
            })
            .map_err(|source| PostgresError::Spawn {
                program: "a thread".into(),
                source,
            })?;
        Ok((Self { control }, receiver))
    }

    /// Stops PostgreSQL and blocks until it is gone, at most 13 seconds.
    pub fn stop(self) {
        for (signal, patience) in STOP {
            self.control.request_stop(signal);
            if self.control.wait_finished(patience) {
                return;
            }
            tracing::warn!(%signal, "the database did not stop in time");
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.control.request_stop(Signal::SIGINT);
    }
}

fn keep_running(cluster: &Cluster, control: &Control) {
    let mut pause = FIRST_PAUSE;
    loop {
        let started = Instant::now();
        let ended = match serve_once(cluster, control) {
            Ok(None) => return,
            Ok(Some(status)) => status.to_string(),
            Err(PostgresError::Stopped) => return,
            Err(error) => error.to_string(),
        };
        if started.elapsed() >= PROVEN {
            pause = FIRST_PAUSE;
        }
        if control.is_stopping() {
            return;
        }
        tracing::warn!(%ended, again_in = ?pause, "the database ended");
        if control.pause(pause) {
            return;
        }
        pause = (pause * 2).min(LAST_PAUSE);
    }
}

/// Runs PostgreSQL until it ends; none if it was not started since the stop was requested.
fn serve_once(cluster: &Cluster, control: &Control) -> Result<Option<ExitStatus>, PostgresError> {
    let user = cluster.owner.uid;
    leftovers::wait_until_gone(&cluster.data, user, control)?;
    leftovers::remove_reused_lock_files(&cluster.data, &cluster.socket_lock(), user);
    control.run(cluster.postmaster(), |child| {
        tracing::info!(
            pid = child.id(),
            version = cluster.major(),
            "the database starts"
        );
        if let Some(stderr) = child.stderr.take() {
            let reader = thread::Builder::new().name("postgres-log".to_owned());
            if let Err(error) = reader.spawn(move || log::forward(stderr)) {
                tracing::warn!(%error, "the database's messages are lost");
            }
        }
    })
}

/// What the thread and who stops it share.
#[derive(Debug, Default)]
pub(super) struct Control {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The child that runs now; not yet reaped, so that its number is nobody else's.
    child: Option<Pid>,
    stopping: bool,
    finished: bool,
}

impl Control {
    /// Sleeps, unless a stop is requested; says whether it is.
    pub(super) fn pause(&self, duration: Duration) -> bool {
        let state = self.lock();
        let waited = self
            .changed
            .wait_timeout_while(state, duration, |state| !state.stopping);
        waited.map_or_else(
            |poisoned| poisoned.into_inner().0.stopping,
            |(state, _)| state.stopping,
        )
    }

    /// Runs a program of a few seconds, fed with `input`, and keeps the end of what it prints for
    /// the error.
    pub(super) fn run_step(
        &self,
        step: &'static str,
        mut command: Command,
        input: &str,
    ) -> Result<(), PostgresError> {
        let (reader, writer) = io::pipe().map_err(PostgresError::file("open", "a pipe"))?;
        let clone = writer
            .try_clone()
            .map_err(PostgresError::file("open", "a pipe"))?;
        command.stdin(Stdio::piped()).stdout(clone).stderr(writer);
        // It ends when `run` has dropped the command, which holds the other end.
        let output = thread::spawn(move || log::end_of(reader));
        let status = self.run(command, |child| {
            if let Some(mut stdin) = child.stdin.take() {
                // A child that has died says why in its status.
                let _ = stdin.write_all(input.as_bytes());
            }
        })?;
        let output = output.join().unwrap_or_default();
        match status {
            Some(status) if status.success() => Ok(()),
            Some(status) if !self.is_stopping() => Err(PostgresError::Step {
                step,
                status,
                output,
            }),
            _ => Err(PostgresError::Stopped),
        }
    }

    fn run(
        &self,
        mut command: Command,
        started: impl FnOnce(&mut Child),
    ) -> Result<Option<ExitStatus>, PostgresError> {
        let failed = |program: &Command, source| PostgresError::Spawn {
            program: program.get_program().into(),
            source,
        };
        let mut child = {
            let mut state = self.lock();
            if state.stopping {
                return Ok(None);
            }
            let child = command.spawn().map_err(|error| failed(&command, error))?;
            state.child = Some(Pid::from_raw(child.id() as i32));
            child
        };
        started(&mut child);
        let ended = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
        let pid = Pid::from_raw(child.id() as i32);
        while waitid(Id::Pid(pid), ended) == Err(Errno::EINTR) {}
        let mut state = self.lock();
        state.child = None;
        child
            .wait()
            .map(Some)
            .map_err(|error| failed(&command, error))
    }

    fn request_stop(&self, signal: Signal) {
        let mut state = self.lock();
        state.stopping = true;
        if let Some(pid) = state.child {
            let _ = kill(pid, signal);
        }
        self.changed.notify_all();
    }

    fn is_stopping(&self) -> bool {
        self.lock().stopping
    }

    fn finish(&self) {
        self.lock().finished = true;
        self.changed.notify_all();
    }

    fn wait_finished(&self, patience: Duration) -> bool {
        let waited = self
            .changed
            .wait_timeout_while(self.lock(), patience, |s| !s.finished);
        waited.map_or_else(
            |poisoned| poisoned.into_inner().0.finished,
            |(state, _)| state.finished,
        )
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that holds it leaves a state half changed.
        self.state
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
