//! A temporary PostgreSQL cluster: unix socket only, gone with the process that started it.

use std::{
    fs::{self, File},
    io,
    os::unix::{
        fs::chown,
        process::{CommandExt, parent_id},
    },
    path::{Path, PathBuf},
    process::{self, ChildStdin, Command, Stdio},
    sync::mpsc,
    thread::{self, JoinHandle},
    time::Duration,
};

use nix::{
    sys::{
        prctl,
        signal::{Signal, kill},
    },
    unistd::{Pid, Uid, User},
};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

/// A running cluster. Its directory is removed once this value, or the process, is gone.
pub struct Cluster {
    directory: PathBuf,
    postgres: Pid,
    /// Waits for postgres to end.
    waiting: Option<JoinHandle<()>>,
    /// Removes the directory when this pipe closes, however the process ends.
    _janitor: ChildStdin,
}

impl Cluster {
    /// Initialises and starts a cluster; returns once it accepts connections.
    pub async fn start() -> Self {
        let directory = tempfile::Builder::new()
            .prefix("netmon-api-")
            .tempdir()
            .unwrap()
            .keep();
        if let Some(user) = database_user() {
            chown(&directory, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
        }
        let initdb = database_command("initdb")
            .args([
                "--auth=trust",
                "--username=netmon",
                "--encoding=UTF8",
                "--locale=C",
            ])
            .args(["--no-sync", "--no-instructions", "--pgdata"])
            .arg(directory.join("data"))
            .output()
            .unwrap();
        assert!(
            initdb.status.success(),
            "{}",
            String::from_utf8_lossy(&initdb.stderr)
        );
        let (postgres, waiting) = spawn(&directory);
        let cluster = Self {
            _janitor: janitor(&directory),
            directory,
            postgres,
            waiting: Some(waiting),
        };
        cluster.wait_until_ready().await;
        cluster
    }

    /// Ends the database at once, as a crash would.
    pub fn kill(&mut self) {
        kill(self.postgres, Signal::SIGQUIT).unwrap();
        self.waiting.take().map(JoinHandle::join);
    }

    /// Starts the database again after [`kill`](Self::kill).
    pub async fn restart(&mut self) {
        let (postgres, waiting) = spawn(&self.directory);
        (self.postgres, self.waiting) = (postgres, Some(waiting));
        self.wait_until_ready().await;
    }

    /// How to connect to one of its databases.
    pub fn connect_options(&self, database: &str) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .socket(&self.directory)
            .port(5432)
            .username("netmon")
            .database(database)
    }

    /// What the database wrote to its log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap()
    }

    async fn wait_until_ready(&self) {
        let pool = PgPoolOptions::new().acquire_timeout(Duration::from_secs(1));
        for _ in 0..300 {
            if let Ok(pool) = pool
                .clone()
                .connect_with(self.connect_options("postgres"))
                .await
            {
                return pool.close().await;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("PostgreSQL does not start: {}", self.log());
    }
}

/// Whom the database runs as: it refuses to run as root.
fn database_user() -> Option<User> {
    let user = || {
        User::from_name("postgres")
            .unwrap()
            .expect("the user postgres exists")
    };
    Uid::effective().is_root().then(user)
}

fn database_command(program: &str) -> Command {
    let mut command = Command::new(binaries().join(program));
    if let Some(user) = database_user() {
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    command.current_dir("/").stdin(Stdio::null());
    command
}

/// The newest installed PostgreSQL.
fn binaries() -> PathBuf {
    let installed = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let mut versions: Vec<u32> = installed
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    versions.sort_unstable();
    match versions.last() {
        Some(version) => format!("/usr/lib/postgresql/{version}/bin").into(),
        None => {
            which_directory("postgres").expect("PostgreSQL is installed; see cargo xtask setup")
        }
    }
}

fn which_directory(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).find(|directory| directory.join(program).exists())
}

/// Starts postgres from a thread that lives as long as it: the signal for a parent's death follows
/// the thread, and threads of tests end with their test.
fn spawn(directory: &Path) -> (Pid, JoinHandle<()>) {
    let (started, start) = mpsc::channel();
    let directory = directory.to_owned();
    let waiting = thread::spawn(move || {
        let mut child = postgres(&directory).spawn().unwrap();
        started.send(Pid::from_raw(child.id() as i32)).unwrap();
        child.wait().unwrap();
    });
    (start.recv().unwrap(), waiting)
}

fn postgres(directory: &Path) -> Command {
    let log = File::options()
        .create(true)
        .append(true)
        .open(directory.join("log"))
        .unwrap();
    let mut command = database_command("postgres");
    command
        .arg("-D")
        .arg(directory.join("data"))
        .arg("-k")
        .arg(directory);
    for setting in [
        "listen_addresses=",
        "fsync=off",
        "max_connections=200",
        "log_line_prefix=%d: ",
    ] {
        command.args(["-c", setting]);
    }
    command.stdout(Stdio::null()).stderr(log);
    let parent = process::id();
    // SAFETY: only async-signal-safe system calls; std changes the user before it runs this, and a
    // change of user would clear the setting.
    unsafe {
        command.pre_exec(move || {
            prctl::set_pdeathsig(Signal::SIGQUIT)?;
            if parent_id() == parent {
                Ok(())
            } else {
                Err(io::ErrorKind::Other.into())
            }
        });
    }
    command
}

/// A shell that waits for this process to end, then for postgres, and removes the directory.
fn janitor(directory: &Path) -> ChildStdin {
    let script = "trap '' INT HUP TERM; cat; n=0; \
                  while read -r pid < \"$1/data/postmaster.pid\" && kill -0 $pid && [ $n -lt 100 ]; \
                  do sleep 0.1; n=$((n+1)); done; rm -rf \"$1\"";
    let child = Command::new("sh")
        .args(["-c", script, "janitor"])
        .arg(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    child.unwrap().stdin.unwrap()
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.waiting.is_some() {
            let _ = kill(self.postgres, Signal::SIGQUIT);
        }
    }
}
