//! `cargo xtask up` as a new user meets it, in a network namespace of its own.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use netmon_lab::{Child, Namespace, Signal, wait_until};

const PATIENCE: Duration = Duration::from_secs(60);

fn up(arguments: &[&str]) -> Result<Child> {
    let mut command = Namespace::new()?.command(env!("CARGO_BIN_EXE_xtask"));
    command
        .arg("up")
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    Child::spawn("cargo xtask up", command, Signal::SIGTERM)
}

/// One after the other: a checkout runs one `up` at a time.
#[test]
fn up_shows_traffic_and_leaves_nothing_however_it_ends() -> Result<()> {
    ends_by_itself_with_data()?;
    leaves_nothing_when_killed()
}

fn ends_by_itself_with_data() -> Result<()> {
    let mut up = up(&["--demo", "--for", "13s"])?;
    let mut text = String::new();
    let mut output = up.pipes().stdout.take().context("a pipe")?;
    output.read_to_string(&mut text)?;
    match up.wait_for(PATIENCE)? {
        Some(status) if status.success() => {}
        other => bail!("ended with {other:?}:\n{text}"),
    }
    let state = state_directory(&text).with_context(|| text.clone())?;
    assert!(
        text.contains("nm-demo-c "),
        "the demonstration's interface is shown:\n{text}"
    );
    let stored = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("NTP exchanges "));
    let stored = stored.context("a summary")?.split_whitespace().next();
    let stored: u32 = stored.context("a number")?.trim_end_matches(',').parse()?;
    assert!(stored >= 8, "{text}");
    assert!(!state.exists(), "the state is removed");
    Ok(())
}

fn leaves_nothing_when_killed() -> Result<()> {
    let mut up = up(&["--demo"])?;
    let output = up.pipes().stdout.take().context("a pipe")?;
    let mut lines = BufReader::new(output).lines();
    let line = lines.find_map(|line| line.ok().filter(|line| line.starts_with("logs ")));
    let state = state_directory(&line.context("up does not come up")?).context("a path")?;
    assert!(!processes_of(&state)?.is_empty());
    up.kill()?;
    wait_until(PATIENCE, "everything to be gone", || {
        (processes_of(&state).ok()?.is_empty() && !state.exists()).then_some(())
    })
    .with_context(|| format!("{:?} {:?}", processes_of(&state), state.exists()))
}

/// From the line that says where the logs are.
fn state_directory(text: &str) -> Option<PathBuf> {
    let logs = text.lines().find_map(|line| line.strip_prefix("logs "))?;
    Path::new(logs.trim()).parent().map(Path::to_owned)
}

/// Processes that were started with this directory: server, agent, database.
fn processes_of(state: &Path) -> Result<Vec<String>> {
    let state = state.to_str().context("a plain path")?;
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        if command.contains(state) {
            found.push(command);
        }
    }
    Ok(found)
}
