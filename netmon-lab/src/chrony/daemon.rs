//! One chronyd with a configuration of one's own.

use std::{
    fs::{self, DirBuilder, File},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::{Served, Source, sources};
use crate::{Child, Namespace, Signal, patient, programs, run};

/// How long chronyd may take to come up.
const START_LIMIT: Duration = Duration::from_secs(10);

/// A running chronyd.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    socket: PathBuf,
    output: PathBuf,
}

impl Daemon {
    /// Starts chronyd inside `place` with `settings` (chrony.conf(5)) besides those that keep its
    /// files in `directory`, which is created and must be its own.
    ///
    /// # Errors
    /// When chronyd is missing, does not come up or refuses the settings.
    pub fn start(name: &str, place: &Namespace, directory: &Path, settings: &str) -> Result<Self> {
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
            socket: directory.join("socket"),
            output,
        };
        daemon.wait_ready()?;
        Ok(daemon)
    }

    /// The process id of chronyd.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What chronyc(1) is answered with: `words` are its command, the answer is comma-separated.
    ///
    /// # Errors
    /// When chronyc is missing, or chronyd refuses.
    pub fn ask(&self, words: &[&str]) -> Result<String> {
        let mut chronyc = Command::new(programs::find("chronyc")?);
        run(chronyc
            .args(["-n", "-c", "-h"])
            .arg(&self.socket)
            .args(words))
    }

    /// No source is asked from now on; what chronyd says of its sources stands still.
    ///
    /// # Errors
    /// As [`Daemon::ask`].
    pub fn fall_silent(&self) -> Result<()> {
        self.ask(&["offline"]).map(drop)
    }

    /// What it knows of those that it asks.
    ///
    /// # Errors
    /// As [`Daemon::ask`], and when the answer is not understood.
    pub fn sources(&self) -> Result<Vec<Source>> {
        sources::parse(&self.ask(&["ntpdata"])?)
    }

    /// What it knows of those that ask it.
    ///
    /// # Errors
    /// As [`Daemon::sources`].
    pub fn served(&self) -> Result<Served> {
        self.ask(&["serverstats"])?.parse()
    }

    fn wait_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + patient(START_LIMIT);
        while !self.socket.exists() {
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

    /// The last lines of what it has said.
    #[must_use]
    pub fn last_words(&self) -> String {
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
