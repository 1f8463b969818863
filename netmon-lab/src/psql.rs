//! One question to the database, by PostgreSQL's own client.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{programs, run};

/// Runs one SQL statement as role `netmon` in database `netmon` through the socket in
/// `socket_directory`; returns the rows one per line, columns parted by `|`.
///
/// # Errors
/// When psql is missing, nobody listens, or the statement fails.
pub fn psql(socket_directory: &Path, sql: &str) -> Result<String> {
    let mut command = Command::new(client()?);
    command
        .args(["-X", "-At", "-v", "ON_ERROR_STOP=1", "-h"])
        .arg(socket_directory)
        .args(["-U", "netmon", "netmon", "-c", sql])
        .env("PGCONNECT_TIMEOUT", "10");
    Ok(run(&mut command)?.trim_end().to_owned())
}

/// The row that one SQL statement is answered with, of counts only; otherwise as [`psql`].
///
/// # Errors
/// As [`psql`], and when it is not such a row.
pub fn psql_numbers(socket_directory: &Path, sql: &str) -> Result<Vec<u64>> {
    let row = psql(socket_directory, sql)?;
    row.split('|')
        .map(|number| number.parse().with_context(|| format!("{sql}: {row:?}")))
        .collect()
}

/// Where psql lies. Debian keeps the programs of each major version apart.
fn client() -> Result<PathBuf> {
    programs::find("psql").or_else(|missing| newest_of_debian().context(missing))
}

fn newest_of_debian() -> Result<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")?
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin/psql")))
        })
        .filter(|(_, path)| path.exists())
        .collect();
    versions.sort();
    Ok(versions
        .pop()
        .context("no version of PostgreSQL is installed")?
        .1)
}
