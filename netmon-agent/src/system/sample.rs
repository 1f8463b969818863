//! Two readings turned into a sample.

use netmon_common::wire::{
    self, BlockDevice, CoreTicks, CpuTicks, FileSystem, InterfaceErrors, NetworkErrors,
    SystemSample, system_limits as limits,
};

use super::{
    parse::{self, TICK_FIELDS, Ticks},
    reading::{Reading, Space},
};

/// Remembers the last reading.
#[derive(Debug, Default)]
pub struct Sampler {
    last: Option<Reading>,
}

impl Sampler {
    /// The sample of a reading, with the differences to the one before.
    pub fn sample(&mut self, reading: Reading) -> SystemSample {
        let mut excess = reading.excess as usize;
        let last = self.last.as_ref();
        let tcp_last = last.map(|last| last.tcp).unwrap_or_default();
        let activity_last = last.map(|last| last.activity).unwrap_or_default();
        let swapped_last = last.and_then(|last| last.swapped_bytes);
        let sample = SystemSample {
            at_unix_ns: reading.at.unix_ns,
            interval_us: last.map_or(0, |last| {
                reading.at.monotonic_ns.saturating_sub(last.at.monotonic_ns) / 1000
            }),
            cpu: last.and_then(|last| {
                let [now, before] = [&reading, last].map(|reading| reading.cpu.as_ref());
                Some(total(elapsed(before?.total, now?.total)))
            }),
            cores: last.and_then(|last| cores(last, &reading, &mut excess)),
            runnable: reading.activity.runnable,
            blocked: reading.activity.blocked,
            context_switches: between(
                activity_last.context_switches,
                reading.activity.context_switches,
            ),
            interrupts: between(activity_last.interrupts, reading.activity.interrupts),
            forks: between(activity_last.forks, reading.activity.forks),
            load: reading.load.map(|load| wire::Load {
                one: load.averages[0],
                five: load.averages[1],
                fifteen: load.averages[2],
                tasks: load.tasks,
            }),
            memory: reading.memory.map(memory),
            swapped_in_bytes: between(
                swapped_last.map(|(read, _)| read),
                reading.swapped_bytes.map(|(read, _)| read),
            ),
            swapped_out_bytes: between(
                swapped_last.map(|(_, written)| written),
                reading.swapped_bytes.map(|(_, written)| written),
            ),
            file_systems: bounded(
                reading.file_systems.iter().map(file_system),
                limits::FILE_SYSTEMS,
                &mut excess,
            ),
            block_devices: last
                .map(|last| block_devices(last, &reading, &mut excess))
                .unwrap_or_default(),
            network_errors: last.and_then(|last| network_errors(last, &reading, &mut excess)),
            tcp: Some(wire::Tcp {
                states: reading.tcp_states.map(Vec::from).unwrap_or_default(),
                segments_sent: between(tcp_last.segments_sent, reading.tcp.segments_sent),
                segments_retransmitted: between(
                    tcp_last.segments_retransmitted,
                    reading.tcp.segments_retransmitted,
                ),
                resets_sent: between(tcp_last.resets_sent, reading.tcp.resets_sent),
                connections_reset: between(
                    tcp_last.connections_reset,
                    reading.tcp.connections_reset,
                ),
            }),
            sockets_used: reading.sockets.map(|sockets| sockets.used),
            uptime_ms: reading.uptime_ms,
            temperatures: bounded(
                reading
                    .temperatures
                    .iter()
                    .map(|(sensor, millidegrees)| wire::Temperature {
                        sensor: sensor.clone(),
                        millidegrees_celsius: *millidegrees,
                    }),
                limits::TEMPERATURES,
                &mut excess,
            ),
            excess: 0,
        };
        self.last = Some(reading);
        SystemSample {
            excess: u32::try_from(excess).unwrap_or(u32::MAX),
            ..sample
        }
    }
}

/// How far a counter came, across at most one wrap at 32 bits: some counters have no more on any
/// kernel, others on 32-bit ones. `None` for a counter that began again.
fn risen(before: u64, now: u64) -> Option<u64> {
    const WRAP: u64 = 1 << 32;
    if now >= before {
        return Some(now - before);
    }
    // Half of the range: a device that was removed and came back under its name has less.
    (WRAP / 2..WRAP)
        .contains(&before)
        .then(|| now + WRAP - before)
        .filter(|risen| *risen < WRAP / 2)
}

fn between(before: Option<u64>, now: Option<u64>) -> Option<u64> {
    risen(before?, now?)
}

/// Ticks by use between two readings. A kind that went back (the kernel corrects idle and iowait)
/// counts as 0, so that the shares of the others still add up to the whole.
fn elapsed(before: Ticks, now: Ticks) -> [u32; TICK_FIELDS] {
    std::array::from_fn(|kind| {
        let ticks = now[kind].saturating_sub(before[kind]);
        u32::try_from(ticks).unwrap_or(u32::MAX)
    })
}

fn total([user, nice, system, idle, iowait, irq, softirq, steal]: [u32; TICK_FIELDS]) -> CpuTicks {
    CpuTicks {
        user,
        nice,
        system,
        idle,
        iowait,
        irq,
        softirq,
        steal,
    }
}

/// Cores that were online at both readings. `None` when the file could not be read at one of them.
fn cores(last: &Reading, reading: &Reading, excess: &mut usize) -> Option<CoreTicks> {
    let [before, now] = [last, reading].map(|reading| reading.cpu.as_ref());
    let (before, now) = (before?, now?);
    let both = now.cores.iter().filter_map(|(core, ticks)| {
        let index = before.cores.binary_search_by_key(core, |(core, _)| *core);
        Some((*core, elapsed(before.cores[index.ok()?].1, *ticks)))
    });
    let cores = bounded(both, limits::CORES, excess);
    let column = |kind: usize| {
        let ticks: Vec<u32> = cores.iter().map(|(_, ticks)| ticks[kind]).collect();
        if ticks.iter().all(|ticks| *ticks == 0) {
            Vec::new()
        } else {
            ticks
        }
    };
    Some(CoreTicks {
        core: cores.iter().map(|(core, _)| *core).collect(),
        user: column(0),
        nice: column(1),
        system: column(2),
        idle: column(3),
        iowait: column(4),
        irq: column(5),
        softirq: column(6),
        steal: column(7),
    })
}

fn memory(memory: parse::Memory) -> wire::Memory {
    wire::Memory {
        total: memory.total,
        free: memory.free,
        available: memory.available,
        buffers: memory.buffers,
        cached: memory.cached,
        shared: memory.shared,
        slab: memory.slab,
        swap_total: memory.swap_total,
        swap_free: memory.swap_free,
    }
}

fn file_system(space: &Space) -> FileSystem {
    FileSystem {
        mount_point: space.mount_point.clone(),
        device: space.device.clone(),
        r#type: space.kind.clone(),
        total: space.total,
        free: space.free,
        available: space.available,
        inodes: space.inodes,
        inodes_free: space.inodes_free,
    }
}

/// Devices that were there at both readings and whose counters did not begin again.
fn block_devices(last: &Reading, reading: &Reading, excess: &mut usize) -> Vec<BlockDevice> {
    let (Some(before), Some(now)) = (&last.disks, &reading.disks) else {
        return Vec::new();
    };
    let devices = now.iter().filter_map(|now| {
        let before = before.iter().find(|before| before.name == now.name)?;
        let busy_ms = risen(before.busy_ms, now.busy_ms)?;
        Some(BlockDevice {
            name: now.name.clone(),
            reads: risen(before.reads, now.reads)?,
            writes: risen(before.writes, now.writes)?,
            read_bytes: risen(before.read_bytes, now.read_bytes)?,
            written_bytes: risen(before.written_bytes, now.written_bytes)?,
            busy_ms: u32::try_from(busy_ms).unwrap_or(u32::MAX),
        })
    });
    bounded(devices, limits::BLOCK_DEVICES, excess)
}

fn network_errors(last: &Reading, reading: &Reading, excess: &mut usize) -> Option<NetworkErrors> {
    let (before, now) = (last.interfaces.as_ref()?, reading.interfaces.as_ref()?);
    let before: std::collections::HashMap<_, _> = before
        .iter()
        .map(|before| (before.interface.as_str(), before.counts))
        .collect();
    let interfaces = now.iter().filter_map(|now| {
        let before = before.get(now.interface.as_str())?;
        let mut counts = [0; 6];
        for ((count, before), now) in counts.iter_mut().zip(before).zip(now.counts) {
            let risen = risen(*before, now).unwrap_or(0);
            *count = u32::try_from(risen).unwrap_or(u32::MAX);
        }
        let [
            rx_errors,
            tx_errors,
            rx_dropped,
            tx_dropped,
            overruns,
            collisions,
        ] = counts;
        (counts != [0; 6]).then(|| InterfaceErrors {
            interface: now.interface.clone(),
            rx_errors,
            tx_errors,
            rx_dropped,
            tx_dropped,
            overruns,
            collisions,
        })
    });
    Some(NetworkErrors {
        interfaces: bounded(interfaces, limits::INTERFACES, excess),
    })
}

/// The first of them; the others are counted.
fn bounded<T>(items: impl Iterator<Item = T>, limit: usize, excess: &mut usize) -> Vec<T> {
    let mut items = items.fuse();
    let kept = items.by_ref().take(limit).collect();
    *excess += items.count();
    kept
}

#[cfg(test)]
mod tests;
