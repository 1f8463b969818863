//! What processes have used, by /proc.

use std::fs;

use anyhow::{Context as _, Result};

/// Resident memory, octets.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    pub resident: u64,
    /// Of it, what is not of a file.
    pub anonymous: u64,
}

/// The memory of a process now.
pub fn memory(id: u32) -> Result<Memory> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let kilobytes = |name: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim_start_matches(':')
            .split_whitespace()
            .next()?
            .parse()
            .ok()
    };
    let octets = |name| {
        kilobytes(name)
            .map(|n| n * 1024)
            .context("no memory in /proc")
    };
    Ok(Memory {
        resident: octets("VmRSS")?,
        anonymous: octets("RssAnon")?,
    })
}

/// CPU seconds of a process so far, without its children.
pub fn cpu(id: u32) -> Result<f64> {
    Ok(stat(id)?.own)
}

/// CPU seconds of a process and all its children so far, also of those that ended.
pub fn cpu_with_children(id: u32) -> Result<f64> {
    let parent = stat(id)?;
    let mut sum = parent.own + parent.reaped;
    for entry in fs::read_dir("/proc")? {
        let Some(child) = entry?
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        // One that has just ended is counted by its parent.
        if let Ok(child) = stat(child)
            && child.parent == id
        {
            sum += child.own;
        }
    }
    Ok(sum)
}

struct Stat {
    parent: u32,
    own: f64,
    reaped: f64,
}

/// proc_pid_stat(5): fields from the third on follow the program's name in brackets.
fn stat(id: u32) -> Result<Stat> {
    let text = fs::read_to_string(format!("/proc/{id}/stat"))?;
    let (_, fields) = text
        .rsplit_once(") ")
        .context("/proc/PID/stat has no name")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    let number = |index: usize| -> Result<u64> { Ok(fields[index - 3].parse()?) };
    // USER_HZ is 100 on every architecture Linux runs on today.
    let seconds = |index| -> Result<f64> { Ok(number(index)? as f64 / 100.0) };
    Ok(Stat {
        parent: number(4)? as u32,
        own: seconds(14)? + seconds(15)?,
        reaped: seconds(16)? + seconds(17)?,
    })
}
