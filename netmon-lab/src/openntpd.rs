//! Unmodified OpenNTPD as client and server.
//!
//! It works as a user of its own, in a directory of its own, and keeps its files under `/var/lib`:
//! all of these exist in its mount namespace only.

use std::{
    fs, iter,
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};

use crate::{
    Child, Namespace, Signal, clockless::WITHOUT_CLOCK, log, privileges::UNPRIVILEGED, programs,
    wait_until,
};

const START_LIMIT: Duration = Duration::from_secs(10);
/// The user that Debian's package makes.
const USER: &str = "ntpd";
/// Said once its parts have begun.
const READY: &str = "ntp engine ready";
/// What is mounted, and what runs then.
const SCRIPT: &str = "mount --bind \"$1/passwd\" /etc/passwd && mount --bind \"$1/group\" /etc/group && \
                      mount --bind \"$1/lib\" /var/lib && shift && exec setpriv \"$@\"";

/// A running OpenNTPD that cannot set the clock.
#[derive(Debug)]
pub struct Ntpd {
    // Held for its end.
    _child: Child,
    said: PathBuf,
}

impl Ntpd {
    /// Starts OpenNTPD inside `place` with `settings` (ntpd.conf(5)). `directory` is created and
    /// must be its own.
    ///
    /// # Errors
    /// When it is missing, does not come up or refuses the settings.
    pub fn start(place: &Namespace, directory: &Path, settings: &str) -> Result<Self> {
        write_files(directory, settings)
            .with_context(|| format!("cannot write into {}", directory.display()))?;
        let program = programs::of_package("openntpd", "usr/sbin/ntpd")?;
        let said = directory.join("log");
        let mut command = place.command("unshare");
        command
            .args([
                "--mount",
                "--propagation",
                "private",
                "sh",
                "-c",
                SCRIPT,
                "sh",
            ])
            .arg(directory)
            .args(WITHOUT_CLOCK)
            .arg(program)
            .args(["-d", "-v", "-f"])
            .arg(directory.join("ntpd.conf"));
        log::log_to(&mut command, &said)?;
        let mut child = Child::spawn("OpenNTPD", command, Signal::SIGTERM)?;
        wait_until(START_LIMIT, "OpenNTPD to begin", || {
            if let Ok(Some(status)) = child.exited() {
                return Some(Err(anyhow!("OpenNTPD has ended with {status}")));
            }
            log::tail(&said).contains(READY).then_some(Ok(()))
        })
        .flatten()
        .with_context(|| log::tail(&said))?;
        Ok(Self {
            _child: child,
            said,
        })
    }

    /// How many answers of a server it has taken, by its log.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn replies(&self, server: IpAddr) -> Result<usize> {
        let text = fs::read_to_string(&self.said)?;
        let words = format!("reply from {server}: offset ");
        Ok(text.matches(&words).count())
    }
}

fn write_files(directory: &Path, settings: &str) -> Result<()> {
    let home = directory.join("empty");
    let lib = directory.join("lib/openntpd");
    for folder in [&home, &lib.join("db"), &lib.join("run")] {
        fs::create_dir_all(folder)?;
    }
    fs::write(directory.join("ntpd.conf"), settings)?;
    let entry = |name: &str, id: u32, home: &Path| {
        format!("{name}:x:{id}:{id}:{name}:{}:/bin/false\n", home.display())
    };
    let users = entry("root", 0, Path::new("/root")) + &entry(USER, UNPRIVILEGED, &home);
    fs::write(directory.join("passwd"), users)?;
    let groups: String = iter::zip(["root", USER], [0, UNPRIVILEGED])
        .map(|(name, id)| format!("{name}:x:{id}:\n"))
        .collect();
    Ok(fs::write(directory.join("group"), groups)?)
}
