//! A real server on a managed PostgreSQL in a directory of its own, gone with this process.

use std::{
    fs::{self, File, Permissions},
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{ChildStdin, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use netmon_lab::{Child, Signal};
use netmon_server::postgres::Cluster;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};

/// How long a server may take to start or stop.
const PATIENCE: Duration = Duration::from_secs(60);

/// A directory with a server.
pub struct Site {
    pub directory: PathBuf,
    /// Where agents connect.
    pub quic: SocketAddr,
    /// Where people ask.
    pub http: SocketAddr,
    program: PathBuf,
    /// Settings other than the default, as environment variables.
    pub settings: Vec<(String, String)>,
    server: Option<Child>,
    _janitor: ChildStdin,
}

impl Site {
    /// An empty site for a server program.
    pub fn new(program: &Path) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("netmon-fleet-").tempdir()?;
        let janitor = janitor(directory.path())?;
        let directory = directory.keep();
        // Whoever runs the database must be able to go there.
        fs::set_permissions(&directory, Permissions::from_mode(0o755))?;
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        Ok(Self {
            quic: UdpSocket::bind(loopback)?.local_addr()?,
            http: TcpListener::bind(loopback)?.local_addr()?,
            program: program.to_owned(),
            settings: Vec::new(),
            directory,
            server: None,
            _janitor: janitor,
        })
    }

    /// A setting for the servers started from now on.
    pub fn set(&mut self, setting: &str, value: &str) {
        self.settings.retain(|(name, _)| name != setting);
        self.settings.push((setting.to_owned(), value.to_owned()));
    }

    pub fn data_dir(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// Starts the server and waits until agents are let in; gives how long that took.
    pub async fn start(&mut self) -> Result<Duration> {
        let began = Instant::now();
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_path())?;
        let mut command = Command::new(&self.program);
        command
            .arg("serve")
            .arg("--data-dir")
            .arg(self.data_dir())
            .arg("--quic-listen")
            .arg(self.quic.to_string())
            .arg("--http-listen")
            .arg(self.http.to_string())
            .env("NETMON_SERVER__LOG__FILTER", "warn")
            .envs(self.settings.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let mut child = Child::spawn("netmon-server", command, Signal::SIGTERM)?
            .with_grace(Duration::from_secs(30));
        while !self.is_ready() {
            if let Some(status) = child.exited()? {
                bail!("the server ended ({status}):\n{}", self.log());
            }
            ensure!(
                began.elapsed() < PATIENCE,
                "the server is not ready after {PATIENCE:?}:\n{}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.server = Some(child);
        Ok(began.elapsed())
    }

    /// Sends the server a signal and waits until it is gone.
    pub async fn end(&mut self, signal: Signal) -> Result<()> {
        let Some(mut server) = self.server.take() else {
            return Ok(());
        };
        server.signal(signal)?;
        let began = Instant::now();
        while server.exited()?.is_none() {
            ensure!(
                began.elapsed() < PATIENCE,
                "the server does not end:\n{}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// The server's process.
    pub fn server_id(&self) -> Option<u32> {
        self.server.as_ref().map(Child::id)
    }

    /// The process all of PostgreSQL's are children of.
    pub fn postmaster_id(&self) -> Result<u32> {
        let file = self.data_dir().join("postgres/postmaster.pid");
        let text = fs::read_to_string(&file)?;
        let first = text.lines().next().context("postmaster.pid is empty")?;
        Ok(first.trim().parse()?)
    }

    /// Connections to the server's database; as `postgres` for what only a superuser may do.
    pub fn pool(&self, connections: u32) -> Result<PgPool> {
        Ok(PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(PATIENCE)
            .connect_lazy_with(self.options()?))
    }

    /// How to connect to the database.
    pub fn options(&self) -> Result<PgConnectOptions> {
        let options = Cluster::connect_options_of(&self.data_dir())?;
        Ok(options.application_name("fleet"))
    }

    /// What the server has logged, its end.
    pub fn log(&self) -> String {
        let text = fs::read_to_string(self.log_path()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// The page at a path of the REST interface.
    pub fn get(&self, path: &str) -> Result<String> {
        let mut stream = TcpStream::connect(self.http)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        write!(stream, "GET {path} HTTP/1.0\r\nhost: localhost\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    fn is_ready(&self) -> bool {
        let answer = self.get("/readyz").unwrap_or_default();
        answer.split(' ').nth(1) == Some("200")
    }

    fn log_path(&self) -> PathBuf {
        self.directory.join("server.log")
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // The database ends with the server, then the directory goes.
        self.server = None;
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// A shell that waits for this process to end, then for postgres, and removes the directory.
fn janitor(directory: &Path) -> Result<ChildStdin> {
    let script = "trap '' INT HUP TERM; cat; n=0; \
                  while read -r pid < \"$1/data/postgres/postmaster.pid\" && kill -0 $pid \
                  && [ $n -lt 300 ]; do sleep 0.1; n=$((n+1)); done; rm -rf \"$1\"";
    let shell = Command::new("sh")
        .args(["-c", script, "janitor"])
        .arg(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    shell.stdin.context("the shell has no input")
}
