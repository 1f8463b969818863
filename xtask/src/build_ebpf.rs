//! `build-ebpf`: compiles the kernel programs by themselves, as the build script of netmon-agent
//! does on every change. Cargo's own fingerprints decide what is compiled again.

use std::{env, fs, process::ExitCode};

use anyhow::{Context as _, Result};
use netmon_lab::{Signal, child::end_with_parent};

use crate::{
    setup::{self, needs},
    toolchain,
    workspace::{root, succeed, target_directory},
};

/// Runs the command.
///
/// # Errors
/// When the toolchain does not fit or the programs do not compile.
pub fn run() -> Result<ExitCode> {
    setup::ensure(&[needs::BUILD])?;
    let nightly = toolchain::nightly()?;
    let directory = target_directory().join("ebpf");
    let architecture = env::consts::ARCH;
    let flags = [
        &format!("--cfg=bpf_target_arch=\"{architecture}\""),
        "-Cdebuginfo=2",
        "-Clink-arg=--btf",
    ]
    .join("\x1f");
    let target = if cfg!(target_endian = "big") {
        "bpfeb-unknown-none"
    } else {
        "bpfel-unknown-none"
    };
    let mut cargo = toolchain::rustup_run(&nightly);
    cargo
        .args(["cargo", "build", "--package", "netmon-ebpf", "--bins"])
        .args(["--release", "-Z", "build-std=core", "--target", target])
        .arg("--target-dir")
        .arg(&directory)
        .env("CARGO_ENCODED_RUSTFLAGS", flags)
        .env_remove("RUSTC")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .current_dir(root());
    end_with_parent(&mut cargo, Signal::SIGTERM);
    succeed(&mut cargo)?;
    let object = directory.join(target).join("release/netmon");
    let size = fs::metadata(&object)
        .with_context(|| format!("cannot find {}", object.display()))?
        .len();
    println!("{}: {size} bytes", object.display());
    Ok(ExitCode::SUCCESS)
}
