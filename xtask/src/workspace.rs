//! The checkout this program is from, and how it calls cargo.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use netmon_lab::{
    Signal,
    child::{end_with_parent, shown},
    programs,
};

use crate::toolchain;

/// The top of the checkout.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("/"))
}

/// Where cargo builds.
pub fn target_directory() -> PathBuf {
    programs::target_directory().unwrap_or_else(|| root().join("target"))
}

/// A directory for what a command keeps while it runs. Not in the checkout: the database runs as
/// another user, who may not be able to go there.
pub fn state_directory(command: &str) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    root().hash(&mut hasher);
    let checkout = hasher.finish() as u32;
    PathBuf::from(format!("/tmp/netmon-{command}-{checkout:08x}"))
}

/// Cargo in this checkout, with the nightly compiler chosen for the kernel programs. It ends when
/// this process is killed.
pub fn cargo() -> Command {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(root());
    if let Some(nightly) = toolchain::nightly_for_build_scripts() {
        cargo.env(toolchain::VARIABLE, nightly);
    }
    end_with_parent(&mut cargo, Signal::SIGTERM);
    cargo
}

/// A program that ends when this process is killed.
pub fn ending_with_us(program: PathBuf) -> Command {
    let mut command = Command::new(program);
    end_with_parent(&mut command, Signal::SIGTERM);
    command
}

/// Runs a command whose output belongs on the terminal.
pub fn succeed(command: &mut Command) -> Result<()> {
    let line = shown(command);
    let status = command
        .status()
        .with_context(|| format!("cannot run `{line}`"))?;
    if !status.success() {
        bail!("`{line}` failed ({status})");
    }
    Ok(())
}

/// Whether this process may do what the kernel lets root do.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Ends with one sentence unless this process is root.
pub fn require_root(command: &str, why: &str) -> Result<()> {
    if is_root() {
        return Ok(());
    }
    bail!("{command} needs root: {why}; run `sudo -E env \"PATH=$PATH\" cargo xtask {command}`")
}
