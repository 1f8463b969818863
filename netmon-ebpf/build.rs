//! Checks the tools before the compiler stumbles over them, and says what to do in one sentence.

use std::process::Command;

/// bpf-linker 0.10.3 is built against this LLVM; bitcode of a newer one cannot be linked.
const LLVM_MAJOR: &str = "22";
const REMEDY: &str = "run `cargo xtask setup`";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // As a library for the host (see lib.rs) nothing is linked.
    if std::env::var("CARGO_CFG_TARGET_ARCH").as_deref() != Ok("bpf") {
        return;
    }
    if Command::new("bpf-linker")
        .arg("--version")
        .output()
        .is_err()
    {
        println!("cargo::error=bpf-linker is not installed: {REMEDY}");
    }
    let rustc = std::env::var("RUSTC").expect("cargo sets RUSTC");
    let version = Command::new(rustc)
        .arg("-vV")
        .output()
        .expect("cargo's rustc runs");
    let version = String::from_utf8_lossy(&version.stdout);
    let llvm = version
        .lines()
        .find_map(|line| line.strip_prefix("LLVM version: "))
        .unwrap_or("");
    if llvm.split('.').next() != Some(LLVM_MAJOR) {
        println!(
            "cargo::error=the nightly compiler brings LLVM {llvm}, but the pinned bpf-linker links \
             LLVM {LLVM_MAJOR}: install the nightly of 2026-05-20 (`rustup toolchain install \
             nightly-2026-05-20`) or a bpf-linker for that LLVM"
        );
    }
}
