//! Unmodified chronyd as NTP server and client, with everything it writes in a directory of its own
//! and never touching a clock (`-x`).

pub mod measurements;

use std::{
    fs::{self, DirBuilder, File},
    net::IpAddr,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

pub use self::measurements::Measurement;
use crate::{Child, Namespace, Signal, programs};

/// How long chronyd may take to come up.
const START_LIMIT: Duration = Duration::from_secs(10);

/// A chronyd that serves the host's clock as it is.
#[derive(Debug)]
pub struct Server {
    daemon: Daemon,
}

impl Server {
    /// Starts a server on port 123 inside `place`, claiming the given stratum. `directory` is
    /// created and must be its own.
    ///
    /// # Errors
    /// When chronyd is missing or does not come up.
    pub fn start(place: &Namespace, directory: &Path, stratum: u8) -> Result<Self> {
        let settings = format!("local stratum {stratum}\nallow all\n");
        let daemon = Daemon::start("chrony server", place, directory, &settings)?;
        Ok(Self { daemon })
    }

    /// The process id of chronyd.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.daemon.child.id()
    }
}

/// A chronyd that asks one server and writes down what it measured.
#[derive(Debug)]
pub struct Client {
    daemon: Daemon,
    log: PathBuf,
}

impl Client {
    /// Starts a client inside `place`. `options` follow the server's address in the configuration,
    /// as in `minpoll 0 maxpoll 0 iburst` (one request a second).
    ///
    /// # Errors
    /// When chronyd is missing, does not come up or refuses the options.
    pub fn start(
        place: &Namespace,
        directory: &Path,
        server: IpAddr,
        options: &str,
    ) -> Result<Self> {
        // noselect: chronyd would otherwise correct a clock of its own (with -x an imagined one)
        // and report offsets from that instead of from the host's.
        let settings = format!(
            "server {server} {options} noselect\nport 0\nlog measurements\nlogdir {}\n",
            directory.display()
        );
        let daemon = Daemon::start("chrony client", place, directory, &settings)?;
        let log = directory.join("measurements.log");
        Ok(Self { daemon, log })
    }

    /// The process id of chronyd.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.daemon.child.id()
    }

    /// Every measurement so far, oldest first.
    ///
    /// # Errors
    /// When the log cannot be read or understood.
    pub fn measurements(&self) -> Result<Vec<Measurement>> {
        if !self.log.exists() {
            return Ok(Vec::new());
        }
        let text = fs::read_to_string(&self.log)
            .with_context(|| format!("cannot read {}", self.log.display()))?;
        measurements::parse(&text)
    }

    /// Waits until there are at least `count` measurements and returns all.
    ///
    /// # Errors
    /// When `timeout` passes first.
    pub fn wait_for(&self, count: usize, timeout: Duration) -> Result<Vec<Measurement>> {
        let deadline = Instant::now() + timeout;
        loop {
            let measurements = self.measurements()?;
            if measurements.len() >= count {
                return Ok(measurements);
            }
            if Instant::now() >= deadline {
                bail!(
                    "waited {timeout:?} for {count} measurements, got {}: {}",
                    measurements.len(),
                    self.daemon.last_words()
                );
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

#[derive(Debug)]
struct Daemon {
    child: Child,
    output: PathBuf,
}

impl Daemon {
    fn start(name: &str, place: &Namespace, directory: &Path, settings: &str) -> Result<Self> {
        // chronyd insists on a private directory for its command socket.
        DirBuilder::new()
            .mode(0o700)
            .create(directory)
            .with_context(|| format!("cannot create {}", directory.display()))?;
        let path = directory.display();
        let configuration = directory.join("chrony.conf");
        let private =
            format!("pidfile {path}/pid\ncmdport 0\nbindcmdaddress {path}/socket\n{settings}");
        fs::write(&configuration, private)
            .with_context(|| format!("cannot write {}", configuration.display()))?;
        let output = directory.join("output");
        let file =
            File::create(&output).with_context(|| format!("cannot create {}", output.display()))?;

        let mut command = place.command(program(directory)?);
        // -x: no clock is touched. -d: stays in the foreground. -u root: changing the user would
        // make the kernel forget to end it with us.
        command
            .args(["-x", "-d", "-u", "root", "-f"])
            .arg(&configuration)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file);
        let mut daemon = Self {
            child: Child::spawn(name, command, Signal::SIGKILL)?,
            output,
        };
        daemon.wait_ready(&directory.join("socket"))?;
        Ok(daemon)
    }

    fn wait_ready(&mut self, socket: &Path) -> Result<()> {
        let deadline = Instant::now() + START_LIMIT;
        while !socket.exists() {
            let name = self.child.name();
            if Instant::now() >= deadline {
                bail!(
                    "{name} was not ready within {START_LIMIT:?}: {}",
                    self.last_words()
                );
            }
            if let Some(status) = self.child.wait_for(Duration::from_millis(10))? {
                let name = self.child.name();
                bail!("{name} ended ({status}): {}", self.last_words());
            }
        }
        Ok(())
    }

    fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.output).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(5).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("; ")
    }
}

/// The program to run. AppArmor's profile of Debian and Ubuntu, tied to the path of the program,
/// would deny it our directory: then the same bytes run from a copy.
fn program(directory: &Path) -> Result<PathBuf> {
    let installed = programs::find("chronyd")?;
    let confined = fs::read_to_string("/sys/module/apparmor/parameters/enabled")
        .is_ok_and(|enabled| enabled.starts_with('Y'));
    if !confined {
        return Ok(installed);
    }
    let copy = directory.join("chronyd");
    fs::copy(&installed, &copy).with_context(|| format!("cannot copy {}", installed.display()))?;
    Ok(copy)
}
