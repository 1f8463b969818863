//! Readings of hosts: one row each.

mod cores;
mod devices;
mod figures;
mod lists;
mod mounts;
mod names;
mod network_errors;
mod sensors;

use std::collections::HashSet;

use netmon_common::wire::{SystemSample, system_limits as limits};

pub(crate) use names::is_name;

use self::{
    cores::Cores,
    devices::Device,
    figures::{all, options},
    mounts::Mount,
    network_errors::Errors,
};
use super::{
    Invalid, Series,
    copy::CopyBuffer,
    invalid::fit,
    rows::{Origin, Rows},
    target::Target,
};

/// The table, and its columns as [`encode`] writes them.
pub(super) const TARGET: Target = Target {
    table: "system_stats",
    columns: "agent_id, at, epoch, sequence, interval_us, cpu_user, cpu_nice, cpu_system, \
              cpu_idle, cpu_iowait, cpu_irq, cpu_softirq, cpu_steal, core, core_user, core_nice, \
              core_system, core_idle, core_iowait, core_irq, core_softirq, core_steal, runnable, \
              blocked, context_switches, interrupts, forks, load_1, load_5, load_15, tasks, \
              memory_total, memory_free, memory_available, memory_buffers, memory_cached, \
              memory_shared, memory_slab, swap_total, swap_free, swapped_in_bytes, \
              swapped_out_bytes, mount_point, mount_device, mount_type, mount_total, mount_free, \
              mount_available, mount_inodes, mount_inodes_free, device, device_reads, \
              device_writes, device_read_bytes, device_written_bytes, device_busy_ms, interface, \
              interface_rx_errors, interface_tx_errors, interface_rx_dropped, \
              interface_tx_dropped, interface_overruns, interface_collisions, tcp_states, \
              tcp_segments_sent, tcp_segments_retransmitted, tcp_resets_sent, \
              tcp_connections_reset, sockets_used, uptime_ms, sensor, sensor_millidegrees, excess",
    key: "agent_id, at, epoch, sequence",
};
const COLUMNS: i16 = 73;

/// Appends every sample, or names the first that is invalid.
pub(super) fn encode(
    rows: &mut Rows,
    origin: Origin,
    samples: &[SystemSample],
) -> Result<(), Invalid> {
    let mut times = HashSet::with_capacity(samples.len());
    for (index, sample) in samples.iter().enumerate() {
        let place = format_args!("system[{index}]");
        let row = Row::new(origin, sample).map_err(|invalid| invalid.within(place))?;
        if !times.insert(row.at_us) {
            return Err(Invalid::new(place, "an earlier sample has its time"));
        }
        rows.touch(Series::System, row.at_us, row.at_us);
        row.append(rows.buffer(Series::System), origin);
    }
    Ok(())
}

/// A sample whose every value fits its column.
struct Row<'a> {
    at_us: i64,
    interval_us: i64,
    cpu: Option<[i32; 8]>,
    cores: Option<Cores>,
    /// `runnable`, `blocked`.
    tasks: [Option<i32>; 2],
    /// `context_switches`, `interrupts`, `forks`.
    activity: [Option<i64>; 3],
    load: Option<[i32; 4]>,
    /// `memory_total` to `swap_free`.
    memory: [Option<i64>; 9],
    swapped_bytes: [Option<i64>; 2],
    mounts: Vec<Mount<'a>>,
    devices: Vec<Device<'a>>,
    interfaces: Errors<'a>,
    tcp_states: Option<Vec<i32>>,
    tcp: [Option<i64>; 4],
    sockets_used: Option<i32>,
    uptime_ms: Option<i64>,
    sensors: Vec<(&'a str, i32)>,
    excess: i32,
}

impl<'a> Row<'a> {
    fn new(origin: Origin, sample: &'a SystemSample) -> Result<Self, Invalid> {
        let memory = sample.memory;
        let memory_figure = |value: fn(netmon_common::wire::Memory) -> u64| memory.map(value);
        let tcp = sample.tcp.clone().unwrap_or_default();
        Ok(Self {
            at_us: origin
                .window
                .microseconds("at_unix_ns", sample.at_unix_ns)?,
            interval_us: fit("interval_us", sample.interval_us)?,
            cpu: sample
                .cpu
                .map(|t| {
                    let ticks = [
                        t.user, t.nice, t.system, t.idle, t.iowait, t.irq, t.softirq, t.steal,
                    ];
                    all("cpu", ticks)
                })
                .transpose()?,
            cores: sample.cores.as_ref().map(Cores::new).transpose()?,
            tasks: options("runnable", [sample.runnable, sample.blocked])?,
            activity: options(
                "context_switches",
                [sample.context_switches, sample.interrupts, sample.forks],
            )?,
            load: sample
                .load
                .map(|load| all("load", [load.one, load.five, load.fifteen, load.tasks]))
                .transpose()?,
            memory: options(
                "memory",
                [
                    memory_figure(|m| m.total),
                    memory_figure(|m| m.free),
                    memory.and_then(|memory| memory.available),
                    memory_figure(|m| m.buffers),
                    memory_figure(|m| m.cached),
                    memory_figure(|m| m.shared),
                    memory_figure(|m| m.slab),
                    memory_figure(|m| m.swap_total),
                    memory_figure(|m| m.swap_free),
                ],
            )?,
            swapped_bytes: options(
                "swapped_in_bytes",
                [sample.swapped_in_bytes, sample.swapped_out_bytes],
            )?,
            mounts: mounts::of(sample)?,
            devices: devices::of(sample)?,
            interfaces: network_errors::of(sample)?,
            tcp_states: states(&tcp.states)?,
            tcp: options(
                "tcp",
                [
                    tcp.segments_sent,
                    tcp.segments_retransmitted,
                    tcp.resets_sent,
                    tcp.connections_reset,
                ],
            )?,
            sockets_used: options("sockets_used", [sample.sockets_used])?[0],
            uptime_ms: options("uptime_ms", [sample.uptime_ms])?[0],
            sensors: sensors::of(sample)?,
            excess: fit("excess", sample.excess)?,
        })
    }

    fn append(self, out: &mut CopyBuffer, origin: Origin) {
        out.row(COLUMNS);
        out.int8(origin.key.agent);
        out.timestamp(self.at_us);
        out.int8(origin.key.epoch);
        out.int8(origin.key.sequence);
        out.int8(self.interval_us);
        for kind in 0..8 {
            out.optional(self.cpu, |out, cpu| out.int4(cpu[kind]));
        }
        cores::append(out, self.cores.as_ref());
        self.tasks
            .into_iter()
            .for_each(|value| out.optional(value, CopyBuffer::int4));
        self.activity
            .into_iter()
            .for_each(|value| out.optional(value, CopyBuffer::int8));
        for figure in 0..4 {
            out.optional(self.load, |out, load| out.int4(load[figure]));
        }
        self.memory
            .into_iter()
            .for_each(|value| out.optional(value, CopyBuffer::int8));
        self.swapped_bytes
            .into_iter()
            .for_each(|value| out.optional(value, CopyBuffer::int8));
        mounts::append(out, &self.mounts);
        devices::append(out, &self.devices);
        network_errors::append(out, &self.interfaces);
        out.optional(self.tcp_states, |out, states| {
            out.int4_array(states.into_iter())
        });
        self.tcp
            .into_iter()
            .for_each(|value| out.optional(value, CopyBuffer::int8));
        out.optional(self.sockets_used, CopyBuffer::int4);
        out.optional(self.uptime_ms, CopyBuffer::int8);
        sensors::append(out, &self.sensors);
        out.int4(self.excess);
    }
}

fn states(states: &[u32]) -> Result<Option<Vec<i32>>, Invalid> {
    if states.is_empty() {
        return Ok(None);
    }
    if states.len() != limits::TCP_STATES {
        let problem = format_args!("{} states, not {}", states.len(), limits::TCP_STATES);
        return Err(Invalid::new("tcp.states", problem));
    }
    let states = states.iter().map(|count| fit("tcp.states", *count));
    states.collect::<Result<_, _>>().map(Some)
}
