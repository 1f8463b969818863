//! Finding programs: those of the system and those this workspace builds.

use std::{
    env,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

/// Where daemons lie that are not on everybody's PATH.
const SYSTEM_DIRECTORIES: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// Finds a program of the system: on PATH, in the sbin directories, among what `cargo xtask setup`
/// unpacked (see [`unpacked_tools`]).
///
/// # Errors
/// When it is nowhere; the message names the remedy.
pub fn find(program: &str) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let unpacked = ["usr/sbin", "usr/bin"].map(|part| unpacked_tools().map(|dir| dir.join(part)));
    env::split_paths(&path)
        .chain(SYSTEM_DIRECTORIES.map(PathBuf::from))
        .chain(unpacked.into_iter().flatten())
        .map(|directory| directory.join(program))
        .find(|candidate| is_executable(candidate))
        .with_context(|| format!("{program} is not installed: run `cargo xtask setup`"))
}

/// Where `cargo xtask setup` unpacks packages that it would rather not install, because installing
/// them starts services or removes others.
#[must_use]
pub fn unpacked_tools() -> Option<PathBuf> {
    Some(target_directory()?.join("tools"))
}

/// Finds a file of a package that `cargo xtask setup` unpacked in a directory of its own, because
/// others have files of the same names: `path` as the package has it, as in `usr/sbin/ntpd`.
///
/// # Errors
/// When it is not there; the message names the remedy.
pub fn of_package(package: &str, path: &str) -> Result<PathBuf> {
    unpacked_tools()
        .map(|tools| tools.join(package).join(path))
        .filter(|file| file.exists())
        .with_context(|| format!("{package} is not unpacked: run `cargo xtask setup`"))
}

/// Finds a program of this workspace (`netmon-agent`, `netmon-server`) beside the running one:
/// tests lie in `target/PROFILE/deps`, commands in `target/PROFILE`.
///
/// # Errors
/// When it is not built; the message names the command that builds it.
pub fn workspace_binary(name: &str) -> Result<PathBuf> {
    let own = env::current_exe().context("cannot tell where this program lies")?;
    own.ancestors()
        .skip(1)
        .take(2)
        .map(|directory| directory.join(name))
        .find(|candidate| is_executable(candidate))
        .with_context(|| format!("{name} is not built: run `cargo build`"))
}

/// The `target` directory of the build that this program is from.
#[must_use]
pub fn target_directory() -> Option<PathBuf> {
    let own = env::current_exe().ok()?;
    // Cargo marks the directory it builds into.
    own.ancestors()
        .find(|directory| directory.join("CACHEDIR.TAG").exists())
        .map(Path::to_owned)
}

fn is_executable(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_reported_with_the_remedy() {
        let error = find("no-such-program").unwrap_err().to_string();
        assert_eq!(
            error,
            "no-such-program is not installed: run `cargo xtask setup`"
        );
    }

    #[test]
    fn a_missing_package_is_reported_with_the_remedy() {
        let error = of_package("no-such-package", "usr/sbin/ntpd").unwrap_err();
        assert_eq!(
            error.to_string(),
            "no-such-package is not unpacked: run `cargo xtask setup`"
        );
    }

    #[test]
    fn the_target_directory_holds_this_test() {
        let target = target_directory().unwrap();
        assert!(env::current_exe().unwrap().starts_with(target));
    }
}
