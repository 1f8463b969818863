//! The `netmon-agent` program.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    netmon_agent::cli::main()
}
