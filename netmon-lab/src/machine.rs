//! What stands above every figure: the machine it was taken on.

use std::{fs, thread};

/// Processor, CPUs and kernel, in one line.
pub fn machine() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name\t: "))
        .unwrap_or("unknown processor");
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = thread::available_parallelism().map_or(0, usize::from);
    format!("machine: {model}, {cores} CPUs, Linux {}", kernel.trim())
}
