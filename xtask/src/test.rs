//! `test`: every test of the workspace, after setting up what they need; or the live suite with
//! other hooks, or on another kernel.

mod guest;
mod live;
mod runner;

use std::{
    fs,
    io::{BufReader, IsTerminal as _, Write as _},
    path::PathBuf,
    process::{Command, ExitCode, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Result, bail};

pub use self::live::Hook;
use crate::{
    run_directory::{self, RunDirectory},
    setup::{self, needs},
    vm::Kernel,
    workspace::{cargo, require_root, state_directory, succeed, target_directory},
};

/// All packages but the one that only the nightly compiler compiles.
const PACKAGES: [&str; 3] = ["--workspace", "--exclude", "netmon-ebpf"];

/// What `test` can be told.
#[derive(clap::Args)]
pub struct Options {
    /// Run the live suite of netmon-agent in a virtual machine with another kernel: debian-6.1, or
    /// the package of one (linux-image-….deb)
    #[arg(long, value_name = "KERNEL")]
    kernel: Option<Kernel>,
    /// With --kernel: the whole live suite, not only what depends on the kernel most; where the
    /// processor is emulated, this takes hours
    #[arg(long, requires = "kernel")]
    all: bool,
    /// Run the live suite of netmon-agent with its agents attached to this hook (sensor.hook)
    #[arg(long, value_enum)]
    hook: Option<Hook>,
    /// Run only tests whose names contain one of these, or what nextest understands
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    filter: Vec<String>,
}

/// Runs the command. The last lines are the test runner's own.
///
/// # Errors
/// When something cannot be set up or built.
pub fn run(options: &Options) -> Result<ExitCode> {
    require_root(
        "test",
        "tests load programs into the kernel and make network namespaces",
    )?;
    if let Some(kernel) = &options.kernel {
        return guest::run(kernel, options);
    }
    if let Some(hook) = options.hook {
        return live::run(hook, &options.filter);
    }
    let started = Instant::now();
    let _ = fs::remove_file(closing_lines());
    println!("[1/4] checking what the tests need");
    setup::ensure(&[needs::BUILD, needs::RUN, needs::DEMO, needs::TEST])?;
    println!("[2/4] building programs and tests (minutes the first time)");
    build()?;
    if options.filter.is_empty() {
        println!("[3/4] examples in the documentation");
        test_documentation()?;
    } else {
        println!("[3/4] examples in the documentation: left out, since a filter is given");
    }
    println!("[4/4] running the tests");
    let directory = directory()?;
    let mut nextest = cargo();
    nextest
        .args(["nextest", "run", "--no-fail-fast"])
        .args(PACKAGES)
        .args(&options.filter);
    let passed = run_tests(&directory, nextest);
    directory.close()?;
    let (passed, closing) = passed?;
    println!("total time: {:.0?}", started.elapsed());
    keep_closing_lines(&closing)?;
    eprint!("{closing}");
    Ok(if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Where the closing lines of the last complete run are kept, for `.ci/run` to end with.
fn closing_lines() -> PathBuf {
    target_directory().join("xtask/test-closing-lines")
}

fn keep_closing_lines(lines: &str) -> Result<()> {
    let path = closing_lines();
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    fs::write(&path, lines).with_context(|| format!("cannot write {}", path.display()))
}

fn test_documentation() -> Result<()> {
    let output = cargo()
        .args(["test", "--doc", "--quiet"])
        .args(PACKAGES)
        .output()
        .context("cannot run cargo")?;
    if !output.status.success() {
        std::io::stderr().write_all(&output.stderr)?;
        std::io::stdout().write_all(&output.stdout)?;
        bail!("examples in the documentation fail");
    }
    Ok(())
}

/// Builds every program and every test, as all who run tests do: so they share what is built.
fn build() -> Result<()> {
    succeed(cargo().arg("build").args(PACKAGES))?;
    succeed(cargo().args(["nextest", "run", "--no-run"]).args(PACKAGES))
}

/// A directory for this run. Tests run side by side with those of another `test` in the same
/// checkout.
fn directory() -> Result<RunDirectory> {
    let name = format!("test-{}", std::process::id());
    let path = state_directory(&name);
    run_directory::clear_abandoned(&path, "netmon-test-")?;
    RunDirectory::claim("test", path)
}

/// Runs the tests in processes that belong to `directory`; returns whether all passed, and the
/// runner's closing lines.
fn run_tests(directory: &RunDirectory, mut nextest: Command) -> Result<(bool, String)> {
    nextest
        // What a killed test leaves in its temporary directory goes with ours.
        .env("TMPDIR", directory.path())
        .stderr(Stdio::piped());
    if std::io::stderr().is_terminal() {
        nextest.args(["--color", "always"]);
    }
    let mut nextest = directory
        .mark(&mut nextest)
        .spawn()
        .context("cannot run cargo nextest")?;
    let output = nextest.stderr.take().context("nextest has no output")?;
    let closing = runner::pass_on(BufReader::new(output))?;
    let status = nextest.wait().context("cannot wait for nextest")?;
    Ok((status.success(), closing))
}
