//! The way through the kernel: every frame through the very program that runs on interfaces.

use aya::{maps::MapError, programs::ProgramError};
use netmon_common::{
    counters::{Class, Counters, Direction},
    event::NtpEvent,
    loss::Loss,
    ntp::NtpPorts,
};

use crate::sensor::{LoadError, Program, Sensor, TEST_RUN_IFINDEX};

/// One event waits at a time.
const RING_BYTES: u32 = 1 << 16;
/// The kernel runs programs on frames of at most a page, less what a socket buffer needs itself.
/// What is beyond does not matter: the programs read headers, and 128 octets of payload.
const MAX_RUN: usize = 2048;
/// ... and at least an Ethernet header; with IP behind it, its header too.
const LEAST_RUN: usize = 14;

/// Counters of every class, ingress and egress.
pub(super) type Totals = [[Counters; Class::ALL.len()]; 2];

/// Programs and maps of a replay's own, attached to nothing.
pub(super) struct Kernel {
    sensor: Sensor,
    counted: Totals,
}

/// Why frames cannot go through the kernel.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// Not allowed.
    #[error(
        "replay through the kernel's programs needs CAP_BPF and CAP_NET_ADMIN: run it as root, or \
         with --userspace, which reads the same without privileges"
    )]
    Privileges,
    /// The kernel does not take the programs.
    #[error("{0}; --userspace reads the same without them")]
    Load(LoadError),
    /// A run failed.
    #[error("the kernel refuses to run a program on a frame: {0}; --userspace reads without it")]
    Run(#[from] ProgramError),
    /// A map cannot be read.
    #[error("a map of the programs cannot be read: {0}; --userspace reads without them")]
    Map(#[from] MapError),
}

impl Kernel {
    /// Loads the programs, which look for NTP on `ports`. Needs `CAP_BPF` and `CAP_NET_ADMIN`, and a
    /// runtime to poll in.
    pub(super) fn load(ports: &NtpPorts) -> Result<Self, KernelError> {
        if !has_privileges() {
            return Err(KernelError::Privileges);
        }
        let mut sensor = Sensor::load(RING_BYTES, false, None).map_err(KernelError::Load)?;
        sensor.set_ntp_ports(ports)?;
        sensor.insert_counters(TEST_RUN_IFINDEX)?;
        Ok(Self {
            sensor,
            counted: Totals::default(),
        })
    }

    /// Whether the kernel runs a program on this frame.
    pub(super) fn takes(frame: &[u8]) -> bool {
        // See bpf_prog_test_run_skb: it sets the socket buffer's addresses from the IP header.
        let least = match frame.get(12..LEAST_RUN) {
            Some([0x08, 0x00]) => LEAST_RUN + 20,
            Some([0x86, 0xdd]) => LEAST_RUN + 40,
            _ => LEAST_RUN,
        };
        frame.len() >= least
    }

    /// As much of a frame as can be run.
    pub(super) fn runnable(frame: &[u8]) -> &[u8] {
        frame.get(..MAX_RUN).unwrap_or(frame)
    }

    /// Runs the program on a frame; returns the event that it made, if any.
    pub(super) fn run(
        &mut self,
        frame: &[u8],
        way: Direction,
    ) -> Result<Option<NtpEvent>, KernelError> {
        let program = match way {
            Direction::Ingress => Program::Ingress,
            Direction::Egress => Program::Egress,
        };
        self.sensor.test_run(program, frame, 1)?;
        let mut event = None;
        while self.sensor.drain(|found| event = found.or(event.take())) {}
        Ok(event)
    }

    /// What has been counted since the last call.
    pub(super) fn counted(&mut self) -> Result<Totals, KernelError> {
        let mut news = Totals::default();
        for (way, news) in Direction::ALL.into_iter().zip(&mut news) {
            let now = self.sensor.classes(TEST_RUN_IFINDEX, way)?;
            let before = std::mem::replace(&mut self.counted[way as usize], now);
            for ((news, now), before) in news.iter_mut().zip(now).zip(before) {
                *news = now.since(before).unwrap_or_default();
            }
        }
        Ok(news)
    }

    /// Frames that became no event, by cause.
    pub(super) fn losses(&self) -> Result<Vec<(Loss, u64)>, KernelError> {
        Ok(self.sensor.losses()?.to_vec())
    }
}

/// Whether this process may load programs.
fn has_privileges() -> bool {
    const CAP_NET_ADMIN: u64 = 1 << 12;
    const CAP_SYS_ADMIN: u64 = 1 << 21;
    const CAP_BPF: u64 = 1 << 39;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|number| u64::from_str_radix(number.trim(), 16).ok());
    // What cannot be read is for the kernel to say.
    effective.is_none_or(|bits| {
        bits & CAP_SYS_ADMIN != 0 || bits & (CAP_BPF | CAP_NET_ADMIN) == CAP_BPF | CAP_NET_ADMIN
    })
}
