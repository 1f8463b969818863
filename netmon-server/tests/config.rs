//! The configuration as the real binary takes it: the shipped example, refusals, the dump.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

const EXAMPLE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../docs/examples/netmon-server.toml"
);

fn serve(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_netmon-server"));
    command
        .arg("serve")
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied());
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn written(dir: &Path, content: &str) -> PathBuf {
    let path = dir.join("server.toml");
    std::fs::write(&path, content).unwrap();
    path
}

/// The example with every commented-out key switched on, except those that exclude each other.
fn keys_of_example() -> Vec<String> {
    let example = std::fs::read_to_string(EXAMPLE).unwrap();
    let mut table = String::new();
    let mut keys = Vec::new();
    for line in example.lines() {
        if let Some(name) = line.strip_prefix('[') {
            table = format!("{}.", name.trim_end_matches(']'));
        } else if let Some((key, _)) = line.trim_start_matches("# ").split_once(" = ")
            && key.chars().all(|c| c.is_ascii_lowercase() || c == '_')
        {
            keys.push(format!("{table}{key}"));
        }
    }
    keys
}

#[test]
fn the_example_is_usable_and_equals_the_defaults() {
    let checked = serve(&["--config", EXAMPLE, "--check-config"], &[]);
    assert!(checked.status.success(), "{}", text(&checked.stderr));
    assert_eq!(text(&checked.stdout).lines().count(), 1);

    let example = serve(&["--config", EXAMPLE, "--dump-config"], &[]);
    let defaults = serve(&["--dump-config"], &[]);
    assert_eq!(text(&example.stdout), text(&defaults.stdout));
}

#[test]
fn the_example_explains_every_key_there_is() {
    let environment = [("NETMON_SERVER__DATABASE__URL", "postgres://u:p@h/d")];
    let dump = text(&serve(&["--dump-config"], &environment).stdout);
    let example = keys_of_example();
    let mut table = String::new();
    for line in dump.lines() {
        if let Some(name) = line.strip_prefix('[') {
            table = format!("{}.", name.trim_end_matches(']'));
        } else if let Some((key, _)) = line.split_once(" = ") {
            assert!(
                example.contains(&format!("{table}{key}")),
                "{table}{key} in {example:?}"
            );
        }
    }
}

#[test]
fn an_unknown_key_is_refused_by_name_and_source() {
    let dir = tempfile::tempdir().unwrap();
    let file = written(
        dir.path(),
        "[http]\nlisten = \"127.0.0.1:8080\"\nport = 80\n",
    );
    let file = file.to_str().unwrap();
    let variable = "NETMON_SERVER__HTTP__PORT";
    for (refused, source) in [
        (serve(&["--config", file, "--check-config"], &[]), file),
        (serve(&["--check-config"], &[(variable, "80")]), variable),
    ] {
        let message = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{message}");
        assert_eq!(message.lines().count(), 1, "{message}");
        assert!(
            message.contains("http.port") && message.contains(source),
            "{message}"
        );
    }
}

#[test]
fn an_unusable_value_is_refused_by_key_and_source() {
    let dir = tempfile::tempdir().unwrap();
    let file = written(dir.path(), "[retention]\nraw = \"a while\"\n");
    let file = file.to_str().unwrap();
    let variable = "NETMON_SERVER__QUIC__LISTEN";
    for (refused, key, source) in [
        (
            serve(&["--config", file, "--check-config"], &[]),
            "retention.raw",
            file,
        ),
        (
            serve(&["--check-config"], &[(variable, "here")]),
            "quic.listen",
            variable,
        ),
        (
            serve(&["--http-listen", "0.0.0.0:80", "--check-config"], &[]),
            "http.listen",
            "loopback",
        ),
    ] {
        let message = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{message}");
        assert!(
            message.contains(key) && message.contains(source),
            "{message}"
        );
    }
}

#[test]
fn a_flag_wins_over_the_environment_and_that_over_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = written(
        dir.path(),
        "data_dir = \"/file\"\nhttp.listen = \"127.0.0.1:1\"\n",
    );
    let dump = serve(
        &[
            "--config",
            file.to_str().unwrap(),
            "--http-listen",
            "127.0.0.1:3",
            "--dump-config",
        ],
        &[
            ("NETMON_SERVER__HTTP__LISTEN", "127.0.0.1:2"),
            ("NETMON_SERVER__DATA_DIR", "/environment"),
        ],
    );
    let dump = text(&dump.stdout);
    assert!(dump.contains("data_dir = \"/environment\""), "{dump}");
    assert!(dump.contains("listen = \"127.0.0.1:3\""), "{dump}");
}

#[test]
fn the_dump_shows_no_secret() {
    let url = "postgres://netmon:hunter2@db.example.net/netmon";
    let dump = serve(&["--dump-config"], &[("NETMON_SERVER__DATABASE__URL", url)]);
    let dump = text(&dump.stdout);
    assert!(dump.contains("url = \"[redacted]\""), "{dump}");
    assert!(!dump.contains("hunter2"), "{dump}");
}

#[test]
fn a_missing_file_is_named() {
    let refused = serve(
        &["--config", "/nonexistent/server.toml", "--check-config"],
        &[],
    );
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("/nonexistent/server.toml"));
}
