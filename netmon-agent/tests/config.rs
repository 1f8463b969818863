//! The configuration as the real binary takes it: the shipped example, refusals, the dump.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use toml::Table;

const EXAMPLE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../docs/examples/netmon-agent.toml"
);

fn agent(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_netmon-agent"));
    command
        .arg("run")
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied());
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// What `--dump-config` prints beside these arguments.
fn dump(arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let output = agent(&[arguments, &["--dump-config"]].concat(), environment);
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

fn table(text: &str) -> Table {
    toml::from_str(text).unwrap()
}

fn written(dir: &Path, content: &str) -> PathBuf {
    let path = dir.join("agent.toml");
    fs::write(&path, content).unwrap();
    path
}

#[test]
fn the_example_is_usable_and_changes_nothing() {
    let checked = agent(&["--config", EXAMPLE, "--check-config"], &[]);
    assert!(checked.status.success(), "{}", text(&checked.stderr));
    assert_eq!(text(&checked.stdout).lines().count(), 1);
    assert_eq!(dump(&["--config", EXAMPLE], &[]), dump(&[], &[]));
}

#[test]
fn the_example_names_every_key_with_its_default() {
    let example = fs::read_to_string(EXAMPLE).unwrap();
    assert_eq!(table(&example), table(&dump(&[], &[])));
}

#[test]
fn the_example_explains_every_key() {
    let example = fs::read_to_string(EXAMPLE).unwrap();
    for paragraph in example.split("\n\n") {
        let sets_a_key = paragraph
            .lines()
            .any(|line| line.contains(" = ") && !line.starts_with('#'));
        let explains = paragraph.lines().any(|line| line.starts_with("# "));
        assert!(explains || !sets_a_key, "{paragraph}");
    }
}

#[test]
fn an_unknown_key_is_refused_by_name_and_source() {
    let dir = tempfile::tempdir().unwrap();
    let file = written(dir.path(), "[server]\nadresses = [\"192.0.2.1:8082\"]\n");
    let file = file.to_str().unwrap();
    for (refused, key, source) in [
        (
            agent(&["--config", file, "--check-config"], &[]),
            "server.adresses",
            file,
        ),
        (
            agent(&["--check-config"], &[("NETMON_AGENT__LOG__COLOUR", "no")]),
            "log.colour",
            "netmon_agent__",
        ),
    ] {
        let message = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{message}");
        assert_eq!(message.lines().count(), 1, "{message}");
        // The name of a variable is in capitals.
        let message = message.to_lowercase();
        assert!(
            message.contains(key) && message.contains(&source.to_lowercase()),
            "{message}"
        );
    }
}

#[test]
fn a_value_outside_its_range_is_refused_by_key_with_the_rule() {
    for (variable, value, key, rule) in [
        (
            "NETMON_AGENT__SAMPLE_INTERVAL",
            "11s",
            "sample_interval",
            "10ms to 10s",
        ),
        (
            "NETMON_AGENT__BATCH__MAX_RECORDS",
            "0",
            "batch.max_records",
            "1 to 1500",
        ),
        (
            "NETMON_AGENT__SPOOL__DIRECTORY",
            "spool",
            "spool.directory",
            "absolute path",
        ),
        (
            "NETMON_AGENT__SPOOL__MAX_BYTES",
            "4194304",
            "spool.max_bytes",
            "8388608",
        ),
        (
            "NETMON_AGENT__SPOOL__SYNC",
            "5ms",
            "spool.sync",
            "10ms to 1h",
        ),
        (
            "NETMON_AGENT__SENSOR__RING_BYTES",
            "5000",
            "sensor.ring_bytes",
            "power of two",
        ),
        (
            "NETMON_AGENT__SERVER__ADDRESSES",
            "[]",
            "server.addresses",
            "at least one",
        ),
        (
            "NETMON_AGENT__NTP__DETAIL",
            "all",
            "NTP.DETAIL",
            "automatic",
        ),
        (
            "NETMON_AGENT__NTP__FOLD_ABOVE",
            "0",
            "ntp.fold_above",
            "1 to 4294967295",
        ),
        (
            "NETMON_AGENT__NTP__FOLD_WINDOW",
            "7m",
            "ntp.fold_window",
            "an hour a multiple",
        ),
        (
            "NETMON_AGENT__NTP__MAX_FOLDS",
            "0",
            "ntp.max_folds",
            "1 to 4194304",
        ),
        (
            "NETMON_AGENT__METRICS__LISTEN",
            "192.0.2.1:9642",
            "metrics.listen",
            "loopback",
        ),
    ] {
        let refused = agent(&["--check-config"], &[(variable, value)]);
        let message = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{variable}: {message}");
        assert!(
            message.contains(key) && message.contains(rule),
            "{variable}: {message}"
        );
    }
}

#[test]
fn a_flag_wins_over_the_environment_and_that_over_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = written(
        dir.path(),
        "alias = \"file\"\n\
         [server]\nidentity = \"/file\"\nmax_retry = 1\n\
         [interfaces]\nexclude = [\"file*\"]\n",
    );
    let dump = dump(
        &[
            "--config",
            file.to_str().unwrap(),
            "--alias",
            "flag",
            "--exclude",
            "flag*",
        ],
        &[
            ("NETMON_AGENT__ALIAS", "environment"),
            ("NETMON_AGENT__SERVER__IDENTITY", "/environment"),
            ("NETMON_AGENT__INTERFACES__EXCLUDE", "[\"environment*\"]"),
        ],
    );
    let dump = table(&dump);
    assert_eq!(dump["alias"].as_str(), Some("flag"));
    assert_eq!(dump["server"]["identity"].as_str(), Some("/environment"));
    assert_eq!(dump["server"]["max_retry"].as_integer(), Some(1));
    let excluded = dump["interfaces"]["exclude"].as_array().unwrap();
    assert_eq!(excluded, &["flag*".into()], "a list is replaced whole");
}

#[test]
fn the_dump_names_the_identity_and_shows_no_key_material() {
    let dir = tempfile::tempdir().unwrap();
    let secret = "MC4CAQAwBQYDK2VwBCIEIHVudGVyMg";
    for file in ["ca.pem", "agent.pem", "agent-key.pem"] {
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{secret}\n-----END PRIVATE KEY-----\n");
        fs::write(dir.path().join(file), pem).unwrap();
    }
    let folder = dir.path().to_str().unwrap();
    let dump = dump(&["--identity", folder], &[]);
    assert!(dump.contains(&format!("identity = \"{folder}\"")), "{dump}");
    assert!(
        !dump.contains(secret) && !dump.contains("PRIVATE"),
        "{dump}"
    );
}

#[test]
fn a_missing_file_is_named() {
    let refused = agent(&["--config", "/nonexistent/agent.toml"], &[]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("/nonexistent/agent.toml"));
}
