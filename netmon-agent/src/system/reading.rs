//! What the host showed at one moment: running totals and states, before any difference.

use super::parse::{Activity, Cpu, Disk, InterfaceErrors, Load, Memory, Sockets, Tcp};
use crate::clock::Now;

/// One reading. What could not be read is absent.
#[derive(Clone, Debug)]
pub struct Reading {
    /// When.
    pub at: Now,
    /// Time by use, of the host and its cores.
    pub cpu: Option<Cpu>,
    /// Tasks, switches, interrupts.
    pub activity: Activity,
    /// Load averages.
    pub load: Option<Load>,
    /// Memory and swap space.
    pub memory: Option<Memory>,
    /// Octets swapped in and out since the boot.
    pub swapped_bytes: Option<(u64, u64)>,
    /// Space on file systems.
    pub file_systems: Vec<Space>,
    /// Block devices.
    pub disks: Option<Vec<Disk>>,
    /// Errors per interface.
    pub interfaces: Option<Vec<InterfaceErrors>>,
    /// TCP's counters.
    pub tcp: Tcp,
    /// TCP sockets per state, in the order of the wire's `Tcp.states`.
    pub tcp_states: Option<[u32; 11]>,
    /// Sockets in use.
    pub sockets: Option<Sockets>,
    /// Since the boot.
    pub uptime_ms: Option<u64>,
    /// Sensor and millidegrees Celsius.
    pub temperatures: Vec<(String, i32)>,
    /// Parts that were left out because they are beyond a limit.
    pub excess: u32,
}

/// Space on one file system, octets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Space {
    /// Where it is mounted.
    pub mount_point: String,
    /// What is mounted.
    pub device: String,
    /// The kernel's name of its type.
    pub kind: String,
    /// All of it.
    pub total: u64,
    /// Not used.
    pub free: u64,
    /// What an unprivileged user can take.
    pub available: u64,
    /// Inodes; 0 where it has no table of them.
    pub inodes: u64,
    /// Inodes not used.
    pub inodes_free: u64,
}

impl Reading {
    /// Nothing but the time.
    pub fn empty(at: Now) -> Self {
        Self {
            at,
            cpu: None,
            activity: Activity::default(),
            load: None,
            memory: None,
            swapped_bytes: None,
            file_systems: Vec::new(),
            disks: None,
            interfaces: None,
            tcp: Tcp::default(),
            tcp_states: None,
            sockets: None,
            uptime_ms: None,
            temperatures: Vec::new(),
            excess: 0,
        }
    }
}
