//! `test`: every test of the workspace, after setting up what they need.

use std::{
    fs,
    io::{BufRead as _, BufReader, IsTerminal as _, Write as _},
    path::PathBuf,
    process::{ChildStderr, Command, ExitCode, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    run_directory::{self, RunDirectory},
    setup::{self, needs},
    workspace::{cargo, require_root, state_directory, succeed, target_directory},
};

/// All packages but the one that only the nightly compiler compiles.
const PACKAGES: [&str; 3] = ["--workspace", "--exclude", "netmon-ebpf"];

/// What `test` can be told.
#[derive(clap::Args)]
pub struct Options {
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
    let started = Instant::now();
    let _ = fs::remove_file(closing_lines());
    println!("[1/4] checking what the tests need");
    setup::ensure(&[needs::BUILD, needs::RUN, needs::DEMO, needs::TEST])?;
    println!("[2/4] building programs and tests (minutes the first time)");
    succeed(cargo().arg("build").args(PACKAGES))?;
    succeed(cargo().args(["nextest", "run", "--no-run"]).args(PACKAGES))?;
    if options.filter.is_empty() {
        println!("[3/4] examples in the documentation");
        test_documentation()?;
    } else {
        println!("[3/4] examples in the documentation: left out, since a filter is given");
    }
    println!("[4/4] running the tests");
    // Tests run side by side with those of another `test` in the same checkout.
    let name = format!("test-{}", std::process::id());
    let path = state_directory(&name);
    run_directory::clear_abandoned(&path, "netmon-test-")?;
    let directory = RunDirectory::claim("test", path)?;
    let passed = run_tests(&directory, &options.filter);
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

/// Runs the tests in processes that belong to `directory`; returns whether all passed, and the
/// runner's closing lines.
fn run_tests(directory: &RunDirectory, filter: &[String]) -> Result<(bool, String)> {
    let mut nextest: Command = cargo();
    nextest
        .args(["nextest", "run", "--no-fail-fast"])
        .args(PACKAGES)
        .args(filter)
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
    let closing = pass_on(output)?;
    let status = nextest.wait().context("cannot wait for nextest")?;
    Ok((status.success(), closing))
}

/// Shows the runner's output as it comes, except the summary, which is returned.
fn pass_on(output: ChildStderr) -> Result<String> {
    let mut lines = BufReader::new(output);
    let mut summary = String::new();
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line)? > 0 {
        let text = String::from_utf8_lossy(&line);
        if !summary.is_empty() || is_summary(&text) {
            summary.push_str(&text);
        } else {
            std::io::stderr().write_all(&line)?;
        }
        line.clear();
    }
    Ok(summary)
}

/// The line `     Summary [   1.234s] 10 tests run: 10 passed, 0 skipped`, with or without colours.
fn is_summary(line: &str) -> bool {
    let mut plain = String::new();
    let mut colour = false;
    for letter in line.chars() {
        match letter {
            '\x1b' => colour = true,
            'm' if colour => colour = false,
            _ if !colour => plain.push(letter),
            _ => {}
        }
    }
    plain.trim_start().starts_with("Summary [")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_is_recognised_with_and_without_colours() {
        let cases = [
            ("     Summary [   0.512s] 10 tests run: 10 passed\n", true),
            (
                "\x1b[32;1m     Summary\x1b[0m [   0.5s] \x1b[1m10\x1b[0m tests run\n",
                true,
            ),
            ("        PASS [   0.004s] xtask summary::is_shown\n", false),
            ("Summary of nothing\n", false),
        ];
        for (line, expected) in cases {
            assert_eq!(is_summary(line), expected, "{line:?}");
        }
    }
}
