//! Network namespaces without a name, held open by a file descriptor.

use std::{
    ffi::OsStr,
    fs::File,
    io,
    os::{
        fd::{AsRawFd as _, RawFd},
        unix::process::CommandExt as _,
    },
    path::PathBuf,
    process::Command,
    sync::Arc,
    thread,
};

use anyhow::{Context as _, Result, anyhow};
use nix::sched::{CloneFlags, unshare};

use crate::child::run;

/// A network namespace that ends with its last user: the handles of this type, the programs inside
/// and the sockets opened inside. Nothing is left under `/run/netns`, however the process ends.
#[derive(Clone, Debug)]
pub struct Namespace {
    handle: Arc<File>,
    /// The namespace this process was in at the time; programs need not be moved into it.
    is_host: bool,
}

impl Namespace {
    /// Makes a namespace with nothing in it but `lo`, up.
    ///
    /// # Errors
    /// Without `CAP_SYS_ADMIN`, or when `ip` is missing.
    pub fn new() -> Result<Self> {
        let handle = on_fresh_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET)
                .context("cannot create a network namespace: run as root")?;
            open_own_namespace()
        })?;
        let namespace = Self {
            handle: Arc::new(handle),
            is_host: false,
        };
        let mut ip = namespace.command("ip");
        run(ip.args(["link", "set", "lo", "up"]))?;
        Ok(namespace)
    }

    /// The namespace this process is in, so that the host can be one end of a link.
    ///
    /// # Errors
    /// When `/proc` is not mounted.
    pub fn host() -> Result<Self> {
        Ok(Self {
            handle: Arc::new(on_fresh_thread(open_own_namespace)?),
            is_host: true,
        })
    }

    /// A path by which other programs (`ip link … netns PATH`) reach this namespace while this
    /// process lives.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        format!(
            "/proc/{}/fd/{}",
            std::process::id(),
            self.handle.as_raw_fd()
        )
        .into()
    }

    /// A command that will run inside, with a `/sys` of its own: `/sys/class/net` shows the
    /// interfaces of this namespace. Start it by [`crate::Child`] or [`run`].
    ///
    /// To run it as another user, let the program be `setpriv`: entering needs root.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        if !self.is_host {
            let handle = Arc::clone(&self.handle);
            // SAFETY: `enter` makes system calls only: it neither allocates nor takes a lock.
            unsafe { command.pre_exec(move || enter(handle.as_raw_fd())) };
        }
        command
    }

    /// Runs `work` inside, on a thread of its own. Sockets opened by it stay inside; `/sys` is as
    /// in [`Namespace::command`].
    ///
    /// # Errors
    /// Those of `work`, and when entering fails or `work` panics.
    pub fn run_inside<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        on_fresh_thread(|| {
            if !self.is_host {
                enter(self.handle.as_raw_fd()).context("cannot enter the namespace")?;
            }
            work()
        })
    }
}

fn on_fresh_thread<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| scope.spawn(work).join())
        .unwrap_or_else(|_| Err(anyhow!("the thread inside the namespace panicked")))
}

fn open_own_namespace() -> Result<File> {
    const PATH: &str = "/proc/thread-self/ns/net";
    File::open(PATH).with_context(|| format!("cannot open {PATH}"))
}

/// Moves the calling thread into the namespace behind `fd` and gives it a fresh `/sys`.
/// Async-signal-safe.
fn enter(fd: RawFd) -> io::Result<()> {
    // SAFETY: all pointers are to static strings or null where mount(2) allows it.
    unsafe {
        succeed(libc::setns(fd, libc::CLONE_NEWNET))?;
        succeed(libc::unshare(libc::CLONE_NEWNS))?;
        let nothing = std::ptr::null();
        // From here on mounts of this thread stay invisible outside.
        let root = c"/".as_ptr();
        let private = libc::MS_REC | libc::MS_SLAVE;
        succeed(libc::mount(nothing, root, nothing, private, nothing.cast()))?;
        // A sysfs shows the network namespace of whoever mounted it.
        let sysfs = c"sysfs".as_ptr();
        let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
        succeed(libc::mount(
            sysfs,
            c"/sys".as_ptr(),
            sysfs,
            flags,
            nothing.cast(),
        ))
    }
}

fn succeed(result: libc::c_int) -> io::Result<()> {
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
