//! Makes a new cluster, whole or not at all: beside its place, moved there when complete.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Write},
    os::unix::fs::DirBuilderExt,
    path::Path,
};

use super::{
    PostgresError,
    cluster::{Cluster, NAME},
    leftovers,
    owner::Owner,
    supervisor::Control,
};

/// Superuser of the cluster, for upgrades and repairs.
const SUPERUSER: &str = "postgres";

/// Nobody gets in over the network, and over the socket only who pg_ident.conf lists.
const PG_HBA: &str = "\
# Written by netmon-server when it made this cluster.
# TYPE  DATABASE     USER  METHOD
local   all          all   peer map=netmon
local   replication  all   peer map=netmon
";

const PG_IDENT_HEAD: &str = "\
# Lines below are added by netmon-server when they are missing.
# MAP   OPERATING-SYSTEM-USER  ROLE
";

/// Read after what initdb wrote; the command line of the server wins over it.
const SETTINGS: &str = "
# Added by netmon-server when it made this cluster; yours to change.
max_wal_size = 1GB
min_wal_size = 1GB                  # segments are used again, not made anew after a quiet hour
checkpoint_timeout = 15min          # fewer full-page images: rows are only ever appended
max_locks_per_transaction = 256     # one query may touch many daily partitions
jit = off                           # queries are short
work_mem = 16MB                     # points of 400 days are grouped in memory
log_checkpoints = off
timezone = 'UTC'
log_timezone = 'UTC'
";

/// Makes the cluster in `cluster.data`, which must not exist or be empty.
pub(super) fn initialise(cluster: &Cluster, control: &Control) -> Result<(), PostgresError> {
    let fresh = cluster.data.with_extension("new");
    leftovers::wait_until_gone(&fresh, cluster.owner.uid, control)?;
    remove(&fresh).map_err(PostgresError::file("remove", &fresh))?;
    DirBuilder::new()
        .mode(0o700)
        .create(&fresh)
        .and_then(|()| cluster.owner.take(&fresh))
        .map_err(PostgresError::file("create", &fresh))?;

    tracing::info!(data = ?cluster.data, user = cluster.owner.name, "makes a new database");
    let mut initdb = cluster.command("initdb", &fresh);
    initdb
        .arg("-D")
        .arg(&fresh)
        .args(["--username", SUPERUSER, "--encoding=UTF8", "--locale=C"])
        .args(["--data-checksums", "--auth=peer", "--no-instructions"]);
    control.run_step("initdb", initdb, "")?;
    let compression = wal_compression(cluster, &fresh, control)?;
    let settings = format!("{SETTINGS}wal_compression = {compression}\n");
    configure(&fresh, &cluster.owner, &settings)
        .map_err(PostgresError::file("configure", &fresh))?;
    control.run_step(
        "creating the database",
        single_user(cluster, &fresh),
        &create_database(),
    )?;

    fs::rename(&fresh, &cluster.data)
        .and_then(|()| sync(cluster.data.parent()))
        .map_err(PostgresError::file(
            "move the new database to",
            &cluster.data,
        ))
}

/// Lets the server's user and the database's user in; a server may change its user.
pub(super) fn let_in(cluster: &Cluster) -> Result<(), PostgresError> {
    let path = cluster.data.join("pg_ident.conf");
    let add = || -> io::Result<()> {
        let present = fs::read_to_string(&path)?;
        let mut lines = ident_lines([&cluster.owner.server_name, &cluster.owner.name]);
        lines.retain(|line| !present.lines().any(|known| known == line));
        if lines.is_empty() {
            return Ok(());
        }
        let mut file = cluster.owner.open(&path)?;
        for line in lines {
            writeln!(file, "{line}")?;
        }
        file.sync_all()
    };
    add().map_err(PostgresError::file("extend", &path))
}

fn ident_lines(users: [&str; 2]) -> Vec<String> {
    let both: &[&str] = if users[0] == users[1] {
        &users[..1]
    } else {
        &users
    };
    let lines = both
        .iter()
        .flat_map(|user| [NAME, SUPERUSER].map(|role| format!("netmon  \"{user}\"  {role}")));
    lines.collect()
}

fn remove(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// How pages are compressed that go whole into the log, most of a busy disk's traffic after each
/// checkpoint: by LZ4, which costs less processor time than PostgreSQL's own pglz, if this PostgreSQL
/// was built with it.
fn wal_compression(
    cluster: &Cluster,
    dir: &Path,
    control: &Control,
) -> Result<&'static str, PostgresError> {
    let mut asking = cluster.command("postgres", dir);
    asking
        .arg("-D")
        .arg(dir)
        .args(["-c", "wal_compression=lz4", "-C", "wal_compression"]);
    match control.run_step("asking for LZ4", asking, "") {
        Ok(()) => Ok("lz4"),
        Err(PostgresError::Step { .. }) => Ok("on"),
        Err(error) => Err(error),
    }
}

/// The files exist and belong to the database's user, who keeps them.
fn configure(dir: &Path, owner: &Owner, settings: &str) -> io::Result<()> {
    for (name, content, append) in [
        ("pg_hba.conf", PG_HBA, false),
        ("pg_ident.conf", PG_IDENT_HEAD, false),
        ("postgresql.conf", settings, true),
    ] {
        let mut file = owner.open(&dir.join(name))?;
        if !append {
            file.set_len(0)?;
        }
        file.write_all(content.as_bytes())?;
        file.sync_all()?;
    }
    sync(Some(dir))
}

/// PostgreSQL without a socket, which executes what it reads.
fn single_user(cluster: &Cluster, dir: &Path) -> std::process::Command {
    let mut command = cluster.command("postgres", dir);
    command
        .arg("--single")
        .arg("-D")
        .arg(dir)
        .args(["-c", "exit_on_error=true", "postgres"]);
    command
}

/// One command per line.
fn create_database() -> String {
    format!("CREATE ROLE {NAME} LOGIN;\nCREATE DATABASE {NAME} OWNER {NAME};\n")
}

fn sync(dir: Option<&Path>) -> io::Result<()> {
    dir.map_or(Ok(()), |dir| File::open(dir)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_under_the_databases_user_needs_each_line_once() {
        assert_eq!(ident_lines(["root", "postgres"]).len(), 4);
        assert_eq!(
            ident_lines(["netmon", "netmon"]),
            ["netmon  \"netmon\"  netmon", "netmon  \"netmon\"  postgres"]
        );
    }
}
