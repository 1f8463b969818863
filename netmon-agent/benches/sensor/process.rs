//! What the processes of a sensor have used, by /proc.

use std::{
    fs,
    ops::{Div, Sub},
    time::Duration,
};

use anyhow::{Context as _, Result};

/// Time on a CPU, seconds; divided by a time, parts of a core.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    pub user: f64,
    pub system: f64,
    /// Both, by the scheduler: exact to the nanosecond, where the others go by ticks.
    pub both: f64,
}

impl Sub for Usage {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            user: self.user - earlier.user,
            system: self.system - earlier.system,
            both: self.both - earlier.both,
        }
    }
}

impl Div<Duration> for Usage {
    type Output = Self;

    fn div(self, time: Duration) -> Self {
        let seconds = time.as_secs_f64();
        Self {
            user: self.user / seconds,
            system: self.system / seconds,
            both: self.both / seconds,
        }
    }
}

/// The time that the processes of a group have had so far, with what ended children had.
pub fn usage(group: u32) -> Result<Usage> {
    let mut usage = Usage::default();
    for id in members(group)? {
        // One that ends just now is counted by its parent.
        let Ok(stat) = stat(id) else { continue };
        usage.user += stat.user + stat.reaped_user;
        usage.system += stat.system + stat.reaped_system;
        usage.both += scheduled(id) + stat.reaped_user + stat.reaped_system;
    }
    Ok(usage)
}

/// A line of /proc/PID/status that counts kB, summed up over a group: octets.
pub fn memory(group: u32, line: &str) -> Result<u64> {
    let mut sum = 0;
    for id in members(group)? {
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        let rest = status.lines().find_map(|text| text.strip_prefix(line));
        let kilobytes = rest.and_then(|rest| rest.split_whitespace().nth(1)?.parse::<u64>().ok());
        sum += kilobytes.unwrap_or(0) * 1024;
    }
    Ok(sum)
}

/// Kernel memory of the BPF maps that a process holds: octets (fdinfo, `memlock`).
pub fn maps(id: u32) -> Result<u64> {
    let mut sum = 0;
    let mut seen = Vec::new();
    for entry in fs::read_dir(format!("/proc/{id}/fdinfo"))? {
        let text = fs::read_to_string(entry?.path()).unwrap_or_default();
        let number = |name: &str| -> Option<u64> {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().parse().ok()
        };
        if let (Some(map), Some(octets)) = (number("map_id:"), number("memlock:"))
            && !seen.contains(&map)
        {
            seen.push(map);
            sum += octets;
        }
    }
    Ok(sum)
}

fn members(group: u32) -> Result<Vec<u32>> {
    let mut members = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(id) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if stat(id).is_ok_and(|stat| stat.group == group) {
            members.push(id);
        }
    }
    Ok(members)
}

/// Seconds that the threads of a process were on a CPU.
fn scheduled(id: u32) -> f64 {
    let Ok(threads) = fs::read_dir(format!("/proc/{id}/task")) else {
        return 0.0;
    };
    let on_cpu_ns = threads.flatten().filter_map(|thread| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    on_cpu_ns.sum::<u64>() as f64 / 1e9
}

struct Stat {
    group: u32,
    user: f64,
    system: f64,
    reaped_user: f64,
    reaped_system: f64,
}

/// proc_pid_stat(5): fields from the third on follow the program's name in brackets.
fn stat(id: u32) -> Result<Stat> {
    let text = fs::read_to_string(format!("/proc/{id}/stat"))?;
    let (_, fields) = text
        .rsplit_once(") ")
        .context("/proc/PID/stat has no name")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    // USER_HZ is 100 on every architecture Linux runs on today.
    let seconds = |index: usize| -> Result<f64> { Ok(fields[index - 3].parse::<f64>()? / 100.0) };
    Ok(Stat {
        group: fields[5 - 3].parse()?,
        user: seconds(14)?,
        system: seconds(15)?,
        reaped_user: seconds(16)?,
        reaped_system: seconds(17)?,
    })
}
