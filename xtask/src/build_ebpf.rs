//! `build-ebpf`: compiles the kernel programs by themselves, as the build script of netmon-agent
//! does on every change. Cargo's own fingerprints decide what is compiled again.

use std::{env, fs, path::Path, process::ExitCode, time::SystemTime};

use anyhow::{Context as _, Result, bail};
use netmon_lab::{Signal, child::end_with_parent};
use object::{Object as _, ObjectSection as _, ObjectSymbol as _, SymbolKind};

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
    let object = directory.join(target).join("release/netmon");
    let before = modified(&object);
    succeed(&mut cargo)?;
    let content = fs::read(&object).with_context(|| format!("cannot read {}", object.display()))?;
    if before.is_some() && before == modified(&object) {
        println!("nothing has changed: not built again");
    }
    println!("{}: {} bytes", object.display(), content.len());
    println!("programs: {}", programs(&content)?.join(" "));
    Ok(ExitCode::SUCCESS)
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata()
        .and_then(|metadata| metadata.modified())
        .ok()
}

/// The names of the kernel programs in an object file: its global functions outside of `.text`,
/// which holds what they call.
fn programs(content: &[u8]) -> Result<Vec<String>> {
    let object = object::File::parse(content).context("the object cannot be read")?;
    let mut names = Vec::new();
    for symbol in object.symbols() {
        let function = symbol.kind() == SymbolKind::Text && symbol.is_global();
        if let Some(section) = symbol.section_index().filter(|_| function)
            && object.section_by_index(section)?.name()? != ".text"
        {
            names.push(symbol.name()?.to_owned());
        }
    }
    if names.is_empty() {
        bail!("there is no program in the object");
    }
    names.sort();
    Ok(names)
}
