//! How long the programs run, where somebody has switched the kernel's statistics on.

use std::{io, os::fd::OwnedFd, time::Duration};

use aya::sys::{Stats, enable_stats};

use super::Sensor;

/// The administrator's switch.
const SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";

/// What the kernel has measured of one program since it was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramTime {
    /// Its name.
    pub name: String,
    /// The kernel's number of it.
    pub id: u32,
    /// How often it ran while statistics were on.
    pub runs: u64,
    /// How long, together.
    pub time: Duration,
}

impl Sensor {
    /// All loaded programs, by name. All are 0 unless statistics are or were on.
    pub fn program_times(&self) -> Vec<ProgramTime> {
        let loaded = self.ebpf.programs().filter_map(|(name, program)| {
            // Without a descriptor it is not loaded.
            let info = program.info().ok()?;
            Some(ProgramTime {
                name: name.to_owned(),
                id: info.id(),
                runs: info.run_count(),
                time: info.run_time(),
            })
        });
        let mut all: Vec<_> = loaded.collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }
}

/// Whether the administrator has the kernel measure all programs (sysctl `kernel.bpf_stats_enabled`).
pub fn statistics_are_on() -> bool {
    std::fs::read_to_string(SWITCH).is_ok_and(|switch| switch.trim() == "1")
}

/// Has the kernel measure all programs of the host until the returned descriptor is dropped
/// (`BPF_ENABLE_STATS`, Linux 5.8). Needs `CAP_SYS_ADMIN`.
pub fn measure_programs() -> io::Result<OwnedFd> {
    enable_stats(Stats::RunTime).map_err(|refused| refused.io_error)
}
