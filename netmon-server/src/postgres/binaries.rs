//! Finds the installed PostgreSQL, which may be there in several versions.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{MIN_MAJOR, PostgresError};

/// One installed version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Binaries {
    pub(super) dir: PathBuf,
    pub(super) major: u32,
}

impl Binaries {
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

/// Every installed version, newest first.
///
/// `configured` is the only place looked at, if given; otherwise `PATH` and the places where
/// distributions put it.
pub(super) fn installed(configured: Option<&Path>) -> Result<Vec<Binaries>, PostgresError> {
    let candidates = match configured {
        Some(dir) => vec![dir.to_owned()],
        None => {
            let path = env::var_os("PATH").unwrap_or_default();
            let mut dirs: Vec<PathBuf> = env::split_paths(&path).collect();
            dirs.extend(customary(Path::new("/")));
            dirs
        }
    };
    let mut found: Vec<Binaries> = Vec::new();
    let mut too_old: Vec<String> = Vec::new();
    for dir in candidates {
        // initdb looks for postgres beside itself, so a link in /usr/bin is followed.
        let Ok(postgres) = dir.join("postgres").canonicalize() else {
            continue;
        };
        let Some(dir) = postgres.parent().filter(|dir| dir.join("initdb").is_file()) else {
            continue;
        };
        let dir = dir.to_owned();
        if found.iter().any(|known| known.dir == dir) {
            continue;
        }
        match version(&postgres) {
            Some(major) if major >= MIN_MAJOR => found.push(Binaries { dir, major }),
            Some(major) => too_old.push(format!("{} has {major}", dir.display())),
            None => too_old.push(format!("{} does not run", postgres.display())),
        }
    }
    if found.is_empty() {
        let place = match configured {
            Some(dir) => format!("looked in {}", dir.display()),
            None => "looked in PATH, /usr/lib/postgresql and /usr/pgsql-*".to_owned(),
        };
        let searched = [vec![place], too_old].concat().join("; ");
        return Err(PostgresError::NotInstalled { searched });
    }
    found.sort_by_key(|binaries| std::cmp::Reverse(binaries.major));
    Ok(found)
}

/// Debian and Alpine: `/usr/lib/postgresql/15/bin`; Red Hat: `/usr/pgsql-15/bin`.
fn customary(root: &Path) -> Vec<PathBuf> {
    let children = |dir: PathBuf| {
        fs::read_dir(dir)
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path()))
    };
    let debian = children(root.join("usr/lib/postgresql"));
    let red_hat = children(root.join("usr")).filter(|dir| {
        dir.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("pgsql-"))
    });
    debian.chain(red_hat).map(|dir| dir.join("bin")).collect()
}

fn version(postgres: &Path) -> Option<u32> {
    let output = Command::new(postgres)
        .arg("--version")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    major(&String::from_utf8_lossy(&output.stdout))
}

/// From what `postgres --version` prints.
fn major(line: &str) -> Option<u32> {
    let version = line.trim().strip_prefix("postgres (PostgreSQL) ")?;
    let digits = version.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn fake(dir: &Path, version: &str) {
        fs::create_dir_all(dir).unwrap();
        for program in ["postgres", "initdb"] {
            let path = dir.join(program);
            fs::write(
                &path,
                format!("#!/bin/sh\necho 'postgres (PostgreSQL) {version}'\n"),
            )
            .unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }

    #[test]
    fn the_major_version_is_read_from_every_form_of_it() {
        for (line, expected) in [
            (
                "postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)\n",
                Some(15),
            ),
            ("postgres (PostgreSQL) 18beta1", Some(18)),
            ("postgres (PostgreSQL) 9.6.24", Some(9)),
            ("postgres: not found", None),
            ("postgres (PostgreSQL) devel", None),
        ] {
            assert_eq!(major(line), expected, "{line}");
        }
    }

    #[test]
    fn the_places_of_distributions_are_searched() {
        let root = tempfile::tempdir().unwrap();
        for dir in ["usr/lib/postgresql/15", "usr/pgsql-17", "usr/share"] {
            fs::create_dir_all(root.path().join(dir)).unwrap();
        }
        let mut found = customary(root.path());
        found.sort();
        let expected = ["usr/lib/postgresql/15/bin", "usr/pgsql-17/bin"];
        assert_eq!(found, expected.map(|dir| root.path().join(dir)));
    }

    #[test]
    fn a_version_that_is_too_old_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fake(dir.path(), "14.2");
        let message = installed(Some(dir.path())).unwrap_err().to_string();
        assert!(
            message.contains("has 14") && message.contains("apt-get install"),
            "{message}"
        );
    }

    #[test]
    fn a_configured_directory_is_the_only_one_used() {
        let dir = tempfile::tempdir().unwrap();
        fake(dir.path(), "99.1");
        let found = installed(Some(dir.path())).unwrap();
        assert_eq!(found.iter().map(|b| b.major).collect::<Vec<_>>(), [99]);
    }
}
