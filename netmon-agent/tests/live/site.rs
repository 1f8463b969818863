//! A server and an agent in a network namespace of their own.

use std::{
    env,
    fs::{self, File},
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail};
use netmon_agent::sensor::Sensor;
pub use netmon_lab::server::HTTP;
use netmon_lab::{
    Child, Mounts, Namespace, Signal, http, identity, log, privileges, run, server, wait_until,
};
use serde_json::Value;
use tempfile::TempDir;

pub const METRICS: u16 = 9642;
const PATIENCE: Duration = Duration::from_secs(60);
/// Says which `sensor.hook` agents have, unless a test is about one.
pub const HOOK: &str = "NETMON_TEST_HOOK";
/// Names the data of a server that has run before; sites begin with a copy of its database, which
/// takes less than making one.
const DATABASE: &str = "NETMON_TEST_DATABASE";
/// Names a file in which tests that have nothing to test on this kernel say so.
const SKIPPED: &str = "NETMON_TEST_SKIPPED";

pub struct Site {
    // Declared in the order in which they end.
    pub agent: Option<Child>,
    pub server: Option<Child>,
    /// Where the server is.
    pub namespace: Namespace,
    /// Where the agent is: with the server, unless a test puts it elsewhere.
    pub agent_namespace: Namespace,
    /// The addresses the agent is given.
    pub servers: Vec<String>,
    /// What the agent finds in its environment besides.
    pub agent_environment: Vec<(&'static str, &'static str)>,
    /// What the agent may do.
    pub capabilities: &'static str,
    /// File systems of the agent's own.
    pub mounts: Option<Mounts>,
    pub folder: TempDir,
    pub agent_id: String,
}

impl Site {
    /// A namespace with a ready server and no agent yet.
    pub fn with_server() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("netmon-live-").tempdir()?;
        privileges::let_in(folder.path())?;
        let namespace = Namespace::new()?;
        let mut site = Self {
            agent: None,
            server: None,
            agent_namespace: namespace.clone(),
            namespace,
            servers: vec!["127.0.0.1:8082".to_owned()],
            agent_environment: Vec::new(),
            capabilities: privileges::OF_AN_AGENT,
            mounts: None,
            folder,
            agent_id: String::new(),
        };
        site.copy_database()?;
        site.start_server()?;
        site.agent_id = identity::issue(&site.data_dir(), "site", &site.path("identity"))?;
        Ok(site)
    }

    /// A namespace with a ready server and a connected agent.
    pub fn start(agent_arguments: &[&str]) -> Result<Self> {
        let mut site = Self::with_server()?;
        site.start_agent(agent_arguments)?;
        Ok(site)
    }

    fn copy_database(&self) -> Result<()> {
        let Some(made) = env::var_os(DATABASE) else {
            return Ok(());
        };
        fs::create_dir(self.data_dir())?;
        fs::set_permissions(self.data_dir(), fs::Permissions::from_mode(0o755))?;
        let mut copy = Command::new("cp");
        run(copy
            .arg("-a")
            .arg(made)
            .arg(self.data_dir().join("postgres")))
        .map(drop)
    }

    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("server")
    }

    pub fn start_server(&mut self) -> Result<()> {
        let mut command = server::serve(&self.namespace, &self.data_dir())?;
        self.log_to(&mut command, "server.log")?;
        let server = Child::spawn("netmon-server", command, Signal::SIGTERM)?;
        let server = self.server.insert(server);
        server::ready(&self.namespace, HTTP, server, PATIENCE)
            .with_context(|| self.log("server.log"))
    }

    pub fn agent_command(&self, subcommand: &str, arguments: &[&str]) -> Result<Command> {
        let built = Path::new(env!("CARGO_BIN_EXE_netmon-agent"));
        let program = privileges::copy_into(self.folder.path(), built)?;
        let inside = |setpriv: &str| match &self.mounts {
            Some(mounts) => mounts.command(setpriv),
            None => self.agent_namespace.command(setpriv),
        };
        let mut command = privileges::with_capabilities(self.capabilities, inside, &program);
        command
            .arg(subcommand)
            .args(self.servers.iter().flat_map(|server| ["--server", server]))
            .arg("--identity")
            .arg(self.path("identity"))
            .args(arguments);
        Ok(command)
    }

    /// The agent's spool.
    pub fn spool(&self) -> Result<PathBuf> {
        let folder = self.folder.path().join("spool");
        if !folder.exists() {
            fs::create_dir(&folder)?;
            privileges::give(&folder)?;
        }
        Ok(folder)
    }

    pub fn start_agent(&mut self, arguments: &[&str]) -> Result<()> {
        let mut command = self.agent_command("run", arguments)?;
        command
            .env("NETMON_AGENT__SERVER__MAX_RETRY_INTERVAL", "2s")
            .env("NETMON_AGENT__SPOOL__DIRECTORY", self.spool()?)
            .envs(
                env::var(HOOK)
                    .ok()
                    .map(|hook| ("NETMON_AGENT__SENSOR__HOOK", hook)),
            )
            .envs(self.agent_environment.iter().copied());
        self.log_to(&mut command, "agent.log")?;
        let mut agent = Child::spawn("netmon-agent", command, Signal::SIGTERM)?;
        let connected = wait_until(PATIENCE, "the agent to be connected", || {
            if let Ok(Some(status)) = agent.exited() {
                return Some(Err(anyhow!("the agent has ended with {status}")));
            }
            let connected = self.metric(METRICS, "netmon_agent_uplink_connected").ok()?;
            (connected == 1.0).then_some(Ok(()))
        });
        self.agent = Some(agent);
        connected.flatten().with_context(|| self.log("agent.log"))
    }

    /// Stops the agent as systemd would; everything it saw must be stored when it has exited.
    pub fn stop_agent(&mut self) -> Result<()> {
        let mut agent = self.agent.take().context("no agent runs")?;
        agent.signal(Signal::SIGTERM)?;
        match agent.wait_for(Duration::from_secs(30))? {
            Some(status) if status.success() => self.no_mistake(),
            other => bail!("the agent ended with {other:?}:\n{}", self.log("agent.log")),
        }
    }

    /// Nothing that the agent says of itself is wrong: above all, the books of every interface balanced
    /// when it was no longer watched.
    fn no_mistake(&self) -> Result<()> {
        let log = fs::read_to_string(self.path("agent.log"))?;
        match log
            .lines()
            .find(|line| line.contains("a mistake in netmon"))
        {
            None => Ok(()),
            Some(line) => bail!("the agent has found a mistake: {line}"),
        }
    }

    pub fn log_to(&self, command: &mut Command, name: &str) -> Result<()> {
        log::log_to(command, &self.path(name))
    }

    pub fn log(&self, name: &str) -> String {
        log::tail(&self.path(name))
    }

    /// One SQL question to the server's database.
    pub fn sql(&self, sql: &str) -> Result<String> {
        netmon_lab::psql(&self.data_dir().join("socket"), sql)
    }

    pub fn sql_numbers(&self, sql: &str) -> Result<Vec<u64>> {
        netmon_lab::psql_numbers(&self.data_dir().join("socket"), sql)
    }

    /// Body of a successful GET from the server's REST API.
    pub fn rest(&self, path: &str) -> Result<Value> {
        let (status, body) = self.get(HTTP, path)?;
        if status != 200 {
            bail!("GET {path}: {status} {body}");
        }
        Ok(serde_json::from_str(&body)?)
    }

    /// Status and body of a GET on a loopback port inside the namespace of the one who listens.
    pub fn get(&self, port: u16, path: &str) -> Result<(u16, String)> {
        http::get(self.place_of(port), port, path)
    }

    /// The value of one series: name with its labels as they stand in the text.
    pub fn metric(&self, port: u16, series: &str) -> Result<f64> {
        http::metric(self.place_of(port), port, series)
    }

    fn place_of(&self, port: u16) -> &Namespace {
        match port {
            METRICS => &self.agent_namespace,
            _ => &self.namespace,
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// Whether the kernel has TCX, found out by asking it. Where it has not, `test` is told to have
/// tested nothing.
pub fn has_tcx(test: &str) -> Result<bool> {
    let has_tcx = Sensor::has_tcx()?;
    if !has_tcx {
        tell_skipped(&format!("{test}: the kernel has no TCX\n"))?;
    }
    Ok(has_tcx)
}

/// As [`has_tcx`], of a test whose agents have the hook that the suite is told.
pub fn uses_tcx(test: &str) -> Result<bool> {
    if Sensor::has_tcx()? && classifiers()? != "tcx" {
        tell_skipped(&format!("{test}: agents have another hook\n"))?;
        return Ok(false);
    }
    has_tcx(test)
}

fn tell_skipped(line: &str) -> Result<()> {
    eprint!("nothing to test: {line}");
    if let Some(file) = env::var_os(SKIPPED) {
        // One write to a file that is appended to: tests run side by side.
        let mut file = File::options().create(true).append(true).open(file)?;
        file.write_all(line.as_bytes())?;
    }
    Ok(())
}

/// How agents attach where no test says: what the suite is told, or what the kernel has.
pub fn classifiers() -> Result<&'static str> {
    let forced = env::var(HOOK).is_ok_and(|hook| hook == "clsact");
    Ok(if !forced && Sensor::has_tcx()? {
        "tcx"
    } else {
        "clsact"
    })
}

/// A folder for a program of another user.
pub fn open_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path)?;
    Ok(fs::set_permissions(
        path,
        fs::Permissions::from_mode(0o777),
    )?)
}
