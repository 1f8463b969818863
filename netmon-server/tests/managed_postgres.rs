//! The managed database with real PostgreSQL: made, kept running, and never left behind.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, geteuid},
};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(60);

/// A directory that the database's user can reach.
fn open_dir() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

/// A running server with free ports.
struct Server {
    child: Child,
    log: Receiver<String>,
    seen: Vec<String>,
    data_dir: PathBuf,
    http: String,
}

impl Server {
    /// Started, and answering requests; the database may still be on its way.
    fn start(data_dir: &Path) -> Self {
        let mut child = command(data_dir).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, log) = mpsc::channel();
        std::thread::spawn(move || {
            stderr
                .lines()
                .map_while(Result::ok)
                .all(|line| sender.send(line).is_ok())
        });
        let data_dir = data_dir.to_owned();
        let mut server = Self {
            child,
            log,
            seen: Vec::new(),
            data_dir,
            http: String::new(),
        };
        let line = server.wait_for_line("HTTP listens");
        server.http = line.rsplit("address=").next().unwrap().to_owned();
        server
    }

    fn start_ready(data_dir: &Path) -> Self {
        let mut server = Self::start(data_dir);
        server.wait_for_line("the database is ready");
        server.wait_until("ready", |s| s.status("/readyz") == Some(200));
        server
    }

    fn wait_for_line(&mut self, part: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.log.recv_timeout(left) else {
                panic!("no line with {part:?} in\n{}", self.seen.join("\n"))
            };
            self.seen.push(line.clone());
            if line.contains(part) {
                return line;
            }
        }
    }

    fn wait_until(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self) {
            let lines = || self.log.try_iter().collect::<Vec<_>>().join("\n");
            assert!(Instant::now() < deadline, "not {what}:\n{}", lines());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn status(&self, path: &str) -> Option<u16> {
        let mut stream = TcpStream::connect(&self.http).ok()?;
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .ok()?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nhost: netmon\r\nconnection: close\r\n\r\n"
        )
        .ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.split(' ').nth(1)?.parse().ok()
    }

    /// The process that owns the cluster.
    fn postmaster(&self) -> Option<Pid> {
        let file = fs::read_to_string(self.data_dir.join("postgres/postmaster.pid")).ok()?;
        file.lines().next()?.trim().parse().ok().map(Pid::from_raw)
    }

    fn psql(&self, query: &str) -> String {
        let output = Command::new("psql")
            .args([
                "-X", "-A", "-t", "-U", "netmon", "-c", query, "netmon", "-h",
            ])
            .arg(self.data_dir.join("socket"))
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    /// Asks it to stop and waits until it has.
    fn stop(mut self) {
        self.signal(Signal::SIGTERM);
        let begun = Instant::now();
        let status = self.child.wait().unwrap();
        assert!(
            status.success(),
            "{status}: {:?}",
            self.log.try_iter().collect::<Vec<_>>()
        );
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "{:?}",
            begun.elapsed()
        );
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(data_dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_netmon-server"));
    command
        .args([
            "serve",
            "--http-listen",
            "127.0.0.1:0",
            "--quic-listen",
            "127.0.0.1:0",
        ])
        .arg("--data-dir")
        .arg(data_dir)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .stdout(Stdio::null());
    command
}

/// Every process that works in the cluster's directory.
fn processes(data_dir: &Path) -> Vec<i32> {
    let data = data_dir.canonicalize().unwrap().join("postgres");
    let pids = fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == data))
        .collect()
}

fn wait_until_gone(data_dir: &Path) {
    let deadline = Instant::now() + PATIENCE;
    while !processes(data_dir).is_empty() {
        assert!(Instant::now() < deadline, "left: {:?}", processes(data_dir));
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_new_database_is_made_under_an_unprivileged_user() {
    let dir = open_dir();
    let data_dir = dir.path().join("it's \"odd\"");
    let server = Server::start_ready(&data_dir);
    let data = fs::metadata(data_dir.join("postgres")).unwrap();
    assert_eq!(data.mode() & 0o777, 0o700);
    assert_ne!(data.uid(), 0);
    if geteuid().is_root() {
        let postmaster = server.postmaster().unwrap();
        let of_process = fs::metadata(format!("/proc/{postmaster}")).unwrap();
        assert_eq!(of_process.uid(), data.uid());
    }
    for (setting, value) in [
        ("data_checksums", "on"),
        ("fsync", "on"),
        ("synchronous_commit", "on"),
        ("listen_addresses", ""),
        ("server_encoding", "UTF8"),
        ("lc_collate", "C"),
        ("TimeZone", "UTC"),
    ] {
        assert_eq!(server.psql(&format!("SHOW {setting}")), value, "{setting}");
    }
    assert_eq!(
        server.psql("SELECT rolsuper FROM pg_roles WHERE rolname = 'netmon'"),
        "f"
    );
    assert_eq!(
        server.psql("SELECT count(*) > 0 FROM _sqlx_migrations"),
        "t"
    );
    server.stop();
    assert!(processes(&data_dir).is_empty());
}

#[test]
fn strangers_are_not_let_in() {
    if !geteuid().is_root() {
        return;
    }
    let dir = open_dir();
    let server = Server::start_ready(dir.path());
    // Even if somebody opened the directory of the socket.
    fs::set_permissions(dir.path().join("socket"), fs::Permissions::from_mode(0o755)).unwrap();
    let mut psql = Command::new("psql");
    psql.args(["-X", "-U", "netmon", "-c", "SELECT 1", "netmon", "-h"]);
    psql.arg(dir.path().join("socket"));
    std::os::unix::process::CommandExt::uid(&mut psql, 65534);
    let refused = psql.output().unwrap();
    let message = String::from_utf8_lossy(&refused.stderr);
    assert!(message.contains("Peer authentication failed"), "{message}");
    fs::set_permissions(dir.path().join("socket"), fs::Permissions::from_mode(0o700)).unwrap();
    server.stop();
}

#[test]
fn a_killed_database_is_started_again_while_the_server_goes_on() {
    let dir = open_dir();
    let mut server = Server::start_ready(dir.path());
    server.psql("CREATE TABLE kept (n int); INSERT INTO kept VALUES (42)");
    for _ in 0..2 {
        let before = server.postmaster().unwrap();
        kill(before, Signal::SIGKILL).unwrap();
        server.wait_until("restarted", |s| {
            s.postmaster().is_some_and(|now| now != before)
        });
        assert_eq!(server.status("/livez"), Some(200));
        server.wait_until("ready again", |s| s.status("/readyz") == Some(200));
        assert_eq!(server.psql("SELECT n FROM kept"), "42");
    }
    server.stop();
}

#[test]
fn a_killed_server_leaves_no_database_behind() {
    let dir = open_dir();
    let mut server = Server::start_ready(dir.path());
    assert!(!processes(dir.path()).is_empty());
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    wait_until_gone(dir.path());
}

#[test]
fn a_server_takes_over_from_a_killed_one_at_once_and_again() {
    let dir = open_dir();
    let mut server = Server::start_ready(dir.path());
    server.psql("CREATE TABLE kept (n int); INSERT INTO kept VALUES (42)");
    for round in 0..3 {
        server.child.kill().unwrap();
        server.child.wait().unwrap();
        // The predecessor's PostgreSQL may still be shutting down.
        server = Server::start_ready(dir.path());
        assert_eq!(server.psql("SELECT n FROM kept"), "42", "round {round}");
    }
    server.stop();
}

#[test]
fn a_server_killed_while_it_makes_its_database_starts_over() {
    let dir = open_dir();
    let mut server = Server::start(dir.path());
    server.wait_for_line("makes a new database");
    std::thread::sleep(Duration::from_millis(300));
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    let server = Server::start_ready(dir.path());
    assert!(!dir.path().join("postgres.new").exists());
    server.stop();
}

#[test]
fn a_stop_while_the_database_is_being_made_is_obeyed() {
    let dir = open_dir();
    let mut server = Server::start(dir.path());
    server.wait_for_line("makes a new database");
    assert_eq!(server.status("/livez"), Some(200));
    assert_eq!(server.status("/readyz"), Some(503));
    server.stop();
    wait_until_gone(dir.path());
}

#[test]
fn a_database_of_a_foreign_version_is_refused_with_the_way_to_upgrade() {
    let dir = open_dir();
    let server = Server::start_ready(dir.path());
    server.stop();
    let version = dir.path().join("postgres/PG_VERSION");
    fs::write(&version, "12\n").unwrap();
    let refused = command(dir.path()).output().unwrap();
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{message}");
    for part in ["PostgreSQL 12", "pg_upgrade", "postgresql-12"] {
        assert!(message.contains(part), "{part} in {message}");
    }
    assert_eq!(fs::read_to_string(&version).unwrap(), "12\n");
    assert!(processes(dir.path()).is_empty());
}

#[test]
fn a_schema_of_a_newer_release_is_refused() {
    let dir = open_dir();
    let server = Server::start_ready(dir.path());
    server.psql(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (999999, 'from the future', true, '', 0)",
    );
    server.stop();
    let refused = command(dir.path()).output().unwrap();
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{message}");
    assert!(message.contains("version 999999"), "{message}");
    assert!(message.contains("newer release"), "{message}");
    assert!(processes(dir.path()).is_empty());
}

#[test]
fn a_second_server_on_the_same_directory_is_refused() {
    let dir = open_dir();
    let server = Server::start_ready(dir.path());
    let refused = command(dir.path()).output().unwrap();
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{message}");
    assert!(message.contains("another netmon-server"), "{message}");
    assert_eq!(server.status("/readyz"), Some(200));
    server.stop();
}

#[test]
fn a_directory_the_databases_user_cannot_reach_is_named() {
    if !geteuid().is_root() {
        return;
    }
    let dir = open_dir();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let refused = command(&dir.path().join("data")).output().unwrap();
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{message}");
    assert!(
        message.contains(&format!("chmod o+x {:?}", dir.path())),
        "{message}"
    );
}

#[test]
fn a_path_too_long_for_a_socket_is_no_obstacle() {
    let dir = open_dir();
    let long = dir
        .path()
        .join("a directory, with \"quotes\"")
        .join("d".repeat(120));
    let mut server = Server::start(&long);
    let line = server.wait_for_line("the database is ready");
    server.wait_until("ready", |s| s.status("/readyz") == Some(200));
    let socket_dir = line
        .split("-h ")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap()
        .to_owned();
    assert!(!socket_dir.contains("ddd"), "{socket_dir}");
    server.stop();
    fs::remove_dir_all(socket_dir).unwrap();
}
