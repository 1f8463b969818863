//! Running a program as a user without privileges, with no more than what an agent needs.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

/// Nobody: a user, and a group, without any privilege.
pub const UNPRIVILEGED: u32 = 65_534;

/// Loading kernel programs and attaching them, and nothing besides, as setpriv takes it.
pub const OF_AN_AGENT: &str = "-all,+bpf,+net_admin";

/// The same for an agent that enters other network namespaces.
pub const OF_A_VISITOR: &str = "-all,+bpf,+net_admin,+sys_admin";

/// A command that runs `program` as [`UNPRIVILEGED`] with these capabilities, as [`OF_AN_AGENT`], and
/// no way to more. `inside` makes a command for where it shall run, as [`crate::Namespace::command`]
/// and [`crate::Mounts::command`] do: entering needs root, so privileges are dropped behind it.
///
/// The kernel clears a parent-death signal when credentials change: such a program ends when its
/// [`crate::Child`] is dropped, or with its namespace's other users.
#[must_use]
pub fn with_capabilities(
    capabilities: &str,
    inside: impl FnOnce(&str) -> Command,
    program: &Path,
) -> Command {
    let user = UNPRIVILEGED.to_string();
    let mut command = inside("setpriv");
    command
        .args(["--reuid", &user, "--regid", &user])
        .args(["--clear-groups", "--no-new-privs"])
        .args(["--bounding-set", capabilities])
        .args(["--inh-caps", capabilities])
        .args(["--ambient-caps", capabilities])
        .arg(program);
    command
}

/// [`with_capabilities`], those of an agent.
#[must_use]
pub fn as_agent(inside: impl FnOnce(&str) -> Command, program: &Path) -> Command {
    with_capabilities(OF_AN_AGENT, inside, program)
}

/// A copy of `program` in `folder`, made once: the workspace may lie where an unprivileged user must
/// not look.
///
/// # Errors
/// When it cannot be copied.
pub fn copy_into(folder: &Path, program: &Path) -> Result<PathBuf> {
    let name = program.file_name().context("a program has a name")?;
    let copy = folder.join(name);
    if !copy.exists() {
        fs::copy(program, &copy).with_context(|| format!("cannot copy {}", program.display()))?;
    }
    Ok(copy)
}

/// Gives a file or a directory to [`UNPRIVILEGED`].
///
/// # Errors
/// Without root.
pub fn give(path: &Path) -> Result<()> {
    chown(path, Some(UNPRIVILEGED), Some(UNPRIVILEGED))
        .with_context(|| format!("cannot give {} away", path.display()))
}

/// Gives everything that lies in `folder` to [`UNPRIVILEGED`].
///
/// # Errors
/// As [`give`], and when there is no such folder.
pub fn give_all_in(folder: &Path) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    for entry in entries {
        give(&entry?.path())?;
    }
    Ok(())
}

/// Lets every user look into `folder`: the database and agents run as other ones.
///
/// # Errors
/// When it is not there, or somebody else's.
pub fn let_in(folder: &Path) -> Result<()> {
    fs::set_permissions(folder, Permissions::from_mode(0o755))
        .with_context(|| format!("cannot open {}", folder.display()))
}
