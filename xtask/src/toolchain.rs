//! Which nightly compiler builds the kernel programs.

use std::{env, process::Command, sync::OnceLock};

use anyhow::{Context as _, Result, anyhow, bail};
use netmon_lab::run;

/// Names a toolchain and overrides the choice; the build script of netmon-agent reads it too.
pub const VARIABLE: &str = "NETMON_NIGHTLY";
/// The toolchain `setup` installs: known to work, while a newer nightly may bring a newer LLVM.
pub const PINNED: &str = "nightly-2026-05-20";
/// The release of bpf-linker that is known to work.
pub const BPF_LINKER: &str = "0.10.3";
/// bpf-linker 0.10.3 reads bitcode up to this major version of LLVM.
pub const LLVM_MAJOR: u32 = 22;

const DEFAULT: &str = "nightly";

/// The toolchain to use, as `rustup run` takes it.
///
/// # Errors
/// When none fits; the message is one sentence with the remedy.
pub fn nightly() -> Result<String> {
    if let Some(named) = named() {
        fit(&named).with_context(|| format!("{VARIABLE} names a compiler that does not fit"))?;
        return Ok(named);
    }
    let mut reason = "no nightly compiler is installed".to_owned();
    for candidate in [DEFAULT, PINNED] {
        match fit(candidate) {
            Ok(()) => return Ok(candidate.to_owned()),
            Err(error) if is_installed(candidate) => reason = error.to_string(),
            Err(_) => {}
        }
    }
    bail!(
        "{reason}; `rustup toolchain install {PINNED} --profile minimal --component rust-src` \
         (or `cargo xtask setup`) installs one that fits"
    )
}

/// The toolchain that the environment insists on.
pub fn named() -> Option<String> {
    env::var(VARIABLE).ok()
}

fn fit(toolchain: &str) -> Result<()> {
    let version = version(toolchain)?;
    if !version.contains("-nightly") {
        bail!("{toolchain} is not a nightly compiler");
    }
    match parse_llvm_major(&version) {
        Some(LLVM_MAJOR) => Ok(()),
        Some(other) => {
            bail!("the LLVM of {toolchain} is {other}, bpf-linker {BPF_LINKER} needs {LLVM_MAJOR}")
        }
        None => bail!("{toolchain} does not name its LLVM version"),
    }
}

fn is_installed(toolchain: &str) -> bool {
    version(toolchain).is_ok()
}

/// What the compiler of `toolchain` says about itself.
fn version(toolchain: &str) -> Result<String> {
    let mut rustc = rustup_run(toolchain);
    rustc.args(["rustc", "-vV"]).env("RUST_BACKTRACE", "0");
    run(&mut rustc).map_err(|_| anyhow!("the toolchain {toolchain} is not installed"))
}

/// What to set [`VARIABLE`] to for cargo: nothing when the build script's default fits, so that
/// builds with and without xtask share their artifacts.
pub fn nightly_for_build_scripts() -> Option<String> {
    static CHOICE: OnceLock<Option<String>> = OnceLock::new();
    CHOICE
        .get_or_init(|| nightly().ok().filter(|name| name != DEFAULT))
        .clone()
}

/// `rustup run TOOLCHAIN`, to be followed by a program of it. Never downloads a toolchain.
pub fn rustup_run(toolchain: &str) -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", toolchain]);
    command
}

/// The source of `core`, which the kernel programs compile for their target.
pub fn has_rust_src(toolchain: &str) -> Result<bool> {
    let sysroot = run(rustup_run(toolchain).args(["rustc", "--print", "sysroot"]))?;
    let library = std::path::Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core");
    Ok(library.exists())
}

/// The major version of LLVM in what `rustc -vV` says.
pub fn parse_llvm_major(version: &str) -> Option<u32> {
    let line = version
        .lines()
        .find_map(|line| line.strip_prefix("LLVM version: "))?;
    line.split('.').next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_of_llvm_is_read_from_the_compiler() {
        let cases = [
            ("rustc 1.97.0-nightly\nLLVM version: 22.1.4\n", Some(22)),
            ("LLVM version: 23\n", Some(23)),
            ("rustc 1.97.0-nightly\n", None),
            ("LLVM version: unknown\n", None),
        ];
        for (version, expected) in cases {
            assert_eq!(parse_llvm_major(version), expected, "{version:?}");
        }
    }
}
