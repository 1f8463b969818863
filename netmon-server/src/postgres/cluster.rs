//! The cluster: where it lies, which programs serve it, how to reach it.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    unistd::geteuid,
};
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use super::{
    PostgresError,
    binaries::{self, Binaries},
    child, initialise, leftovers,
    owner::Owner,
    reach, socket,
    supervisor::Control,
};
use crate::config::Config;

/// Database and role of the server's tables; the role owns the database and is no superuser.
pub(super) const NAME: &str = "netmon";

/// A killed predecessor holds its lock until the kernel has taken it apart.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);

/// Connections beyond those that store rows: for requests, for further servers on this database with
/// all of theirs, for `psql`, Grafana and backups. A place that nobody takes costs some kilobytes.
const SPARE_CONNECTIONS: u32 = 70;

/// A cluster that is this process's alone, running or not, initialised or not.
#[derive(Debug)]
pub struct Cluster {
    pub(super) data: PathBuf,
    pub(super) binaries: Binaries,
    pub(super) owner: Owner,
    socket_dir: PathBuf,
    max_connections: u32,
    _lock: Flock<File>,
}

impl Cluster {
    /// Finds the programs for the cluster in `config.data_dir` and makes sure that nobody else
    /// serves it. Starts nothing; blocks up to ten seconds when a predecessor is just ending.
    pub fn locate(config: &Config) -> Result<Self, PostgresError> {
        fs::create_dir_all(&config.data_dir)
            .map_err(PostgresError::file("create", &config.data_dir))?;
        // Without links: processes of the cluster are recognised by it.
        let data_dir = config
            .data_dir
            .canonicalize()
            .map_err(PostgresError::file("find", &config.data_dir))?;
        let data = data_dir.join("postgres");
        let lock = lock(&data_dir)?;
        let owner = Owner::choose(&data)?;
        let installed = binaries::installed(config.database.bin_dir.as_deref())?;
        let binaries = fitting(installed, &data, &owner)?;
        reach::check(&owner, &binaries.program("postgres"), &data_dir)?;
        Ok(Self {
            socket_dir: socket::dir(&data_dir, geteuid().is_root()),
            data,
            binaries,
            owner,
            max_connections: config.database.max_connections + SPARE_CONNECTIONS,
            _lock: lock,
        })
    }

    /// How to connect to it, once it runs.
    pub fn connect_options(&self) -> PgConnectOptions {
        options(&self.socket_dir)
    }

    /// How to connect to the cluster of another process, the server that runs on this directory.
    ///
    /// # Errors
    /// [`PostgresError::File`] when the directory is not there or closed to this user.
    pub fn connect_options_of(data_dir: &Path) -> Result<PgConnectOptions, PostgresError> {
        let data_dir = data_dir
            .canonicalize()
            .map_err(PostgresError::file("find", data_dir))?;
        // The server may run as root and this process not, or the other way round.
        let possible = [geteuid().is_root(), !geteuid().is_root()]
            .map(|is_root| socket::dir(&data_dir, is_root));
        let there = possible.iter().find(|dir| dir.is_dir());
        Ok(options(there.unwrap_or(&possible[0])))
    }

    /// The command with which a person looks at the data.
    pub fn psql_command(&self) -> String {
        let dir = self.socket_dir.display().to_string().replace('\'', r"'\''");
        let plain = dir
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
        let host = if plain { dir } else { format!("'{dir}'") };
        format!("psql -h {host} -U {NAME} {NAME}")
    }

    /// Major version of the PostgreSQL that serves it.
    pub fn major(&self) -> u32 {
        self.binaries.major
    }

    /// Everything before the start: no processes of a predecessor, a complete cluster, a socket
    /// directory, the right people let in.
    pub(super) fn prepare(&self, control: &Control) -> Result<(), PostgresError> {
        leftovers::wait_until_gone(&self.data, self.owner.uid, control)?;
        if pg_version(&self.data)?.is_none() {
            initialise::initialise(self, control)?;
        }
        initialise::let_in(self)?;
        socket::prepare(&self.socket_dir, &self.owner)
    }

    /// The command that serves the cluster until it is told to stop.
    ///
    /// What must hold is said here and wins over postgresql.conf; what is a matter of taste is
    /// written there once and may be changed.
    pub(super) fn postmaster(&self) -> Command {
        let mut command = self.command("postgres", &self.data);
        let socket_dir = self.socket_dir.display().to_string().replace('"', "\"\"");
        command.arg("-D").arg(&self.data);
        for setting in [
            "listen_addresses=".to_owned(),
            // A list of names: quotes keep a comma or space within one.
            format!("unix_socket_directories=\"{socket_dir}\""),
            format!("port={}", socket::PORT),
            format!("max_connections={}", self.max_connections),
            "fsync=on".to_owned(),
            "full_page_writes=on".to_owned(),
            // An acknowledged batch is one the agent no longer has.
            "synchronous_commit=on".to_owned(),
            // To standard error, which the server reads.
            "logging_collector=off".to_owned(),
            "log_destination=stderr".to_owned(),
            "log_line_prefix=".to_owned(),
        ] {
            command.arg("-c").arg(setting);
        }
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    /// The file by which PostgreSQL keeps others from its socket.
    pub(super) fn socket_lock(&self) -> PathBuf {
        self.socket_dir
            .join(format!(".s.PGSQL.{}.lock", socket::PORT))
    }

    pub(super) fn command(&self, program: &str, cwd: &Path) -> Command {
        child::command(&self.binaries.program(program), &self.owner, cwd)
    }
}

/// One server per directory: held until the process ends, however it ends.
fn lock(data_dir: &Path) -> Result<Flock<File>, PostgresError> {
    let path = data_dir.join("postgres.lock");
    let started = Instant::now();
    loop {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(PostgresError::file("open", &path))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((_, Errno::EWOULDBLOCK)) if started.elapsed() < LOCK_PATIENCE => {
                std::thread::sleep(Duration::from_millis(100));
            }
            Err((_, Errno::EWOULDBLOCK)) => {
                return Err(PostgresError::InUse(data_dir.to_owned()));
            }
            Err((_, errno)) => return Err(PostgresError::file("lock", path)(errno.into())),
        }
    }
}

/// The newest version for a new cluster, the very same major version for an existing one: a
/// newer PostgreSQL appearing beside the old one changes nothing.
fn fitting(
    installed: Vec<Binaries>,
    data: &Path,
    owner: &Owner,
) -> Result<Binaries, PostgresError> {
    let version = pg_version(data)?;
    let fits = |binaries: &&Binaries| {
        version
            .as_ref()
            .is_none_or(|version| *version == binaries.major.to_string())
    };
    if let Some(binaries) = installed.iter().find(fits) {
        return Ok(binaries.clone());
    }
    let describe = |b: &Binaries| format!("{} in {}", b.major, b.dir.display());
    Err(PostgresError::ForeignVersion {
        data: data.to_owned(),
        found: version.unwrap_or_default(),
        installed: installed
            .iter()
            .map(describe)
            .collect::<Vec<_>>()
            .join(", "),
        user: owner.name.clone(),
    })
}

/// What `PG_VERSION` says; none if there is no cluster yet.
fn pg_version(data: &Path) -> Result<Option<String>, PostgresError> {
    let path = data.join("PG_VERSION");
    match fs::read_to_string(&path) {
        Ok(text) => return Ok(Some(text.trim().to_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(PostgresError::file("read", path)(error)),
    }
    let empty = fs::read_dir(data).map_or(!data.exists(), |mut entries| entries.next().is_none());
    match empty {
        true => Ok(None),
        false => Err(PostgresError::NotACluster(data.to_owned())),
    }
}

/// By the socket in a directory, as the role that owns the tables.
fn options(socket_dir: &Path) -> PgConnectOptions {
    PgConnectOptions::new_without_pgpass()
        .socket(socket_dir)
        .port(socket::PORT)
        .username(NAME)
        .database(NAME)
        .ssl_mode(PgSslMode::Disable)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binaries(major: u32) -> Binaries {
        Binaries {
            dir: PathBuf::from(format!("/pg/{major}")),
            major,
        }
    }

    #[test]
    fn a_new_cluster_gets_the_newest_version_and_an_old_one_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let owner = Owner::choose(dir.path()).unwrap();
        let installed = || vec![binaries(17), binaries(15)];
        assert_eq!(fitting(installed(), dir.path(), &owner).unwrap().major, 17);
        fs::write(dir.path().join("PG_VERSION"), "15\n").unwrap();
        assert_eq!(fitting(installed(), dir.path(), &owner).unwrap().major, 15);
    }

    #[test]
    fn a_directory_of_somebody_else_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("thesis.txt"), "").unwrap();
        assert!(matches!(
            pg_version(dir.path()),
            Err(PostgresError::NotACluster(_))
        ));
    }
}
