//! ntplib, Python's client of NTP, unmodified.

use std::net::IpAddr;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::{Namespace, programs, run};

/// Asks once for each version in its arguments; prints a line of JSON each, null without an answer.
const SCRIPT: &str = "\
import json, sys, ntplib
server, timeout = sys.argv[1], float(sys.argv[2])
for version in sys.argv[3:]:
    try:
        answer = ntplib.NTPClient().request(server, version=int(version), timeout=timeout)
    except ntplib.NTPException:
        print('null')
        continue
    print(json.dumps({
        'version': answer.version, 'mode': answer.mode, 'leap': answer.leap,
        'stratum': answer.stratum, 'poll': answer.poll, 'precision': answer.precision,
        'reference_id': answer.ref_id, 'origin_s': answer.orig_timestamp,
        'receive_s': answer.recv_timestamp, 'transmit_s': answer.tx_timestamp,
        'offset_s': answer.offset, 'delay_s': answer.delay}))
";

/// What ntplib makes of an answer. Times are seconds since 1900, with the resolution of a
/// floating-point number: about half a microsecond.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct Answer {
    /// As the header has it.
    pub version: u8,
    /// As the header has it.
    pub mode: u8,
    /// As the header has it.
    pub leap: u8,
    /// As the header has it.
    pub stratum: u8,
    /// As the header has it.
    pub poll: i8,
    /// As the header has it.
    pub precision: i8,
    /// As the header has it.
    pub reference_id: u32,
    /// What the client sent as its transmit timestamp.
    pub origin_s: f64,
    /// When the server received the request.
    pub receive_s: f64,
    /// When the server sent the answer.
    pub transmit_s: f64,
    /// The server's clock minus the client's.
    pub offset_s: f64,
    /// Round trip without the server.
    pub delay_s: f64,
}

/// Asks a server from inside `place`, once for each of `versions`, one after the other; waits
/// `timeout_s` for an answer.
///
/// # Errors
/// When Python or ntplib is missing.
pub fn ask(
    place: &Namespace,
    server: IpAddr,
    versions: &[u8],
    timeout_s: f64,
) -> Result<Vec<Option<Answer>>> {
    let module = programs::of_package("python3-ntplib", "usr/lib/python3/dist-packages/ntplib.py")?;
    let modules = module.parent().context("a module lies in a folder")?;
    let mut python = place.command(programs::find("python3")?);
    python
        .args(["-c", SCRIPT])
        .args([server.to_string(), timeout_s.to_string()])
        .args(versions.iter().map(u8::to_string))
        .env("PYTHONPATH", modules)
        .env("PYTHONDONTWRITEBYTECODE", "1");
    let printed = run(&mut python)?;
    printed
        .lines()
        .map(|line| serde_json::from_str(line).with_context(|| format!("ntplib: {line:?}")))
        .collect()
}
