//! Compiles the kernel programs with the nightly toolchain, so that the agent can carry them.

use aya_build::{Package, Toolchain};

fn main() -> anyhow::Result<()> {
    // aya-build watches netmon-ebpf; the parser it compiles lives here.
    println!("cargo::rerun-if-changed=../netmon-common/src");
    println!("cargo::rerun-if-env-changed=NETMON_NIGHTLY");
    // aya-build turns every line of the inner cargo into a warning: let it speak only when it must.
    // SAFETY: nothing else runs in this process yet.
    unsafe { std::env::set_var("CARGO_TERM_QUIET", "true") };
    let nightly = std::env::var("NETMON_NIGHTLY").unwrap_or_else(|_| "nightly".to_owned());
    let package = Package {
        name: "netmon-ebpf",
        root_dir: "../netmon-ebpf",
        ..Package::default()
    };
    aya_build::build_ebpf([package], Toolchain::Custom(&nightly))
}
