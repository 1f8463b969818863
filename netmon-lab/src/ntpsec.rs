//! Unmodified ntpd of NTPsec as server and client, and its ntpq, which speaks mode 6.

use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};

use crate::{Child, Namespace, Signal, clockless, log, programs, run, wait_until};

const PACKAGE: &str = "ntpsec";
/// Its modules for Python.
const MODULES: &str = "python3-ntp";
const START_LIMIT: Duration = Duration::from_secs(10);
/// Said once all sockets are open.
const READY: &str = "Listening on routing socket";

/// A running ntpd that cannot set the clock.
#[derive(Debug)]
pub struct Ntpd {
    // Held for its end.
    _child: Child,
}

impl Ntpd {
    /// Starts ntpd inside `place` with `settings` (ntp.conf(5)). `directory` is created and must be
    /// its own.
    ///
    /// # Errors
    /// When ntpd is missing, does not come up or refuses the settings.
    pub fn start(place: &Namespace, directory: &Path, settings: &str) -> Result<Self> {
        fs::create_dir(directory)
            .with_context(|| format!("cannot create {}", directory.display()))?;
        let configuration = directory.join("ntp.conf");
        let own = format!("statsdir {}\n{settings}", directory.display());
        fs::write(&configuration, own)
            .with_context(|| format!("cannot write {}", configuration.display()))?;
        let said = directory.join("log");
        let mut command =
            clockless::command(place, &programs::of_package(PACKAGE, "usr/sbin/ntpd")?);
        command
            .arg("-n")
            .arg("-c")
            .arg(&configuration)
            .arg("-l")
            .arg(&said)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let mut child = Child::spawn("ntpd of NTPsec", command, Signal::SIGKILL)?;
        wait_until(START_LIMIT, "ntpd to listen", || {
            if let Ok(Some(status)) = child.exited() {
                return Some(Err(anyhow!("ntpd has ended with {status}")));
            }
            let text = fs::read_to_string(&said).unwrap_or_default();
            if text.contains("syntax error") {
                return Some(Err(anyhow!("ntpd does not understand its settings")));
            }
            text.contains(READY).then_some(Ok(()))
        })
        .flatten()
        .with_context(|| log::tail(&said))?;
        Ok(Self { _child: child })
    }
}

/// What ntpq(1) inside `place` prints when it asks a server `questions`, each a command of its own.
///
/// # Errors
/// When ntpq is missing or fails. It does not fail where the server answers with an error.
pub fn ntpq(place: &Namespace, server: IpAddr, questions: &[&str]) -> Result<String> {
    let mut command = ntpq_command(place)?;
    for question in questions {
        command.args(["-c", question]);
    }
    run(command.arg(server.to_string()))
}

/// The number behind `name=` or `name:` in what ntpq printed.
///
/// # Errors
/// When there is none.
pub fn number(printed: &str, name: &str) -> Result<u64> {
    let found = printed.match_indices(name).find_map(|(at, _)| {
        let rest = printed[at + name.len()..].strip_prefix(['=', ':'])?;
        let rest = rest.trim_start();
        let end = rest.find(|other: char| !other.is_ascii_digit());
        rest[..end.unwrap_or(rest.len())].parse().ok()
    });
    found.with_context(|| format!("ntpq does not say {name:?}:\n{printed}"))
}

fn ntpq_command(place: &Namespace) -> Result<Command> {
    let program = programs::of_package(PACKAGE, "usr/bin/ntpq")?;
    let modules = programs::of_package(MODULES, "usr/lib/python3/dist-packages/ntp")?;
    let modules = modules.parent().context("a module lies in a folder")?;
    let mut command = place.command(programs::find("python3")?);
    command
        .arg(program)
        .env("PYTHONPATH", modules)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("LD_LIBRARY_PATH", libraries()?);
    Ok(command)
}

/// Where the library that the modules load lies: a folder named after the machine.
fn libraries() -> Result<PathBuf> {
    let machines = programs::of_package(MODULES, "usr/lib")?;
    let mut folders = fs::read_dir(&machines)?.flatten();
    folders
        .find_map(|folder| {
            let path = folder.path().join("ntp");
            path.join("libntpc.so").exists().then_some(path)
        })
        .with_context(|| format!("no libntpc.so in {}", machines.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_in_both_forms_that_ntpq_prints() {
        let printed = "reach=003, received=8, sent=18\nKoD responses:                  4      4";
        assert_eq!(number(printed, "received").unwrap(), 8);
        assert_eq!(number(printed, "sent").unwrap(), 18);
        assert_eq!(number(printed, "KoD responses").unwrap(), 4);
        assert!(number(printed, "reached").is_err());
    }
}
