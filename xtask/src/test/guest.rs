//! The live suite in a virtual machine, on another kernel.

use std::{
    env,
    fmt::Write as _,
    fs,
    io::IsTerminal as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use netmon_lab::{Child, Namespace, Signal, programs, run as output_of, server};
use serde_json::Value;

use super::{
    Options, PACKAGES, build, directory,
    live::{DATABASE, HOOK, SKIPPED, SUITE, tell_skipped},
    runner,
};
use crate::{
    setup::{self, needs},
    vm::{Acceleration, Job, Kernel, Machine},
    workspace::{cargo, require_root, root, target_directory},
};

/// What shows that the programs load and count on a kernel, in minutes: the rest of the suite is about
/// agent and server, which are the same on every kernel, or asks the same of the programs in other
/// words.
const OF_THE_KERNEL: &str = "test(/^(golden|ntp_ports)::/) \
                             + test(/^doctor::doctor_finds/) \
                             + test(/^bandwidth::counters_equal/) \
                             + test(/^hooks_clsact::classic_filters_count/)";
/// On an emulated processor: damaged frames, instead of a million; how far apart golden packets are
/// cut; and how many times as long the tests wait.
const EMULATED: [(&str, &str); 3] = [
    ("NETMON_FUZZ_FRAMES", "30000"),
    ("NETMON_GOLDEN_STEP", "16"),
    (netmon_lab::wait::FACTOR, "4"),
];
/// Whatever hangs ends some day.
const LIMIT: Duration = Duration::from_secs(20 * 60);
const LIMIT_OF_ALL: Duration = Duration::from_secs(60 * 60);
/// Programs that tests start by their path.
const PROGRAMS: [&str; 2] = ["netmon-agent", "netmon-server"];

/// A test may take longer than on the host, but not for ever.
const SETTINGS: &str = "[profile.default]\n\
                        slow-timeout = { period = \"120s\", terminate-after = 5 }\n\
                        fail-fast = false\n";

/// Runs the suite.
pub(super) fn run(kernel: &Kernel, options: &Options) -> Result<ExitCode> {
    require_root(
        "test",
        "tests load programs into the virtual machine's kernel",
    )?;
    let started = Instant::now();
    println!("[1/4] checking what the tests need");
    setup::ensure(&[
        needs::BUILD,
        needs::RUN,
        needs::DEMO,
        needs::TEST,
        needs::VM,
    ])?;
    let kernel = kernel.unpack()?;
    println!("[2/4] building programs and tests (minutes the first time)");
    build()?;
    println!("[3/4] preparing the virtual machine");
    let directory = directory()?;
    let job = Job::new(&directory)?;
    let acceleration = Acceleration::of_this_host();
    let script = prepare(&job, options, acceleration)?;
    println!(
        "[4/4] running {} on Linux {} ({})",
        if options.all || !options.filter.is_empty() {
            "the live suite"
        } else {
            "what of the live suite depends on the kernel most"
        },
        kernel.release,
        acceleration.name()
    );
    let limit = if options.all { LIMIT_OF_ALL } else { LIMIT };
    let machine = Machine::new(kernel, acceleration);
    let (status, closing) = machine.run(&directory, &job, &script, limit, runner::pass_on)?;
    tell_skipped(&job.directory().join("skipped"));
    directory.close()?;
    println!("total time: {:.0?}", started.elapsed());
    eprint!("{closing}");
    Ok(if status == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Puts everything the tests are made of into the job, so that it stays the same while the host
/// builds something else, and writes the commands that run them.
fn prepare(job: &Job, options: &Options, acceleration: Acceleration) -> Result<String> {
    let binaries = binaries()?;
    fs::write(job.directory().join("binaries.json"), binaries.to_string())?;
    let mut metadata = cargo();
    metadata.args(["metadata", "--format-version", "1"]);
    fs::write(
        job.directory().join("cargo.json"),
        output_of(&mut metadata)?,
    )?;
    fs::write(job.directory().join("nextest.toml"), SETTINGS)?;
    make_database(job)?;
    let mut script = String::new();
    for (name, value) in environment(options, acceleration) {
        writeln!(script, "export {name}={}", quoted(&value))?;
    }
    for (number, program) in test_binaries(&binaries)?.into_iter().enumerate() {
        let name = format!("program-{number}");
        copy(&program, &job.directory().join(&name))?;
        let program = quoted(&program.display().to_string());
        writeln!(script, "cp {} {program} || exit 1", Job::inside(&name))?;
    }
    writeln!(
        script,
        "cd {} || exit 1",
        quoted(&root().display().to_string())
    )?;
    script.push_str("echo \"$(uname -srv), up after $(cut -d' ' -f1 /proc/uptime) s\"\n");
    script.push_str(&nextest(options)?);
    Ok(script)
}

/// Makes a server's database here: inside, that takes a minute for each test.
fn make_database(job: &Job) -> Result<()> {
    const PATIENCE: Duration = Duration::from_secs(120);
    let data = job.directory().join("server");
    let place = Namespace::new()?;
    let mut command = server::serve(&place, &data)?;
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut running = Child::spawn("netmon-server", command, Signal::SIGTERM)?;
    server::ready(&place, server::HTTP, &mut running, PATIENCE)?;
    running.signal(Signal::SIGTERM)?;
    match running.wait_for(PATIENCE)? {
        Some(status) if status.success() => Ok(()),
        other => bail!("the server that has made the database ended with {other:?}"),
    }
}

/// What nextest knows about the suite's binary, and about no other.
fn binaries() -> Result<Value> {
    let mut list = cargo();
    list.args(["nextest", "list", "--list-type", "binaries-only"])
        .args(["--message-format", "json"])
        .args(PACKAGES);
    let mut list: Value =
        serde_json::from_str(&output_of(&mut list)?).context("nextest lists no binaries")?;
    let all = list["rust-binaries"]
        .as_object_mut()
        .context("nextest lists no binaries")?;
    all.retain(|name, _| name == SUITE);
    if all.is_empty() {
        bail!("nextest knows no {SUITE}");
    }
    Ok(list)
}

/// The suite and what it starts.
fn test_binaries(binaries: &Value) -> Result<Vec<PathBuf>> {
    let suite = binaries["rust-binaries"][SUITE]["binary-path"]
        .as_str()
        .context("nextest does not say where the suite is")?;
    let built = target_directory().join("debug");
    let programs = PROGRAMS.map(|name| built.join(name));
    Ok(programs.into_iter().chain([suite.into()]).collect())
}

/// Copies a program without its debug information, most of it, which only backtraces need: each
/// test copies it once more.
fn copy(program: &Path, to: &Path) -> Result<()> {
    let mut strip = Command::new("strip");
    strip.args(["--strip-debug", "-o"]).arg(to).arg(program);
    if output_of(&mut strip).is_err() {
        fs::copy(program, to).with_context(|| format!("cannot copy {}", program.display()))?;
    }
    Ok(())
}

fn environment(options: &Options, acceleration: Acceleration) -> Vec<(&'static str, String)> {
    let from_here = |name| Some((name, env::var(name).ok()?));
    let mut variables: Vec<_> = [
        "PATH",
        "HOME",
        "CARGO_HOME",
        "RUSTUP_HOME",
        "NETMON_FUZZ_SEED",
    ]
    .into_iter()
    .filter_map(from_here)
    .collect();
    variables.push(("TMPDIR", "/run/tmp".to_owned()));
    variables.push((SKIPPED, Job::inside("skipped")));
    variables.push((DATABASE, Job::inside("server/postgres")));
    if let Some(hook) = options.hook {
        variables.push((HOOK, hook.name().to_owned()));
    }
    for (name, value) in EMULATED {
        match (from_here(name), acceleration) {
            (Some(chosen), _) => variables.push(chosen),
            (None, Acceleration::Emulated) => variables.push((name, value.to_owned())),
            (None, Acceleration::Kvm) => {}
        }
    }
    variables
}

/// The runner, with what has been built outside.
fn nextest(options: &Options) -> Result<String> {
    let program = programs::find("cargo-nextest")?;
    let mut words = vec![
        program.display().to_string(),
        "nextest".to_owned(),
        "run".to_owned(),
        "--no-fail-fast".to_owned(),
    ];
    for (option, file) in [
        ("--binaries-metadata", "binaries.json"),
        ("--cargo-metadata", "cargo.json"),
        ("--config-file", "nextest.toml"),
    ] {
        words.extend([option.to_owned(), Job::inside(file)]);
    }
    if std::io::stderr().is_terminal() {
        words.extend(["--color", "always"].map(str::to_owned));
    }
    if !options.all && options.filter.is_empty() {
        words.extend(["-E".to_owned(), OF_THE_KERNEL.to_owned()]);
    }
    words.extend(options.filter.iter().cloned());
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    Ok(words.join(" "))
}

/// One word for the shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_stays_one_word_of_the_shell() {
        for word in ["plain", "two words", "it's", "$HOME `x` \"y\" \\"] {
            let mut shell = Command::new("sh");
            let line = format!("printf %s {}", quoted(word));
            assert_eq!(output_of(shell.args(["-c", &line])).unwrap(), word);
        }
    }
}
