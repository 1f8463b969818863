//! Packages of Debian and its relatives, without starting, stopping or replacing any service.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use netmon_lab::run;

use super::{Need, Remedy, step};
use crate::{
    run_directory::Owner,
    workspace::{is_root, succeed, target_directory},
};

/// Asked by every package before it starts a service; 101 forbids.
const POLICY: &str = "/usr/sbin/policy-rc.d";
/// Asked by Debian's PostgreSQL before it makes a cluster for the whole machine.
const CLUSTER_POLICY: &str = "/etc/postgresql-common/createcluster.d/netmon-setup.conf";
const SIGNATURE: &str = "made by netmon's `cargo xtask setup`";

/// Removes what a killed `setup` left: installed packages would go on asking it.
pub(super) fn clear_left_over() {
    if fs::read_to_string(CLUSTER_POLICY).is_ok_and(|setting| is_left_over(&setting)) {
        let _ = fs::remove_file(CLUSTER_POLICY);
    }
}

/// Whether `setup` wrote it and that process has ended.
fn is_left_over(setting: &str) -> bool {
    let Some((_, rest)) = setting.split_once(SIGNATURE) else {
        return false;
    };
    let owner = rest.lines().next().and_then(|rest| {
        let owner = rest.strip_prefix(", process ")?;
        owner.parse::<Owner>().ok()
    });
    owner.is_none_or(|owner| !owner.is_alive())
}

/// Installs or unpacks the packages of the needs.
///
/// # Errors
/// Without apt or root, the message naming the packages; when apt fails.
pub(super) fn install(missing: &[&Need]) -> Result<()> {
    let mut packages = Vec::new();
    let mut unpacked = Vec::new();
    let mut apart = Vec::new();
    for need in missing {
        match need.remedy {
            Remedy::Package(name) if !packages.contains(&name) => packages.push(name),
            Remedy::Unpacked(name) if !unpacked.contains(&name) => unpacked.push(name),
            Remedy::UnpackedApart(name) => apart.push(name),
            _ => {}
        }
    }
    let all = [&packages[..], &unpacked[..], &apart[..]].concat();
    if all.is_empty() {
        return Ok(());
    }
    let names = all.join(" ");
    if !Path::new("/usr/bin/apt-get").exists() {
        bail!(
            "this system has no apt-get: install what provides these (named as Debian names \
             them) by its own means: {names}"
        );
    }
    if !is_root() {
        bail!("root must install packages: run `sudo apt-get install {names}`");
    }
    update()?;
    install_quietly(&packages)?;
    let tools = target_directory().join("tools");
    for name in unpacked {
        unpack(name, &tools)?;
    }
    for name in apart {
        unpack(name, &tools.join(name))?;
    }
    Ok(())
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command
        .env("DEBIAN_FRONTEND", "noninteractive")
        // Another installation may be under way on a new machine.
        .args(["-o", "DPkg::Lock::Timeout=300"]);
    command
}

/// Installs packages without letting them start services.
fn install_quietly(packages: &[&str]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    step(&format!(
        "installing {} (apt-get install)",
        packages.join(" ")
    ));
    let _policies = if packages.contains(&"postgresql") {
        step("no service is started, and no cluster made: netmon brings its own");
        vec![no_services()?, no_cluster()?]
    } else {
        vec![no_services()?]
    };
    let mut install = apt_get();
    install.args([
        "install",
        "-y",
        "-q",
        "--no-install-recommends",
        "--no-upgrade",
    ]);
    succeed(install.args(packages))
}

/// A file that goes with its guard.
struct Policy(Option<PathBuf>);

impl Drop for Policy {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            let _ = fs::remove_file(path);
        }
    }
}

/// Forbids packages to start services. If this process is killed, the file that stays behind
/// allows everything: it asks whether the process still lives.
fn no_services() -> Result<Policy> {
    if fs::read_to_string(POLICY).is_ok_and(|policy| !policy.contains(SIGNATURE)) {
        // The machine has a policy of its own.
        return Ok(Policy(None));
    }
    let own = Owner::this_process()?;
    let script = format!(
        "#!/bin/sh\n# Temporary, {SIGNATURE}.\n\
         [ \"$(sed 's/.*) //' /proc/{}/stat 2>/dev/null | cut -d' ' -f20)\" = {} ] || exit 0\n\
         exit 101\n",
        own.pid, own.started
    );
    fs::write(POLICY, script).with_context(|| format!("cannot write {POLICY}"))?;
    let policy = Policy(Some(POLICY.into()));
    fs::set_permissions(POLICY, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("cannot make {POLICY} executable"))?;
    Ok(policy)
}

fn no_cluster() -> Result<Policy> {
    let path = Path::new(CLUSTER_POLICY);
    let failure = || format!("cannot write {CLUSTER_POLICY}");
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).with_context(failure)?;
    }
    fs::write(path, cluster_policy(&Owner::this_process()?)).with_context(failure)?;
    Ok(Policy(Some(path.to_owned())))
}

fn cluster_policy(owner: &Owner) -> String {
    format!("# Temporary, {SIGNATURE}, process {owner}\ncreate_main_cluster = false\n")
}

/// Unpacks a package in a directory, where the tests find its programs, and installs the libraries
/// it asks for.
fn unpack(package: &str, directory: &Path) -> Result<()> {
    step(&format!(
        "unpacking {package} in {} (not installed: no service is started or replaced)",
        directory.display()
    ));
    let download = tempfile::tempdir().context("cannot make a temporary directory")?;
    let archive = download_into(download.path(), package)?;
    let depends = run(Command::new("dpkg-deb")
        .arg("-f")
        .arg(&archive)
        .arg("Depends"))?;
    let absent: Vec<&str> = libraries(&depends)
        .into_iter()
        .filter(|name| !is_installed(name))
        .collect();
    install_quietly(&absent)?;
    extract(&archive, directory)
}

/// Downloads a package, which is not installed, and says where it lies.
///
/// # Errors
/// When apt fails, for instance because it knows no such package.
pub fn download_into(directory: &Path, package: &str) -> Result<PathBuf> {
    // apt downloads as an unprivileged user.
    fs::set_permissions(directory, fs::Permissions::from_mode(0o777))?;
    succeed(
        apt_get()
            .args(["download", "-q", package])
            .current_dir(directory),
    )?;
    fs::read_dir(directory)?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|kind| kind == "deb"))
        .with_context(|| format!("apt-get did not download {package}"))
}

/// Unpacks what is in a package's archive.
///
/// # Errors
/// When it is none, or the directory cannot be written.
pub fn extract(archive: &Path, directory: &Path) -> Result<()> {
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;
    let mut unpack = Command::new("dpkg-deb");
    run(unpack.arg("-x").arg(archive).arg(directory)).map(drop)
}

/// Reads the lists of packages anew.
///
/// # Errors
/// When apt fails.
pub fn update() -> Result<()> {
    step("reading the lists of packages (apt-get update)");
    succeed(apt_get().arg("update").arg("-qq"))
}

fn is_installed(package: &str) -> bool {
    let mut query = Command::new("dpkg-query");
    run(query.args(["-W", "-f=${Status}", package]))
        .is_ok_and(|status| status == "install ok installed")
}

/// The shared libraries among the packages of a `Depends` field; scripts of web pages are not.
fn libraries(depends: &str) -> Vec<&str> {
    depends
        .split(',')
        .filter_map(|one| one.split_whitespace().next())
        .filter(|name| name.starts_with("lib") && !name.starts_with("libjs-"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_of_a_killed_setup_is_left_over_and_anybody_elses_is_not() {
        let own = Owner::this_process().unwrap();
        let earlier = Owner {
            started: own.started - 1,
            ..own.clone()
        };
        assert!(!is_left_over(&cluster_policy(&own)));
        assert!(is_left_over(&cluster_policy(&earlier)));
        assert!(is_left_over(&format!("# Temporary, {SIGNATURE}.\n")));
        assert!(!is_left_over("create_main_cluster = false\n"));
    }

    #[test]
    fn of_what_a_package_depends_on_only_libraries_are_installed() {
        let depends = "adduser, iproute2, libjs-jquery (>= 3.5), libc6 (>= 2.34), libcap2\n";
        assert_eq!(libraries(depends), ["libc6", "libcap2"]);
    }
}
