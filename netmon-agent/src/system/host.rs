//! Reads the host's files.
//!
//! Any user may read all of them. Those below `/proc/net` show the network namespace of the process,
//! and the mounts are those of its mount namespace.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
};

use netmon_common::wire::system_limits as limits;

use super::{
    Reading, Space,
    parse::{self, Mount},
    sensors,
    space::Spaces,
};
use crate::clock::Now;

/// Most octets taken of a file; `/proc/stat` of a host with 4096 interrupts and 512 cores has a
/// tenth of it.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// With more TCP sockets than this they are not counted by state: the kernel walks over each one,
/// line by line, which for a million takes a second of CPU.
const MAX_TCP_SOCKETS: u32 = 50_000;

/// What could not be read, for counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// `/proc/stat`.
    Stat,
    /// `/proc/loadavg`.
    Load,
    /// `/proc/meminfo`.
    Memory,
    /// `/proc/vmstat`.
    Swapping,
    /// `/proc/self/mountinfo`.
    Mounts,
    /// statvfs(2) on a mount point: an error, or no answer in time.
    FileSystem,
    /// `/proc/diskstats`.
    Disks,
    /// `/proc/net/dev`.
    Interfaces,
    /// `/proc/net/snmp`.
    Tcp,
    /// `/proc/net/tcp` and `tcp6`, or more sockets than are counted.
    TcpStates,
    /// `/proc/net/sockstat`.
    Sockets,
    /// `/proc/uptime`.
    Uptime,
    /// `/sys/class/hwmon` and `/sys/class/thermal`.
    Temperatures,
}

impl Source {
    /// Every source.
    pub const ALL: [Self; 13] = [
        Self::Stat,
        Self::Load,
        Self::Memory,
        Self::Swapping,
        Self::Mounts,
        Self::FileSystem,
        Self::Disks,
        Self::Interfaces,
        Self::Tcp,
        Self::TcpStates,
        Self::Sockets,
        Self::Uptime,
        Self::Temperatures,
    ];

    /// In lower case, for the label of a metric.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stat => "stat",
            Self::Load => "loadavg",
            Self::Memory => "meminfo",
            Self::Swapping => "vmstat",
            Self::Mounts => "mountinfo",
            Self::FileSystem => "statvfs",
            Self::Disks => "diskstats",
            Self::Interfaces => "net_dev",
            Self::Tcp => "net_snmp",
            Self::TcpStates => "net_tcp",
            Self::Sockets => "net_sockstat",
            Self::Uptime => "uptime",
            Self::Temperatures => "temperatures",
        }
    }
}

/// Where the kernel shows what it counts.
#[derive(Debug)]
pub struct Host {
    proc: PathBuf,
    sys: PathBuf,
    kinds: Vec<String>,
    page_bytes: u64,
    spaces: Spaces,
}

impl Host {
    /// This host; space is looked at on file systems of these types.
    pub fn new(kinds: Vec<String>) -> Self {
        Self::at("/".as_ref(), kinds)
    }

    /// A host whose `proc` and `sys` lie in `root`.
    pub fn at(root: &Path, kinds: Vec<String>) -> Self {
        let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE);
        Self {
            proc: root.join("proc"),
            sys: root.join("sys"),
            kinds,
            page_bytes: page.ok().flatten().map_or(4096, |bytes| bytes as u64),
            spaces: Spaces::default(),
        }
    }

    /// Reads everything; gives also what could not be read, each time it could not.
    pub fn read(&mut self, now: Now) -> (Reading, Vec<Source>) {
        let mut missing = Vec::new();
        let mut reading = Reading::empty(now);
        if let Some(stat) = self.parsed(Source::Stat, "stat", &mut missing, |text| {
            Some((parse::cpu(text)?, parse::activity(text)))
        }) {
            (reading.cpu, reading.activity) = (Some(stat.0), stat.1);
        }
        reading.load = self.parsed(Source::Load, "loadavg", &mut missing, parse::load);
        reading.memory = self.parsed(Source::Memory, "meminfo", &mut missing, parse::memory);
        reading.swapped_bytes = self.parsed(Source::Swapping, "vmstat", &mut missing, |text| {
            parse::swapped_bytes(text, self.page_bytes)
        });
        reading.disks = self
            .parsed(Source::Disks, "diskstats", &mut missing, |text| {
                Some(parse::disks(text))
            })
            .map(|disks| self.whole_disks(disks));
        reading.interfaces = self.parsed(Source::Interfaces, "net/dev", &mut missing, |text| {
            Some(parse::interface_errors(text))
        });
        let tcp = self.parsed(Source::Tcp, "net/snmp", &mut missing, |text| {
            Some(parse::tcp(text))
        });
        reading.tcp = tcp.unwrap_or_default();
        reading.sockets = self.parsed(
            Source::Sockets,
            "net/sockstat",
            &mut missing,
            parse::sockets,
        );
        reading.tcp_states = self.tcp_states(reading.sockets);
        if reading.tcp_states.is_none() {
            missing.push(Source::TcpStates);
        }
        reading.uptime_ms = self.parsed(Source::Uptime, "uptime", &mut missing, parse::uptime_ms);
        match sensors::temperatures(&self.sys) {
            Ok(temperatures) => reading.temperatures = temperatures,
            Err(_) => missing.push(Source::Temperatures),
        }
        self.file_systems(&mut reading, &mut missing);
        (reading, missing)
    }

    fn parsed<T>(
        &self,
        source: Source,
        path: &str,
        missing: &mut Vec<Source>,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let parsed = text(&self.proc.join(path))
            .ok()
            .and_then(|text| parse(&text));
        if parsed.is_none() {
            missing.push(source);
        }
        parsed
    }

    /// Partitions repeat what their disk counts, loop devices what their file's disk does.
    fn whole_disks(&self, mut disks: Vec<parse::Disk>) -> Vec<parse::Disk> {
        let folder = self.sys.join("block");
        let known = folder.is_dir();
        disks.retain(|disk| {
            // A slash in the kernel's name of a device stands as an exclamation mark in sysfs.
            let entry = folder.join(disk.name.replace('/', "!"));
            let is_file = disk.name.starts_with("loop") || disk.name.starts_with("ram");
            !is_file && (!known || entry.exists())
        });
        disks
    }

    /// The states of all TCP sockets; `None` if they cannot be read or are too many.
    fn tcp_states(&self, sockets: Option<parse::Sockets>) -> Option<[u32; 11]> {
        let few = |s: parse::Sockets| s.tcp.saturating_add(s.tcp_time_wait) <= MAX_TCP_SOCKETS;
        if !sockets.is_none_or(few) {
            return None;
        }
        let mut states = [0; 11];
        let mut left = MAX_TCP_SOCKETS;
        for (path, required) in [("net/tcp", true), ("net/tcp6", false)] {
            let file = match File::open(self.proc.join(path)) {
                Ok(file) => file,
                // A kernel without IPv6.
                Err(error) if !required && sensors::is_absent(&error) => continue,
                Err(_) => return None,
            };
            for line in BufReader::new(file).lines() {
                left = left.checked_sub(1)?;
                parse::count_states(&mut states, &line.ok()?);
            }
        }
        Some(states)
    }

    fn file_systems(&mut self, reading: &mut Reading, missing: &mut Vec<Source>) {
        let mounts = self.parsed(Source::Mounts, "self/mountinfo", missing, |text| {
            Some(parse::mounts(text, &self.kinds))
        });
        let mut mounts = mounts.unwrap_or_default();
        let before = mounts.len();
        let fits = |text: &str| text.len() <= limits::NAME_BYTES;
        mounts.retain(|m| fits(&m.mount_point) && fits(&m.device) && fits(&m.kind));
        mounts.truncate(limits::FILE_SYSTEMS);
        reading.excess += (before - mounts.len()) as u32;
        for (mount, space) in self.spaces.of(mounts) {
            match space {
                Some(space) => reading.file_systems.push(space),
                None => {
                    tracing::debug!(mount.mount_point, "space on a file system not known");
                    missing.push(Source::FileSystem);
                }
            }
        }
    }
}

/// A mount and its space; `None`: the file system refuses, or does not answer.
pub(super) type Answer = (Mount, Option<Space>);

fn text(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(MAX_FILE_BYTES)
        .read_to_end(&mut bytes)?;
    // A name may hold anything.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::clock;

    fn local() -> Vec<String> {
        vec!["ext4".to_owned()]
    }

    #[test]
    fn this_host_shows_itself() {
        let (reading, missing) = Host::new(local()).read(clock::now());
        assert!(
            !missing.contains(&Source::Stat) && !missing.contains(&Source::Memory),
            "{missing:?}"
        );
        assert!(!reading.cpu.unwrap().cores.is_empty());
        assert!(reading.memory.unwrap().total > 0);
        assert!(reading.uptime_ms.unwrap() > 0);
        assert!(reading.activity.context_switches.unwrap() > 0);
    }

    #[test]
    fn what_is_not_there_is_absent_and_counted() {
        let root = tempfile::tempdir().unwrap();
        let (reading, missing) = Host::at(root.path(), local()).read(clock::now());
        assert_eq!(missing.len(), 11, "{missing:?}");
        assert!(reading.cpu.is_none() && reading.memory.is_none() && reading.disks.is_none());
    }

    #[test]
    fn partitions_and_loop_devices_are_left_out() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("proc")).unwrap();
        for disk in ["sda", "loop0", "cciss!c0d0"] {
            fs::create_dir_all(root.path().join("sys/block").join(disk)).unwrap();
        }
        let lines = ["sda", "sda1", "loop0", "cciss/c0d0"]
            .map(|name| format!("8 0 {name} 1 1 1 1 1 1 1 1 1 1 1\n"));
        fs::write(root.path().join("proc/diskstats"), lines.concat()).unwrap();
        let (reading, _) = Host::at(root.path(), local()).read(clock::now());
        let names: Vec<_> = reading
            .disks
            .unwrap()
            .into_iter()
            .map(|disk| disk.name)
            .collect();
        assert_eq!(names, ["sda", "cciss/c0d0"]);
    }

    #[test]
    fn too_many_sockets_are_not_counted_by_state() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("proc/net")).unwrap();
        let sockstat =
            |tcp| format!("sockets: used 9\nTCP: inuse {tcp} orphan 0 tw 1 alloc 1 mem 1\n");
        let socket = "   0: 00000000:07E8 00000000:0000 0A 0\n";
        fs::write(root.path().join("proc/net/tcp"), socket).unwrap();
        let states = |tcp| {
            fs::write(root.path().join("proc/net/sockstat"), sockstat(tcp)).unwrap();
            Host::at(root.path(), local())
                .read(clock::now())
                .0
                .tcp_states
        };
        assert_eq!(states(1), Some([0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]));
        assert_eq!(states(MAX_TCP_SOCKETS), None);
    }
}
