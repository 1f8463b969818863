//! Agent, server and database, each where it can be broken on its own.
//!
//! ```text
//! peer ──nm-b════nm-a── agent ──nm-up════nm-srv── server + PostgreSQL
//!        the watched cable          the way to the server
//! ```

use std::{
    fs::{self, OpenOptions, Permissions},
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use netmon_lab::{
    Child, Mount, Mounts, Namespace, Signal, http,
    link::{End, Mac, add_address, ip_line, veth},
    run, wait_until, workspace_binary,
};
use nix::{sys::signal::kill, unistd::Pid};
use tempfile::TempDir;

use super::{Options, kernel::Kernel, traffic::Traffic};

/// The interface the agent watches.
pub const INTERFACE: &str = "nm-a";
/// The agent's end of the way to the server.
const UPLINK: &str = "nm-up";
const SERVER: &str = "198.18.1.1";
const HTTP: u16 = 8080;
const METRICS: u16 = 9642;
/// Nobody: a user without any privilege.
const UNPRIVILEGED: u32 = 65_534;
/// How long anything may take to come back.
const PATIENCE: Duration = Duration::from_secs(60);

/// How the agent works here: fast, so that much can be lost in little time.
const SETTINGS: &[(&str, &str)] = &[
    ("SAMPLE_INTERVAL", "100ms"),
    ("REPORT_INTERVAL", "500ms"),
    ("FRAME_INTERVAL", "1s"),
    ("BATCH__MAX_AGE", "200ms"),
    ("SYSTEM__INTERVAL", "1s"),
    // What is not delivered by then waits in the spool.
    ("SHUTDOWN_TIMEOUT", "1s"),
    ("SERVER__RETRY_INTERVAL", "100ms"),
    ("SERVER__MAX_RETRY_INTERVAL", "1s"),
];

/// What an agent without pinned programs may miss before it was killed: an unfinished frame, the
/// age of an open batch and a sample of each.
pub const UNSPOOLED: Duration = Duration::from_millis(1000 + 200 + 300);

/// A time without an agent.
#[derive(Clone, Copy, Debug)]
pub struct Absence {
    /// Told to end, or killed.
    pub ended: Instant,
    /// The process was gone.
    pub gone: Instant,
    /// Killed, with no chance to hand over its last frame.
    pub killed: bool,
    /// The next one was started.
    pub spawned: Instant,
    /// The next one watches the interface.
    pub watching: Instant,
}

/// The whole installation.
pub struct Site {
    // Declared in the order in which they end.
    traffic: Traffic,
    agent: Option<Child>,
    server: Option<Child>,
    pub kernel: Kernel,
    pub mounts: Mounts,
    pub place: Namespace,
    server_place: Namespace,
    _peer: Namespace,
    folder: TempDir,
    pub pin: bool,
    pub absences: Vec<Absence>,
    left: Option<(Instant, Instant, bool)>,
    frozen: Vec<Pid>,
    /// What the agent's wall clock was ahead, ns, all the time; the last is now.
    pub shifts_ns: Vec<i64>,
}

impl Site {
    /// Builds it, and starts everything.
    pub fn start(options: &Options) -> Result<Self> {
        let mut folder = tempfile::Builder::new().prefix("netmon-chaos-").tempdir()?;
        if let Some(keep) = &options.keep {
            fs::create_dir_all(keep)?;
            folder = tempfile::Builder::new().prefix("chaos-").tempdir_in(keep)?;
            folder.disable_cleanup(true);
            println!("chaos: everything stays in {}", folder.path().display());
        }
        // The database and the agent run as other users.
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
        let [place, server_place, peer] = [Namespace::new()?, Namespace::new()?, Namespace::new()?];
        cable(
            (&place, UPLINK, "198.18.1.2/24"),
            (&server_place, "nm-srv", "198.18.1.1/24"),
            1,
        )?;
        cable(
            (&place, INTERFACE, "198.18.0.1/24"),
            (&peer, "nm-b", "198.18.0.2/24"),
            3,
        )?;
        for name in ["spool", "bpf"] {
            fs::create_dir(folder.path().join(name))?;
        }
        let mounts = Mounts::new(
            &place,
            &[
                Mount {
                    kind: "tmpfs",
                    options: "size=3m,mode=0777",
                    at: &folder.path().join("spool"),
                },
                Mount {
                    kind: "bpf",
                    options: "mode=0777",
                    at: &folder.path().join("bpf"),
                },
            ],
        )?;
        let mut server = Some(spawn_server(&server_place, folder.path())?);
        ready(&server_place, server.as_mut()).with_context(|| tail(folder.path(), "server.log"))?;
        issue_identity(folder.path())?;
        // The first agent watches before the first packet comes.
        let mut agent = spawn_agent(&mounts, folder.path(), options.pin)?;
        watching(&place, &mut agent).with_context(|| tail(folder.path(), "agent.log"))?;
        let kernel = Kernel::watch(&place, INTERFACE);
        let traffic = Traffic::start((&place, "198.18.0.1"), (&peer, "198.18.0.2"))?;
        Ok(Self {
            traffic,
            agent: Some(agent),
            server,
            kernel,
            mounts,
            place,
            server_place,
            _peer: peer,
            folder,
            pin: options.pin,
            absences: Vec::new(),
            left: None,
            frozen: Vec::new(),
            shifts_ns: vec![0],
        })
    }

    /// Ends the agent, if one runs.
    pub fn end_agent(&mut self, signal: Signal) -> Result<()> {
        let Some(mut agent) = self.agent.take() else {
            return Ok(());
        };
        let ended = Instant::now();
        agent.signal(signal)?;
        let killed = signal == Signal::SIGKILL;
        match agent.wait_for(PATIENCE)? {
            Some(status) if killed || status.success() => {}
            other => bail!("the agent ended with {other:?} on {signal}"),
        }
        self.left = Some((ended, Instant::now(), killed));
        Ok(())
    }

    /// Starts the agent, if none runs, and waits until it watches again.
    pub fn begin_agent(&mut self) -> Result<()> {
        if self.agent.is_some() {
            return Ok(());
        }
        let spawned = Instant::now();
        let mut agent = spawn_agent(&self.mounts, self.folder.path(), self.pin)?;
        watching(&self.place, &mut agent)?;
        self.agent = Some(agent);
        if let Some((ended, gone, killed)) = self.left.take() {
            self.absences.push(Absence {
                ended,
                gone,
                killed,
                spawned,
                watching: Instant::now(),
            });
        }
        Ok(())
    }

    /// Ends the server, if one runs.
    pub fn end_server(&mut self, signal: Signal) -> Result<()> {
        let Some(mut server) = self.server.take() else {
            return Ok(());
        };
        server.signal(signal)?;
        // A server that drains waits for its database, which may be frozen.
        self.thaw();
        if server.wait_for(PATIENCE)?.is_none() {
            bail!("the server does not end on {signal}");
        }
        Ok(())
    }

    /// Starts the server, if none runs; it takes its time.
    pub fn begin_server(&mut self) -> Result<()> {
        if self.server.is_none() {
            self.server = Some(spawn_server(&self.server_place, self.folder.path())?);
        }
        Ok(())
    }

    /// Sends a signal to PostgreSQL's first process, if there is one.
    pub fn signal_database(&self, signal: Signal) -> Result<()> {
        if let Some(postmaster) = self.postmaster() {
            let _ = kill(postmaster, signal);
        }
        Ok(())
    }

    /// Stops every process of PostgreSQL where it is.
    pub fn freeze(&mut self) -> Result<()> {
        let Some(postmaster) = self.postmaster() else {
            return Ok(());
        };
        let children = fs::read_to_string(format!("/proc/{postmaster}/task/{postmaster}/children"));
        let children = children.unwrap_or_default();
        let children = children
            .split_whitespace()
            .filter_map(|pid| pid.parse().ok());
        self.frozen = std::iter::once(postmaster)
            .chain(children.map(Pid::from_raw))
            .collect();
        for process in &self.frozen {
            let _ = kill(*process, Signal::SIGSTOP);
        }
        Ok(())
    }

    /// Lets PostgreSQL go on.
    pub fn thaw(&mut self) {
        for process in self.frozen.drain(..) {
            // A backend may have come to its end by then.
            let _ = kill(process, Signal::SIGCONT);
        }
    }

    /// The process id that PostgreSQL itself wrote down, if that process is one of it.
    fn postmaster(&self) -> Option<Pid> {
        let file = self.data_dir().join("postgres/postmaster.pid");
        let pid: i32 = fs::read_to_string(file)
            .ok()?
            .lines()
            .next()?
            .parse()
            .ok()?;
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        (name.trim() == "postgres").then_some(Pid::from_raw(pid))
    }

    /// Takes the way to the server down or up.
    pub fn uplink(&self, state: &str) -> Result<()> {
        ip_line(&self.place, &["link", "set", UPLINK, state])
    }

    /// A file that takes all there is of the spool's disk.
    pub fn filler(&self) -> PathBuf {
        self.mounts.path(&self.folder.path().join("spool/filler"))
    }

    /// The spool's directory, as seen from here.
    pub fn spool(&self) -> PathBuf {
        self.mounts.path(&self.folder.path().join("spool/agent"))
    }

    /// Where the certificates are.
    pub fn identity(&self) -> PathBuf {
        self.folder.path().join("identity")
    }

    /// Where agents reach the server.
    pub fn server_address(&self) -> String {
        format!("{SERVER}:8082")
    }

    /// Puts the agent's wall clock ahead by so much.
    pub fn shift_clock(&mut self, shift_ns: i64) -> Result<()> {
        self.shifts_ns.push(shift_ns);
        Ok(fs::write(
            self.folder.path().join("clock-shift"),
            format!("{shift_ns}\n"),
        )?)
    }

    /// Fails if something ended that nobody ended.
    pub fn still_there(&mut self) -> Result<()> {
        for child in [&mut self.agent, &mut self.server].into_iter().flatten() {
            if let Some(status) = child.exited()? {
                bail!("{} has ended by itself with {status}", child.name());
            }
        }
        Ok(())
    }

    /// Everything runs, the traffic ends, and what the agent has is stored; then the agent stops.
    pub fn come_to_rest(&mut self) -> Result<()> {
        self.thaw();
        self.uplink("up")?;
        let _ = fs::remove_file(self.filler());
        self.begin_server()?;
        ready(&self.server_place, self.server.as_mut())?;
        self.begin_agent()?;
        self.traffic.stop()?;
        // The last frame is full and its batch sealed.
        thread::sleep(UNSPOOLED);
        wait_until(PATIENCE, "everything to be stored", || {
            let metric = |name| http::metric(&self.place, METRICS, name).ok();
            let connected = metric("netmon_agent_uplink_connected")?;
            let waiting = metric("netmon_agent_spool_batches")?;
            (connected == 1.0 && waiting == 0.0).then_some(())
        })?;
        self.end_agent(Signal::SIGTERM)?;
        ensure!(self.traffic.answered() > 0, "NTP requests were answered");
        Ok(())
    }

    /// One SQL question to the server's database.
    pub fn sql(&self, sql: &str) -> Result<String> {
        netmon_lab::psql(&self.data_dir().join("socket"), sql)
    }

    /// The server's own audit: exit status and what it says as JSON.
    pub fn audit(&self) -> Result<(i32, String)> {
        let mut command = self
            .server_place
            .command(workspace_binary("netmon-server")?);
        command
            .args(["audit", "--format", "json", "--data-dir"])
            .arg(self.data_dir());
        let output = command.output().context("cannot run the audit")?;
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok((
            output.status.code().unwrap_or(-1),
            format!("{said}{complaint}"),
        ))
    }

    fn data_dir(&self) -> PathBuf {
        self.folder.path().join("server")
    }

    /// The last lines of both logs.
    pub fn logs(&self) -> String {
        let [agent, server] =
            ["agent.log", "server.log"].map(|name| tail(self.folder.path(), name));
        format!("{agent}\n{server}")
    }
}

fn cable(a: (&Namespace, &str, &str), b: (&Namespace, &str, &str), number: u8) -> Result<()> {
    let end = |(place, name, _), mac| End {
        place,
        name,
        mac: Mac::local(mac),
    };
    veth(end(a, number), end(b, number + 1))?;
    for (place, name, address) in [a, b] {
        add_address(place, name, address)?;
    }
    Ok(())
}

fn spawn_server(place: &Namespace, folder: &Path) -> Result<Child> {
    let mut command = place.command(workspace_binary("netmon-server")?);
    command
        .arg("serve")
        .arg("--data-dir")
        .arg(folder.join("server"));
    log_to(&mut command, &folder.join("server.log"))?;
    Child::spawn("netmon-server", command, Signal::SIGTERM)
}

fn ready(place: &Namespace, server: Option<&mut Child>) -> Result<()> {
    let mut server = server;
    wait_until(PATIENCE, "the server to be ready", || {
        if let Some(Ok(Some(status))) = server.as_mut().map(|server| server.exited()) {
            return Some(Err(anyhow::anyhow!("the server has ended with {status}")));
        }
        let (status, _) = http::get(place, HTTP, "/readyz").ok()?;
        (status == 200).then_some(Ok(()))
    })?
}

fn issue_identity(folder: &Path) -> Result<()> {
    let identity = folder.join("identity");
    let mut issue = Command::new(workspace_binary("netmon-server")?);
    issue.args(["issue-agent", "chaos", "--out"]).arg(&identity);
    run(issue.arg("--data-dir").arg(folder.join("server")))?;
    for entry in fs::read_dir(&identity)? {
        chown(entry?.path(), Some(UNPRIVILEGED), Some(UNPRIVILEGED))?;
    }
    fs::set_permissions(&identity, Permissions::from_mode(0o755))?;
    Ok(())
}

fn spawn_agent(mounts: &Mounts, folder: &Path, pin: bool) -> Result<Child> {
    // A copy: the workspace may lie where an unprivileged user must not look.
    let program = folder.join("netmon-agent");
    if !program.exists() {
        fs::copy(workspace_binary("netmon-agent")?, &program)?;
    }
    let user = UNPRIVILEGED.to_string();
    let mut command = mounts.command("setpriv");
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
        .args(["run", "--include", INTERFACE, "--server"])
        .arg(format!("{SERVER}:8082"))
        .arg("--identity")
        .arg(folder.join("identity"))
        .env("NETMON_AGENT_CLOCK_SHIFT", folder.join("clock-shift"))
        .env("NETMON_AGENT__SPOOL__DIRECTORY", folder.join("spool/agent"))
        .env("NETMON_AGENT__SENSOR__PIN", pin.to_string())
        .env(
            "NETMON_AGENT__SENSOR__PIN_DIRECTORY",
            folder.join("bpf/netmon"),
        );
    for (key, value) in SETTINGS {
        command.env(format!("NETMON_AGENT__{key}"), value);
    }
    log_to(&mut command, &folder.join("agent.log"))?;
    Child::spawn("netmon-agent", command, Signal::SIGTERM)
}

/// Waits until the agent watches its interface; a server it need not have.
fn watching(place: &Namespace, agent: &mut Child) -> Result<()> {
    wait_until(PATIENCE, "the agent to watch its interface", || {
        if let Ok(Some(status)) = agent.exited() {
            return Some(Err(anyhow::anyhow!("the agent has ended with {status}")));
        }
        let watched = http::metric(place, METRICS, "netmon_agent_interfaces_watched").ok()?;
        (watched == 1.0).then_some(Ok(()))
    })?
}

fn log_to(command: &mut Command, path: &Path) -> Result<()> {
    let file = OpenOptions::new().create(true).append(true).open(path)?;
    command.stdout(file.try_clone()?).stderr(file);
    Ok(())
}

fn tail(folder: &Path, name: &str) -> String {
    let text = fs::read_to_string(folder.join(name)).unwrap_or_default();
    let lines = text.lines().collect::<Vec<_>>();
    format!(
        "{name}:\n{}",
        lines[lines.len().saturating_sub(40)..].join("\n")
    )
}
