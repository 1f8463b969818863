//! The processes of `up`: started in order, watched, stopped in the opposite order.

use std::{
    fs::{self, File},
    io::{ErrorKind, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use netmon_lab::{
    Child, DemoNet, Namespace, Signal,
    demo::{DemoOptions, SERVER_SIDE},
    run,
};

use super::{Options, api::Api, units::clock};
use crate::{build::Programs, run_directory::RunDirectory, signals};

/// How long making the database and migrating it may take.
const READY_LIMIT: Duration = Duration::from_secs(180);
/// Longer than the deadlines of agent and server themselves.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// Everything `up` runs. Dropping it stops it, in order.
pub struct Services {
    // In the order in which they stop.
    agent: Option<Child>,
    demo: Option<DemoNet>,
    server: Option<Child>,
    agent_id: String,
    directory: PathBuf,
}

impl Services {
    /// Nothing yet.
    pub fn new(directory: &Path) -> Self {
        Self {
            agent: None,
            demo: None,
            server: None,
            agent_id: String::new(),
            directory: directory.to_owned(),
        }
    }

    /// Starts the server on a database of its own, waits until it is ready and enrols an agent;
    /// starts the demonstration network if asked.
    ///
    /// # Errors
    /// When one of them does not come up, with its last words.
    pub fn start(
        &mut self,
        options: &Options,
        run: &RunDirectory,
        programs: &Programs,
    ) -> Result<()> {
        println!("starting the server and its database");
        let mut server = Command::new(&programs.server);
        server
            .arg("serve")
            .env_remove("NETMON_SERVER_CONFIG")
            .env("NETMON_SERVER__DATA_DIR", self.data())
            .env("NETMON_SERVER__HTTP__LISTEN", options.http.to_string())
            .env("NETMON_SERVER__QUIC__LISTEN", options.quic.to_string());
        self.server = Some(self.spawn("server", server, run)?);
        self.wait_ready(&Api::new(options.http))?;
        self.agent_id = self.enrol(programs)?;
        if options.demo {
            println!("starting the demonstration network: chrony asks chrony once a second");
            let directory = self.directory.join("demo");
            // Of an earlier run that kept its directory.
            let _ = fs::remove_dir_all(&directory);
            fs::create_dir(&directory)
                .with_context(|| format!("cannot create {}", directory.display()))?;
            let host = Namespace::host()?;
            self.demo = Some(DemoNet::start(&host, &directory, &DemoOptions::default())?);
        }
        Ok(())
    }

    /// Starts the agent on this host's interfaces.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_agent(
        &mut self,
        options: &Options,
        run: &RunDirectory,
        programs: &Programs,
    ) -> Result<()> {
        println!("starting the agent");
        let mut agent = Command::new(&programs.agent);
        agent
            .args(["run", "--server", &options.quic.to_string()])
            .arg("--identity")
            .arg(self.identity())
            .args(["--alias", &alias()])
            .args(["--metrics-listen", &options.agent_metrics.to_string()])
            .args(["--exclude", "lo"])
            .env("NETMON_AGENT__SPOOL__DIRECTORY", self.spool()?);
        if options.demo {
            // The far end of the same cable. Its packets are no copies that the agent would tell by
            // their moment: the relay holds each for milliseconds, and exchanges would count twice.
            agent.args(["--exclude", SERVER_SIDE]);
        }
        self.agent = Some(self.spawn("agent", agent, run)?);
        Ok(())
    }

    /// The number the server knows the agent by.
    pub fn agent_id(&self) -> &str {
        &self.agent_id
    }

    /// The command that opens the database, once the server has said it.
    pub fn psql(&self) -> Option<String> {
        let log = fs::read_to_string(self.log("server")).ok()?;
        let line = log.lines().rev().find(|line| line.contains("psql -h "))?;
        let command = &line[line.find("psql -h ")?..];
        Some(command.trim_end_matches(['"', '`', '\'', '.']).to_owned())
    }

    /// # Errors
    /// When server or agent has ended by itself; the message carries its last words.
    pub fn ensure_running(&mut self) -> Result<()> {
        let mut ended = None;
        for child in [&mut self.server, &mut self.agent].into_iter().flatten() {
            if let Some(status) = child.exited()? {
                ended = Some((child.name().to_owned(), status));
            }
        }
        match ended {
            Some((name, status)) => {
                bail!(
                    "the {name} ended by itself ({status}){}",
                    self.last_words(&name)
                )
            }
            None => Ok(()),
        }
    }

    /// Stops the agent, so that it hands over what it has while the server still runs.
    pub fn stop_agent(&mut self) {
        self.agent = None;
    }

    /// Stops what runs.
    pub fn stop(&mut self) {
        self.agent = None;
        self.demo = None;
        self.server = None;
    }

    /// Where the output of `name` goes.
    pub fn log(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.log"))
    }

    fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    fn spool(&self) -> Result<PathBuf> {
        let path = self.directory.join("spool");
        std::path::absolute(&path).with_context(|| format!("cannot use {}", path.display()))
    }

    fn identity(&self) -> PathBuf {
        self.directory.join("identity")
    }

    fn spawn(&self, name: &str, mut command: Command, run: &RunDirectory) -> Result<Child> {
        let path = self.log(name);
        let log =
            File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        command
            .env("NO_COLOR", "1")
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        run.mark(&mut command);
        Ok(Child::spawn(name, command, Signal::SIGTERM)?.with_grace(STOP_LIMIT))
    }

    fn wait_ready(&mut self, api: &Api) -> Result<()> {
        let started = Instant::now();
        let mut told = started;
        while !api.is_ready() {
            self.ensure_running()?;
            if signals::stop_requested() {
                bail!("interrupted before the server was ready");
            }
            if started.elapsed() >= READY_LIMIT {
                bail!(
                    "the server was not ready within {READY_LIMIT:?}{}",
                    self.last_words("server")
                );
            }
            if told.elapsed() >= Duration::from_secs(5) {
                told = Instant::now();
                println!(
                    "  still waiting for the server ({})",
                    clock(started.elapsed())
                );
                std::io::stdout().flush()?;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        println!("the server is ready after {:.1?}", started.elapsed());
        Ok(())
    }

    /// Makes a certificate for the agent, unless an earlier run has kept one; returns its number.
    fn enrol(&self, programs: &Programs) -> Result<String> {
        let file = self.directory.join("agent-id");
        if let Ok(kept) = fs::read_to_string(&file)
            && agent_id(&kept) == Some(&kept)
            && self.identity().exists()
        {
            return Ok(kept);
        }
        // Of an earlier run that was killed before it noted the number.
        match fs::remove_dir_all(self.identity()) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error)
                    .with_context(|| format!("cannot remove {}", self.identity().display()));
            }
            _ => {}
        }
        let mut command = Command::new(&programs.server);
        command
            .args(["issue-agent", &alias(), "--out"])
            .arg(self.identity())
            .arg("--data-dir")
            .arg(self.data());
        let said = run(&mut command)?;
        let id = agent_id(&said)
            .with_context(|| format!("issue-agent did not print the agent's number: {said}"))?;
        fs::write(&file, id).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(id.to_owned())
    }

    /// The end of the log of `name`, to stand behind a message.
    pub fn last_words(&self, name: &str) -> String {
        let path = self.log(name);
        let text = fs::read_to_string(&path).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let last = lines[lines.len().saturating_sub(15)..].join("\n  ");
        format!("; the last lines of {}:\n  {last}", path.display())
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What people call this host.
fn alias() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "this-host".to_owned())
}

/// The first word of 16 hexadecimal digits.
fn agent_id(said: &str) -> Option<&str> {
    said.split(|letter: char| !letter.is_ascii_alphanumeric())
        .find(|word| word.len() == 16 && word.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_number_of_the_agent_is_found_in_what_issue_agent_says() {
        let cases = [
            ("agent 00ff00ff00ff00ff (web-1)\n", Some("00ff00ff00ff00ff")),
            (
                "netmon://agent/0123456789abcdef\n",
                Some("0123456789abcdef"),
            ),
            ("wrote /tmp/x\n", None),
        ];
        for (said, expected) in cases {
            assert_eq!(agent_id(said), expected, "{said:?}");
        }
    }
    #[test]
    fn an_identity_whose_number_was_not_noted_is_made_anew_and_a_whole_one_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let services = Services::new(directory.path());
        // Refuses an existing key, as issue-agent does.
        let server = directory.path().join("server");
        let script = "#!/bin/sh\nset -e\n[ ! -e \"$4/agent-key.pem\" ]\nmkdir -p \"$4\"\n\
                      touch \"$4/agent-key.pem\"\necho agent 00ff00ff00ff00ff\n";
        fs::write(&server, script).unwrap();
        fs::set_permissions(&server, fs::Permissions::from_mode(0o755)).unwrap();
        let programs = Programs {
            agent: PathBuf::new(),
            server: server.clone(),
        };

        fs::create_dir(services.identity()).unwrap();
        fs::write(services.identity().join("agent-key.pem"), "old").unwrap();
        assert_eq!(services.enrol(&programs).unwrap(), "00ff00ff00ff00ff");
        fs::remove_file(server).unwrap();
        assert_eq!(services.enrol(&programs).unwrap(), "00ff00ff00ff00ff");
    }
}
