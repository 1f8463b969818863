//! A server and an agent in a network namespace of their own.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail};
use netmon_lab::{Child, Mounts, Namespace, Signal, run, wait_until, workspace_binary};
use serde_json::Value;
use tempfile::TempDir;

pub const HTTP: u16 = 8080;
pub const METRICS: u16 = 9642;
/// Nobody: a user without any privilege.
pub const UNPRIVILEGED: u32 = 65_534;
const PATIENCE: Duration = Duration::from_secs(60);

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
    /// File systems of the agent's own.
    pub mounts: Option<Mounts>,
    pub folder: TempDir,
    pub agent_id: String,
}

impl Site {
    /// A namespace with a ready server and no agent yet.
    pub fn with_server() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("netmon-live-").tempdir()?;
        // The database and the agent run as other users.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        let namespace = Namespace::new()?;
        let mut site = Self {
            agent: None,
            server: None,
            agent_namespace: namespace.clone(),
            namespace,
            servers: vec!["127.0.0.1:8082".to_owned()],
            agent_environment: Vec::new(),
            mounts: None,
            folder,
            agent_id: String::new(),
        };
        site.start_server()?;
        site.agent_id = site.issue_identity("site")?;
        Ok(site)
    }

    /// A namespace with a ready server and a connected agent.
    pub fn start(agent_arguments: &[&str]) -> Result<Self> {
        let mut site = Self::with_server()?;
        site.start_agent(agent_arguments)?;
        Ok(site)
    }

    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("server")
    }

    pub fn start_server(&mut self) -> Result<()> {
        let mut command = self.namespace.command(workspace_binary("netmon-server")?);
        command.arg("serve").arg("--data-dir").arg(self.data_dir());
        self.log_to(&mut command, "server.log")?;
        self.server = Some(Child::spawn("netmon-server", command, Signal::SIGTERM)?);
        let ready = wait_until(PATIENCE, "the server to be ready", || {
            self.status("/readyz").ok().filter(|status| *status == 200)
        });
        ready.map(|_| ()).with_context(|| self.log("server.log"))
    }

    fn issue_identity(&self, alias: &str) -> Result<String> {
        let folder = self.folder.path().join("identity");
        let mut issue = Command::new(workspace_binary("netmon-server")?);
        issue.args(["issue-agent", alias, "--out"]).arg(&folder);
        let output = run(issue.arg("--data-dir").arg(self.data_dir()))?;
        for entry in fs::read_dir(&folder)? {
            chown(entry?.path(), Some(UNPRIVILEGED), Some(UNPRIVILEGED))?;
        }
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755))?;
        let is_id = |word: &&str| word.len() == 16 && word.bytes().all(|b| b.is_ascii_hexdigit());
        let id = output
            .split_whitespace()
            .find(is_id)
            .context("issue-agent names no agent id")?;
        Ok(id.to_owned())
    }

    pub fn agent_command(&self, subcommand: &str, arguments: &[&str]) -> Result<Command> {
        // A copy: the workspace may lie where an unprivileged user must not look.
        let program = self.folder.path().join("netmon-agent");
        if !program.exists() {
            fs::copy(env!("CARGO_BIN_EXE_netmon-agent"), &program)?;
        }
        let user = UNPRIVILEGED.to_string();
        let mut command = match &self.mounts {
            Some(mounts) => mounts.command("setpriv"),
            None => self.agent_namespace.command("setpriv"),
        };
        command
            .args([
                "--reuid",
                &user,
                "--regid",
                &user,
                "--clear-groups",
                "--no-new-privs",
            ])
            .args(["--bounding-set", "-all,+bpf,+net_admin"])
            .args(["--inh-caps", "-all,+bpf,+net_admin"])
            .args(["--ambient-caps", "-all,+bpf,+net_admin"])
            .arg(program)
            .arg(subcommand)
            .args(self.servers.iter().flat_map(|server| ["--server", server]))
            .arg("--identity")
            .arg(self.folder.path().join("identity"))
            .args(arguments);
        Ok(command)
    }

    /// The agent's spool.
    pub fn spool(&self) -> Result<PathBuf> {
        let folder = self.folder.path().join("spool");
        if !folder.exists() {
            fs::create_dir(&folder)?;
            chown(&folder, Some(UNPRIVILEGED), Some(UNPRIVILEGED))?;
        }
        Ok(folder)
    }

    pub fn start_agent(&mut self, arguments: &[&str]) -> Result<()> {
        let mut command = self.agent_command("run", arguments)?;
        command
            .env("NETMON_AGENT__SERVER__MAX_RETRY_INTERVAL", "2s")
            .env("NETMON_AGENT__SPOOL__DIRECTORY", self.spool()?)
            .envs(self.agent_environment.iter().copied());
        self.log_to(&mut command, "agent.log")?;
        // The kernel clears a parent-death signal when credentials change, as setpriv's do: the
        // guard's drop ends the agent, and so does the end of its namespace's other users.
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
            Some(status) if status.success() => Ok(()),
            other => bail!("the agent ended with {other:?}:\n{}", self.log("agent.log")),
        }
    }

    pub fn log_to(&self, command: &mut Command, name: &str) -> Result<()> {
        let path = self.folder.path().join(name);
        let file = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)?;
        command.stdout(file.try_clone()?).stderr(file);
        Ok(())
    }

    pub fn log(&self, name: &str) -> String {
        let text = fs::read_to_string(self.folder.path().join(name)).unwrap_or_default();
        let lines = text.lines().collect::<Vec<_>>();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// One SQL question to the server's database.
    pub fn sql(&self, sql: &str) -> Result<String> {
        netmon_lab::psql(&self.data_dir().join("socket"), sql)
    }

    pub fn sql_numbers(&self, sql: &str) -> Result<Vec<u64>> {
        let row = self.sql(sql)?;
        row.split('|')
            .map(|n| n.parse().with_context(|| format!("{sql}: {row:?}")))
            .collect()
    }

    /// Body of a successful GET from the server's REST API.
    pub fn rest(&self, path: &str) -> Result<Value> {
        let (status, body) = self.get(HTTP, path)?;
        if status != 200 {
            bail!("GET {path}: {status} {body}");
        }
        Ok(serde_json::from_str(&body)?)
    }

    fn status(&self, path: &str) -> Result<u16> {
        Ok(self.get(HTTP, path)?.0)
    }

    /// Status and body of a GET on a loopback port inside the namespace of the one who listens.
    pub fn get(&self, port: u16, path: &str) -> Result<(u16, String)> {
        let place = match port {
            METRICS => &self.agent_namespace,
            _ => &self.namespace,
        };
        place.run_inside(|| {
            let mut stream = TcpStream::connect(("127.0.0.1", port))?;
            stream.set_read_timeout(Some(Duration::from_secs(20)))?;
            // Version 1.0: the answer ends with the connection and is never chunked.
            write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
            let status = head.split(' ').nth(1).context("no status")?.parse()?;
            Ok((status, body.to_owned()))
        })
    }

    /// The value of one series: name with its labels as they stand in the text.
    pub fn metric(&self, port: u16, series: &str) -> Result<f64> {
        let (_, text) = self.get(port, "/metrics")?;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        Ok(line
            .with_context(|| format!("no series {series}"))?
            .parse()?)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// A folder for a program of another user.
pub fn open_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path)?;
    Ok(fs::set_permissions(
        path,
        fs::Permissions::from_mode(0o777),
    )?)
}
