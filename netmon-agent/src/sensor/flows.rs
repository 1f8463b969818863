//! Reading the flow maps and what belongs to no flow.

use std::io;

use aya::{
    Ebpf,
    maps::{Array, Map, MapData, MapError, PerCpuArray, PerCpuHashMap, PerCpuValues, RingBuf},
    util::nr_cpus,
};
use netmon_common::{
    counters::{CounterKey, Direction},
    flow::{FlowEvent, FlowKey, FlowKey4, FlowKey6, FlowValue, UntrackedCounters},
};

use super::{LoadError, Sensor, batch};

const KEY4: usize = size_of::<FlowKey4>();
const KEY6: usize = size_of::<FlowKey6>();
const VALUE: usize = size_of::<FlowValue>();

/// Sizes of the kernel's part.
#[derive(Clone, Copy, Debug)]
pub struct FlowSizes {
    /// Most flows of a family between two drains.
    pub max_entries: u32,
    /// The ring of new flows, bytes.
    pub ring_bytes: u32,
}

/// The maps of flows.
pub(super) struct FlowMaps {
    v4: [MapData; 2],
    v6: [MapData; 2],
    generation: Array<MapData, u32>,
    turned: bool,
    untracked: PerCpuArray<MapData, [u64; 12]>,
    untracked_of_high_index: PerCpuHashMap<MapData, u64, [u64; 12]>,
    events: RingBuf<MapData>,
    events_lost: PerCpuArray<MapData, u64>,
    enabled: bool,
}

/// How many entries the maps held when they were drained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowFill {
    /// IPv4 flows.
    pub v4: u64,
    /// IPv6 flows.
    pub v6: u64,
}

impl FlowMaps {
    pub(super) fn take(ebpf: &mut Ebpf, enabled: bool) -> Result<Self, LoadError> {
        let mut take = |name| ebpf.take_map(name).ok_or(LoadError::Missing(name));
        let mut hash = |name| match take(name)? {
            Map::HashMap(data) => Ok(data),
            _ => Err(LoadError::Missing(name)),
        };
        let v4 = [hash("FLOWS4_A")?, hash("FLOWS4_B")?];
        let v6 = [hash("FLOWS6_A")?, hash("FLOWS6_B")?];
        Ok(Self {
            v4,
            v6,
            generation: Array::try_from(take("FLOW_GENERATION")?)?,
            turned: false,
            untracked: PerCpuArray::try_from(take("UNTRACKED")?)?,
            untracked_of_high_index: PerCpuHashMap::try_from(take("UNTRACKED_OF_HIGH_INDEX")?)?,
            events: RingBuf::try_from(take("FLOW_EVENTS")?)?,
            events_lost: PerCpuArray::try_from(take("FLOW_EVENTS_LOST")?)?,
            enabled,
        })
    }
}

impl Sensor {
    /// Whether the programs keep flows.
    pub const fn has_flows(&self) -> bool {
        self.flows.enabled
    }

    /// Takes everything out of the maps that were in use before the last call, and puts them in use
    /// again: `each` learns of a packet after one to two calls.
    ///
    /// # Errors
    /// When the kernel refuses; what was not taken is still there.
    pub fn drain_flows(
        &mut self,
        mut each: impl FnMut(FlowKey, &FlowValue),
    ) -> Result<FlowFill, MapError> {
        let maps = &mut self.flows;
        let mut fill = FlowFill::default();
        if !maps.enabled {
            return Ok(fill);
        }
        // The generation was turned some time ago; a CPU that was held up since then in the middle
        // of a program may still be working on the old one.
        batch::wait_for_programs();
        let earlier = usize::from(!maps.turned);
        batch::take_all::<KEY4, VALUE>(&maps.v4[earlier], |key, value| {
            if let (Some(key), Some(value)) = (FlowKey4::parse(key), FlowValue::parse(value)) {
                fill.v4 += 1;
                each(FlowKey::V4(key), &value);
            }
        })?;
        batch::take_all::<KEY6, VALUE>(&maps.v6[earlier], |key, value| {
            if let (Some(key), Some(value)) = (FlowKey6::parse(key), FlowValue::parse(value)) {
                fill.v6 += 1;
                each(FlowKey::V6(key), &value);
            }
        })?;
        let turned = !maps.turned;
        maps.generation.set(0, u32::from(turned), 0)?;
        maps.turned = turned;
        Ok(fill)
    }

    /// Takes what the kernel has told of new flows, up to a few thousand; returns whether more may
    /// wait.
    pub fn drain_flow_events(&mut self, mut each: impl FnMut(Option<FlowEvent>)) -> bool {
        const BURST: usize = 4096;
        for _ in 0..BURST {
            match self.flows.events.next() {
                Some(record) => each(FlowEvent::parse(&record)),
                None => return false,
            }
        }
        true
    }

    /// New flows that the kernel could not tell of.
    pub fn flow_events_lost(&self) -> Result<u64, MapError> {
        Ok(self.flows.events_lost.get(&0, 0)?.iter().sum())
    }

    /// What passed an interface and belongs to no flow, since its counters were set to zero.
    pub fn untracked(
        &self,
        ifindex: u32,
        direction: Direction,
    ) -> Result<UntrackedCounters, MapError> {
        let key = CounterKey::new(ifindex, direction);
        let per_cpu = match key.slot() {
            Some(slot) => self.flows.untracked.get(&slot, 0)?,
            None => self.flows.untracked_of_high_index.get(&key.0, 0)?,
        };
        let mut total = [0_u64; 12];
        for words in per_cpu.iter() {
            for (sum, word) in total.iter_mut().zip(words) {
                *sum = sum.wrapping_add(*word);
            }
        }
        Ok(UntrackedCounters::from_words(total))
    }

    /// Sets an interface's counts of what belongs to no flow to zero, as its counters.
    pub(super) fn insert_untracked(&mut self, ifindex: u32) -> Result<(), MapError> {
        let cpus = nr_cpus().map_err(|(_, error)| MapError::IoError(error))?;
        for direction in Direction::ALL {
            let zero = PerCpuValues::try_from(vec![[0; 12]; cpus])
                .map_err(|error: io::Error| MapError::IoError(error))?;
            let key = CounterKey::new(ifindex, direction);
            match key.slot() {
                Some(slot) => self.flows.untracked.set(slot, zero, 0)?,
                None => self.flows.untracked_of_high_index.insert(key.0, zero, 0)?,
            }
        }
        Ok(())
    }

    /// Gives an interface's place back.
    pub(super) fn remove_untracked(&mut self, ifindex: u32) {
        for direction in Direction::ALL {
            let key = CounterKey::new(ifindex, direction);
            if key.slot().is_none() {
                // Gone already is as good as removed.
                let _ = self.flows.untracked_of_high_index.remove(&key.0);
            }
        }
    }
}
