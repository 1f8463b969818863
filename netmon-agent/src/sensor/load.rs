//! Loading the programs into the kernel.

use std::{os::fd::AsRawFd as _, sync::Arc};

use aya::{
    Ebpf, EbpfLoader, include_bytes_aligned,
    maps::{MapData, MapError, PerCpuArray, PerCpuHashMap, RingBuf},
    programs::{ProgramError, SchedClassifier, Xdp},
};
use tokio::io::{Interest, unix::AsyncFd};

use super::{
    FlowSizes, Hooks, LinkKind, PinError, Pins, WatchMaps,
    attach::{Owner, XDP_PROGRAM},
    flows::FlowMaps,
    losses::LostPackets,
    pins::MAPS,
    ports::PortMap,
};
use crate::heap;

/// The compiled programs.
pub static PROGRAMS: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/netmon"));

/// The kernel wakes the agent each time another such part of the ring has filled up.
const WAKEUPS_PER_RING: u32 = 4;

/// The loaded programs and their maps.
pub struct Sensor {
    pub(super) ebpf: Ebpf,
    pub(super) counters: PerCpuArray<MapData, [u64; 4]>,
    pub(super) counters_of_high_index: PerCpuHashMap<MapData, u64, [u64; 4]>,
    pub(super) losses: PerCpuArray<MapData, u64>,
    pub(super) events: AsyncFd<RingBuf<MapData>>,
    /// Where maps and links are pinned, if they are.
    pub(super) pins: Option<Pins>,
    /// Where the programs go.
    pub(super) hooks: Hooks,
    /// The kernel was found to have no TCX.
    pub(super) without_tcx: bool,
    /// It was said that classic filters are not pinned.
    pub(super) warned_of_pins: bool,
    /// Whose the classic filters are, once there are any.
    pub(super) owner: Option<Arc<Owner>>,
    /// Whether the program for XDP is loaded, or why not.
    pub(super) xdp: Result<(), String>,
    pub(super) lost: LostPackets,
    pub(super) flows: FlowMaps,
    pub(super) watch: Option<WatchMaps>,
    pub(super) ports: PortMap,
}

/// The programs cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The kernel or its verifier refused.
    #[error("the kernel refused the programs: {0}; `netmon-agent doctor` says what is missing")]
    Ebpf(#[from] aya::EbpfError),
    /// A single program was refused.
    #[error("the kernel refused a program: {0}; `netmon-agent doctor` says what is missing")]
    Program(#[from] ProgramError),
    /// The kernel is too old for the XDP program.
    #[error("the kernel refused the XDP program: {0}")]
    Xdp(String),
    /// A map is not as it should be.
    #[error("a map of the programs is unusable: {0}")]
    Map(#[from] MapError),
    /// The programs and the agent are of different builds.
    #[error("the compiled programs hold no {0}")]
    Missing(&'static str),
    /// Maps and links cannot be pinned.
    #[error(transparent)]
    Pin(#[from] PinError),
    /// The ring buffer cannot be polled.
    #[error("the ring buffer cannot be polled: {0}")]
    Poll(#[from] std::io::Error),
}

impl Sensor {
    /// As [`Sensor::load_with_flows`], without flows.
    pub fn load(ring_bytes: u32, log_losses: bool, pins: Option<Pins>) -> Result<Self, LoadError> {
        Self::load_with_flows(ring_bytes, log_losses, pins, None)
    }

    /// Loads the programs, which tell of every lost packet if `log_losses`; with `pins`, onto the maps
    /// that an earlier agent left there. Needs `CAP_BPF` and `CAP_NET_ADMIN`, and a runtime to poll
    /// in.
    pub fn load_with_flows(
        ring_bytes: u32,
        log_losses: bool,
        pins: Option<Pins>,
        flows: Option<FlowSizes>,
    ) -> Result<Self, LoadError> {
        let pinned_ring = pins.as_ref().map(Pins::ring_bytes).transpose()?.flatten();
        if pinned_ring.is_some_and(|pinned| pinned != ring_bytes) {
            tracing::warn!(
                "sensor.ring_bytes keeps the size it was pinned with; `netmon-agent unpin` while \
                 the agent is stopped lets it change"
            );
        }
        let ring_bytes = pinned_ring.unwrap_or(ring_bytes);
        let logs_losses = u8::from(log_losses);
        let wakeup_bytes = (ring_bytes / WAKEUPS_PER_RING).max(1);
        let mut loader = EbpfLoader::new();
        loader
            .map_max_entries("EVENTS", ring_bytes)
            .override_global("LOG_LOSSES", &logs_losses, true)
            .override_global("WAKEUP_BYTES", &wakeup_bytes, true);
        let with_flows = u8::from(flows.is_some());
        loader.override_global("FLOWS_ENABLED", &with_flows, true);
        if let Some(sizes) = flows {
            for name in ["FLOWS4_A", "FLOWS4_B", "FLOWS6_A", "FLOWS6_B"] {
                loader.map_max_entries(name, sizes.max_entries);
            }
            loader.map_max_entries("FLOW_EVENTS", sizes.ring_bytes);
        }
        if let Some(pins) = &pins {
            for name in MAPS {
                loader.map_pin_path(name, pins.map(name));
            }
        }
        let mut ebpf = loader.load(PROGRAMS)?;
        // With the kernel's types, which take ten times as much as everything else here.
        drop(loader);
        heap::give_back();
        for name in LinkKind::ALL.into_iter().flat_map(LinkKind::programs) {
            let program = ebpf
                .program_mut(name)
                .ok_or(LoadError::Missing("program"))?;
            <&mut SchedClassifier>::try_from(program)?.load()?;
        }
        // Now, since maps that are not used are closed below. Whether it is missed shows when an
        // interface is to have it.
        let xdp = load_xdp(&mut ebpf).map_err(|error| first_line(&error.to_string()));
        let mut take = |name| ebpf.take_map(name).ok_or(LoadError::Missing(name));
        let counters = PerCpuArray::try_from(take("COUNTERS")?)?;
        let high = PerCpuHashMap::try_from(take("COUNTERS_OF_HIGH_INDEX")?)?;
        let losses = PerCpuArray::try_from(take("LOSSES")?)?;
        let ring = RingBuf::try_from(take("EVENTS")?)?;
        // SAFETY: the ring owns the map's file descriptor and never changes it, and the AsyncFd
        // owns the ring.
        let events = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) }
            .map_err(std::io::Error::from)?;
        let lost = log_losses.then(|| take_ring(&mut ebpf, "LOST_PACKETS"));
        let lost = lost.transpose()?;
        let flows = FlowMaps::take(&mut ebpf, flows.is_some())?;
        let watch = Some(WatchMaps::take(&mut ebpf)?);
        let ports = PortMap::take(&mut ebpf)?;
        tracing::debug!(ring = events.as_raw_fd(), "kernel programs loaded");
        Ok(Self {
            ebpf,
            counters,
            counters_of_high_index: high,
            losses,
            events,
            pins,
            hooks: Hooks::default(),
            without_tcx: false,
            warned_of_pins: false,
            owner: None,
            xdp,
            lost,
            flows,
            watch,
            ports,
        })
    }

    /// Whether the program for XDP is there.
    ///
    /// # Errors
    /// Why the kernel has refused it.
    pub fn has_xdp(&self) -> Result<(), LoadError> {
        self.xdp.clone().map_err(LoadError::Xdp)
    }

    /// Says where the programs are to go from now on.
    pub fn set_hooks(&mut self, hooks: Hooks) {
        self.hooks = hooks;
    }
}

fn take_ring(ebpf: &mut Ebpf, name: &'static str) -> Result<RingBuf<MapData>, LoadError> {
    Ok(RingBuf::try_from(
        ebpf.take_map(name).ok_or(LoadError::Missing(name))?,
    )?)
}

fn load_xdp(ebpf: &mut Ebpf) -> Result<(), LoadError> {
    let program = ebpf.program_mut(XDP_PROGRAM);
    let program = program.ok_or(LoadError::Missing(XDP_PROGRAM))?;
    Ok(<&mut Xdp>::try_from(program)?.load()?)
}

/// Without what the verifier has thought.
fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}
