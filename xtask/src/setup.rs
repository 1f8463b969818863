//! `setup`: checks what netmon needs on this machine, says why, and installs what is missing.

pub mod apt;
pub mod needs;

use std::{process::ExitCode, time::Instant};

use anyhow::{Context as _, Result, bail};

use self::needs::{Need, Remedy};
use crate::{
    toolchain,
    workspace::{cargo, succeed},
};

/// What `setup` can be told.
#[derive(clap::Args)]
pub struct Options {
    /// Only report; exit with 1 if something is missing
    #[arg(long)]
    check: bool,
}

/// Runs the command.
///
/// # Errors
/// When something cannot be installed.
pub fn run(options: &Options) -> Result<ExitCode> {
    let all = [
        needs::BUILD,
        needs::RUN,
        needs::DEMO,
        needs::TEST,
        needs::LINT,
    ];
    let missing = report(&all, true);
    if options.check {
        return Ok(if missing.is_empty() {
            ExitCode::SUCCESS
        } else {
            println!(
                "{} missing: `cargo xtask setup` installs them",
                missing.len()
            );
            ExitCode::FAILURE
        });
    }
    install(&missing)?;
    println!("everything netmon needs is here");
    Ok(ExitCode::SUCCESS)
}

/// Installs what is missing of the given needs; says nothing about what is there.
///
/// # Errors
/// When something cannot be installed.
pub fn ensure(groups: &[&[Need]]) -> Result<()> {
    install(&report(groups, false))
}

/// A line for every need, or only for those missing; returns the missing ones.
fn report<'a>(groups: &[&'a [Need]], all: bool) -> Vec<&'a Need> {
    let mut missing = Vec::new();
    for need in groups.iter().copied().flatten() {
        match (need.check)() {
            Ok(found) if all => println!("ok       {}: {found}", need.name),
            Ok(_) => {}
            Err(problem) => {
                println!("missing  {}: {problem:#}", need.name);
                println!("         needed because it {}", need.why);
                println!("         installed by `{}`", need.remedy.shown());
                missing.push(need);
            }
        }
    }
    missing
}

fn install(missing: &[&Need]) -> Result<()> {
    apt::clear_left_over();
    if missing.is_empty() {
        return Ok(());
    }
    let started = Instant::now();
    apt::install(missing)?;
    for need in missing {
        match need.remedy {
            Remedy::Nightly => install_nightly()?,
            Remedy::Component(name) => {
                step(&format!("installing {name} with rustup"));
                succeed(std::process::Command::new("rustup").args(["component", "add", name]))?;
            }
            Remedy::Cargo { package, version } => {
                step(&format!("compiling {package} {version} (a few minutes)"));
                let version = format!("={version}");
                let mut install = cargo_for(package)?;
                install.args(["install", "--locked", "--version", &version, package]);
                succeed(&mut install)?;
            }
            Remedy::Package(_) | Remedy::Unpacked(_) | Remedy::UnpackedApart(_) => {}
        }
    }
    for need in missing {
        (need.check)().with_context(|| format!("{} is still missing", need.name))?;
    }
    println!("installed what was missing in {:.0?}", started.elapsed());
    Ok(())
}

/// Says what is done to the machine.
pub fn step(what: &str) {
    println!("setup: {what}");
}

fn install_nightly() -> Result<()> {
    // Rather the source for a compiler that is there than another compiler.
    if let Ok(nightly) = toolchain::nightly() {
        step(&format!(
            "installing the source of core for {nightly} with rustup"
        ));
        let mut rustup = std::process::Command::new("rustup");
        return succeed(rustup.args(["component", "add", "rust-src", "--toolchain", &nightly]));
    }
    if toolchain::named().is_some() {
        // Somebody has chosen: not to be second-guessed.
        return toolchain::nightly().map(drop);
    }
    let pinned = toolchain::PINNED;
    step(&format!("installing the compiler {pinned} with rustup"));
    let mut rustup = std::process::Command::new("rustup");
    rustup.args(["toolchain", "install", pinned, "--profile", "minimal"]);
    succeed(rustup.args(["--component", "rust-src"]))?;
    step(&format!(
        "for plain `cargo build`, without xtask, set {}={pinned}",
        toolchain::VARIABLE
    ));
    Ok(())
}

/// The cargo that compiles `package`: bpf-linker reads bitcode with the LLVM of the compiler that
/// compiled it, so that compiler must have the right one.
fn cargo_for(package: &str) -> Result<std::process::Command> {
    if package != "bpf-linker" {
        return Ok(cargo());
    }
    let version = netmon_lab::run(std::process::Command::new("rustc").arg("-vV"))?;
    if toolchain::parse_llvm_major(&version) == Some(toolchain::LLVM_MAJOR) {
        return Ok(cargo());
    }
    let Ok(nightly) = toolchain::nightly() else {
        bail!(
            "no compiler with LLVM {} to compile bpf-linker with",
            toolchain::LLVM_MAJOR
        );
    };
    let mut command = toolchain::rustup_run(&nightly);
    command.arg("cargo");
    Ok(command)
}
