//! Running the binary.

use std::{
    cell::OnceCell,
    io::Write as _,
    process::{Command, Output, Stdio},
};

use serde_json::Value;

/// What became of a run.
pub struct Replay {
    pub success: bool,
    pub stdout: String,
    pub stderr: String,
    records: OnceCell<Vec<Value>>,
}

/// Replays what is in memory, in user space, with a record for each NTP packet.
pub fn replay(capture: &[u8]) -> Replay {
    run(
        capture,
        &["--userspace", "--packets", "ntp", "--format", "ndjson"],
    )
}

/// Replays with these arguments; the capture comes by standard input.
pub fn run(capture: &[u8], arguments: &[&str]) -> Replay {
    let mut command = Command::new(env!("CARGO_BIN_EXE_netmon-agent"));
    command.args(["replay", "-"]).args(arguments);
    fed(command, capture)
}

/// Runs a command on files.
pub fn on_files(arguments: &[&str]) -> Replay {
    let mut command = Command::new(env!("CARGO_BIN_EXE_netmon-agent"));
    command.arg("replay").args(arguments);
    fed(command, &[])
}

/// Runs a command that reads this from its standard input.
pub fn fed(mut command: Command, input: &[u8]) -> Replay {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // It may end before it has read everything.
    let feeder = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap();
    output.into()
}

impl From<Output> for Replay {
    fn from(output: Output) -> Self {
        Self {
            success: output.status.success(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
            records: OnceCell::new(),
        }
    }
}

impl Replay {
    /// All records of a kind.
    pub fn records(&self, kind: &str) -> Vec<Value> {
        let all = self.all().iter();
        all.filter(|record| record["record"] == kind)
            .cloned()
            .collect()
    }

    fn all(&self) -> &[Value] {
        let parse = |line: &str| serde_json::from_str(line).unwrap();
        self.records
            .get_or_init(|| self.stdout.lines().map(parse).collect())
    }

    /// The count of a cause.
    pub fn losses(&self, cause: &str) -> u64 {
        self.all().last().unwrap()[cause].as_u64().unwrap()
    }

    /// Transmit timestamps of all packets.
    pub fn transmits(&self) -> Vec<String> {
        let packets = self.records("packet");
        let transmit = |packet: &Value| packet["transmit_timestamp"].as_str().unwrap().to_owned();
        packets.iter().map(transmit).collect()
    }
}
