//! Programs that are ended with whoever started them: by the guard, or by the kernel.

use std::{
    fmt::Write as _,
    io,
    os::unix::process::CommandExt as _,
    process::{self, Command, ExitStatus, Stdio},
    sync::{
        OnceLock,
        mpsc::{Sender, SyncSender, channel, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
pub use nix::sys::signal::Signal;
use nix::{sys::signal::kill, unistd::Pid};

use crate::patient;

/// How long [`Child::terminate`] waits before it kills, unless told otherwise.
const DEFAULT_GRACE: Duration = Duration::from_secs(10);

/// A running program; dropping it terminates it. It runs in a process group of its own, so that a
/// Ctrl-C at the terminal reaches the one who started it and stopping stays in order.
#[derive(Debug)]
pub struct Child {
    name: String,
    process: process::Child,
    grace: Duration,
}

impl Child {
    /// Starts `command`. The kernel sends it `on_death` when this process dies in whatever way.
    ///
    /// May be called from any thread: starting happens on one that lasts as long as the process,
    /// since the kernel takes the end of the starting *thread* for the parent's death.
    /// A program that changes its user id (`setpriv`, `su`) loses the signal unless it asks to keep
    /// it (`setpriv --pdeathsig keep`).
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn spawn(name: &str, mut command: Command, on_death: Signal) -> Result<Self> {
        end_with_parent(&mut command, on_death);
        command.process_group(0);
        let program = command.get_program().display().to_string();
        let process = start_from_lasting_thread(command)
            .with_context(|| format!("cannot start {name} ({program})"))?;
        Ok(Self {
            name: name.to_owned(),
            process,
            grace: DEFAULT_GRACE,
        })
    }

    /// Sets how long [`Child::terminate`] waits before it kills.
    #[must_use]
    pub fn with_grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// The process id. It cannot be reused while this guard lives.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// The name given at the start, for messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The pipes, where the command asked for them.
    pub fn pipes(&mut self) -> &mut process::Child {
        &mut self.process
    }

    /// How the program ended, if it has.
    ///
    /// # Errors
    /// When the kernel refuses to say.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        self.process
            .try_wait()
            .with_context(|| format!("cannot wait for {}", self.name))
    }

    /// Sends `signal`, if the program still runs.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        if self.exited()?.is_none() {
            kill(Pid::from_raw(self.id().cast_signed()), signal)
                .with_context(|| format!("cannot signal {}", self.name))?;
        }
        Ok(())
    }

    /// Waits for the end at most `timeout`, made [`patient`]; `None` when the program still runs
    /// then.
    ///
    /// # Errors
    /// When the kernel refuses to say.
    pub fn wait_for(&mut self, timeout: Duration) -> Result<Option<ExitStatus>> {
        let deadline = Instant::now() + patient(timeout);
        let mut pause = Duration::from_millis(2);
        loop {
            if let Some(status) = self.exited()? {
                return Ok(Some(status));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }

    /// Asks the program to end (SIGTERM), waits for the grace period, then kills it.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn terminate(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        match self.wait_for(self.grace)? {
            Some(status) => Ok(status),
            None => self.kill(),
        }
    }

    /// Kills the program (SIGKILL) and waits for its end.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::SIGKILL)?;
        self.process
            .wait()
            .with_context(|| format!("cannot wait for {}", self.name))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Nobody is left to tell; the kernel ends what this does not.
        let _ = self.terminate();
    }
}

/// Makes the kernel send `signal` to the program of `command` when the thread that starts it ends.
pub fn end_with_parent(command: &mut Command, signal: Signal) {
    let parent = process::id().cast_signed();
    // SAFETY: prctl, getppid and _exit are async-signal-safe; nothing is allocated.
    unsafe {
        command.pre_exec(move || {
            if libc::prctl(libc::PR_SET_PDEATHSIG, signal as libc::c_int) != 0 {
                return Err(io::Error::last_os_error());
            }
            // The parent may have died before the kernel knew whom to tell.
            if libc::getppid() != parent {
                libc::_exit(1);
            }
            Ok(())
        });
    }
}

/// Runs `command` to its end and returns what it wrote to standard output.
///
/// # Errors
/// When it cannot be started or does not succeed; the message carries what it wrote to standard
/// error.
pub fn run(command: &mut Command) -> Result<String> {
    let line = shown(command);
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run `{line}`"))?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        bail!("`{line}` failed ({}): {}", output.status, complaint.trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{line}` did not print UTF-8"))
}

/// The command as one would type it.
#[must_use]
pub fn shown(command: &Command) -> String {
    let mut line = command.get_program().display().to_string();
    for argument in command.get_args() {
        let _ = write!(line, " {}", argument.display());
    }
    line
}

type Started = io::Result<process::Child>;

fn start_from_lasting_thread(command: Command) -> Started {
    static STARTER: OnceLock<Sender<(Command, SyncSender<Started>)>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (orders, incoming) = channel::<(Command, SyncSender<Started>)>();
        thread::spawn(move || {
            for (mut command, reply) in incoming {
                let _ = reply.send(command.spawn());
            }
        });
        orders
    });
    let (reply, result) = sync_channel(1);
    let gone = || io::Error::other("the thread that starts programs is gone");
    starter.send((command, reply)).map_err(|_| gone())?;
    result.recv().map_err(|_| gone())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_ignores_sigterm_is_killed_after_the_grace() {
        let mut command = Command::new("sh");
        command.args([
            "-c",
            "trap '' TERM; echo ready; while :; do sleep 0.1; done",
        ]);
        command.stdout(Stdio::piped());
        let mut child = Child::spawn("stubborn", command, Signal::SIGKILL)
            .unwrap()
            .with_grace(Duration::from_millis(200));
        let mut ready = [0; 6];
        io::Read::read_exact(child.pipes().stdout.as_mut().unwrap(), &mut ready).unwrap();
        let status = child.terminate().unwrap();
        assert_eq!(
            std::os::unix::process::ExitStatusExt::signal(&status),
            Some(libc::SIGKILL)
        );
    }

    #[test]
    fn a_program_started_from_a_thread_that_ends_keeps_running() {
        let mut child = thread::spawn(|| {
            let mut command = Command::new("sleep");
            command.arg("60");
            Child::spawn("sleep", command, Signal::SIGKILL).unwrap()
        })
        .join()
        .unwrap();
        assert!(
            child
                .wait_for(Duration::from_millis(200))
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn a_failing_program_is_reported_with_its_own_words() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo no such luck >&2; exit 3"]);
        let error = run(&mut command).unwrap_err().to_string();
        assert!(error.contains("no such luck"), "{error}");
        assert!(error.contains("exit status: 3"), "{error}");
    }
}
