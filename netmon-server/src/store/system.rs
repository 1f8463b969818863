//! Readings of hosts: one row each.

use std::collections::HashSet;

use netmon_common::wire::{CoreTicks, SystemSample, system_limits as limits};

use super::{
    Invalid, Series,
    copy::CopyBuffer,
    interfaces,
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
    interfaces: Option<Vec<(&'a str, [i32; 6])>>,
    tcp_states: Option<Vec<i32>>,
    tcp: [Option<i64>; 4],
    sockets_used: Option<i32>,
    uptime_ms: Option<i64>,
    sensors: Vec<(&'a str, i32)>,
    excess: i32,
}

struct Cores {
    numbers: Vec<i16>,
    /// By kind of time; empty: 0 for every core.
    ticks: [Vec<i32>; 8],
}

struct Mount<'a> {
    names: [&'a str; 3],
    /// Total, free, available; inodes and those free.
    figures: [i64; 5],
}

struct Device<'a> {
    name: &'a str,
    requests: [i32; 2],
    bytes: [i64; 2],
    busy_ms: i32,
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
            mounts: mounts(sample)?,
            devices: devices(sample)?,
            interfaces: errors(sample)?,
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
            sensors: sensors(sample)?,
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
        let cores = self.cores.filter(|cores| !cores.numbers.is_empty());
        out.optional(cores.as_ref(), |out, cores| {
            out.int2_array(cores.numbers.iter().copied());
        });
        for kind in 0..8 {
            let ticks = cores.as_ref().map(|cores| &cores.ticks[kind]);
            out.optional(ticks.filter(|ticks| !ticks.is_empty()), |out, ticks| {
                out.int4_array(ticks.iter().copied());
            });
        }
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
        mount_columns(out, &self.mounts);
        device_columns(out, &self.devices);
        out.optional(self.interfaces.as_ref(), |out, interfaces| {
            out.text_array(interfaces.iter().map(|(name, _)| *name));
        });
        let erroneous = self.interfaces.as_deref().and_then(some);
        for figure in 0..6 {
            out.optional(erroneous, |out, interfaces| {
                out.int4_array(interfaces.iter().map(|(_, errors)| errors[figure]));
            });
        }
        out.optional(self.tcp_states, |out, states| {
            out.int4_array(states.into_iter())
        });
        self.tcp
            .into_iter()
            .for_each(|value| out.optional(value, CopyBuffer::int8));
        out.optional(self.sockets_used, CopyBuffer::int4);
        out.optional(self.uptime_ms, CopyBuffer::int8);
        let sensors = some(&self.sensors);
        out.optional(sensors, |out, sensors| {
            out.text_array(sensors.iter().map(|(name, _)| *name));
        });
        out.optional(sensors, |out, sensors| {
            out.int4_array(sensors.iter().map(|(_, value)| *value));
        });
        out.int4(self.excess);
    }
}

fn mount_columns(out: &mut CopyBuffer, mounts: &[Mount<'_>]) {
    for name in 0..3 {
        out.optional(some(mounts), |out, mounts| {
            out.text_array(mounts.iter().map(|mount| mount.names[name]));
        });
    }
    for figure in 0..5 {
        out.optional(some(mounts), |out, mounts| {
            out.int8_array(mounts.iter().map(|mount| mount.figures[figure]));
        });
    }
}

fn device_columns(out: &mut CopyBuffer, devices: &[Device<'_>]) {
    let devices = some(devices);
    out.optional(devices, |out, devices| {
        out.text_array(devices.iter().map(|device| device.name));
    });
    for figure in 0..2 {
        out.optional(devices, |out, devices| {
            out.int4_array(devices.iter().map(|device| device.requests[figure]));
        });
    }
    for figure in 0..2 {
        out.optional(devices, |out, devices| {
            out.int8_array(devices.iter().map(|device| device.bytes[figure]));
        });
    }
    out.optional(devices, |out, devices| {
        out.int4_array(devices.iter().map(|device| device.busy_ms));
    });
}

/// A list without entries says nothing.
fn some<T>(list: &[T]) -> Option<&[T]> {
    Some(list).filter(|list| !list.is_empty())
}

impl Cores {
    fn new(cores: &CoreTicks) -> Result<Self, Invalid> {
        bounded("cores.core", cores.core.len(), limits::CORES)?;
        let ascending = cores.core.windows(2).all(|pair| pair[0] < pair[1]);
        if !ascending {
            return Err(Invalid::new("cores.core", "the numbers do not ascend"));
        }
        let numbers = cores.core.iter().map(|core| fit("cores.core", *core));
        let kinds = [
            &cores.user,
            &cores.nice,
            &cores.system,
            &cores.idle,
            &cores.iowait,
            &cores.irq,
            &cores.softirq,
            &cores.steal,
        ];
        let mut ticks: [Vec<i32>; 8] = Default::default();
        for (ticks, kind) in ticks.iter_mut().zip(kinds) {
            if !kind.is_empty() && kind.len() != cores.core.len() {
                let problem = format_args!("{} values for {} cores", kind.len(), cores.core.len());
                return Err(Invalid::new("cores", problem));
            }
            let values = kind.iter().map(|value| fit("cores", *value));
            *ticks = values.collect::<Result<_, _>>()?;
        }
        Ok(Self {
            numbers: numbers.collect::<Result<_, _>>()?,
            ticks,
        })
    }
}

fn mounts(sample: &SystemSample) -> Result<Vec<Mount<'_>>, Invalid> {
    let mounts = &sample.file_systems;
    bounded("file_systems", mounts.len(), limits::FILE_SYSTEMS)?;
    unique(
        "file_systems",
        mounts.iter().map(|m| m.mount_point.as_str()),
    )?;
    let checked = mounts.iter().enumerate().map(|(index, mount)| {
        let names = [&mount.mount_point, &mount.device, &mount.r#type].map(String::as_str);
        let [total, free, available, inodes, inodes_free] = [
            mount.total,
            mount.free,
            mount.available,
            mount.inodes,
            mount.inodes_free,
        ]
        .map(inode_count);
        names
            .iter()
            .try_for_each(|name| check_name("names", name))
            .map_err(|invalid| invalid.within(format_args!("file_systems[{index}]")))?;
        Ok(Mount {
            names,
            figures: [total, free, available, inodes, inodes_free],
        })
    });
    checked.collect()
}

/// Some file systems (btrfs with quotas, network file systems) answer with all bits set for "any
/// number".
fn inode_count(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn devices(sample: &SystemSample) -> Result<Vec<Device<'_>>, Invalid> {
    let devices = &sample.block_devices;
    bounded("block_devices", devices.len(), limits::BLOCK_DEVICES)?;
    unique("block_devices", devices.iter().map(|d| d.name.as_str()))?;
    let checked = devices.iter().enumerate().map(|(index, device)| {
        let place = |invalid: Invalid| invalid.within(format_args!("block_devices[{index}]"));
        check_name("name", &device.name).map_err(place)?;
        Ok(Device {
            name: &device.name,
            requests: all("reads", [device.reads, device.writes]).map_err(place)?,
            bytes: all("read_bytes", [device.read_bytes, device.written_bytes]).map_err(place)?,
            busy_ms: fit("busy_ms", device.busy_ms).map_err(place)?,
        })
    });
    checked.collect()
}

type Errors<'a> = Option<Vec<(&'a str, [i32; 6])>>;

fn errors(sample: &SystemSample) -> Result<Errors<'_>, Invalid> {
    let Some(errors) = &sample.network_errors else {
        return Ok(None);
    };
    let interfaces = &errors.interfaces;
    bounded("network_errors", interfaces.len(), limits::INTERFACES)?;
    unique(
        "network_errors",
        interfaces.iter().map(|i| i.interface.as_str()),
    )?;
    let checked = interfaces.iter().enumerate().map(|(index, errors)| {
        let place = |invalid: Invalid| invalid.within(format_args!("network_errors[{index}]"));
        interfaces::check_name("interface", &errors.interface).map_err(place)?;
        let counts = [
            errors.rx_errors,
            errors.tx_errors,
            errors.rx_dropped,
            errors.tx_dropped,
            errors.overruns,
            errors.collisions,
        ];
        Ok((
            errors.interface.as_str(),
            all("errors", counts).map_err(place)?,
        ))
    });
    checked.collect::<Result<_, _>>().map(Some)
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

fn sensors(sample: &SystemSample) -> Result<Vec<(&str, i32)>, Invalid> {
    let temperatures = &sample.temperatures;
    bounded("temperatures", temperatures.len(), limits::TEMPERATURES)?;
    unique(
        "temperatures",
        temperatures.iter().map(|t| t.sensor.as_str()),
    )?;
    let checked = temperatures.iter().map(|temperature| {
        check_name("temperatures", &temperature.sensor)?;
        Ok((
            temperature.sensor.as_str(),
            temperature.millidegrees_celsius,
        ))
    });
    checked.collect()
}

fn bounded(place: &str, length: usize, limit: usize) -> Result<(), Invalid> {
    if length <= limit {
        Ok(())
    } else {
        let problem = format_args!("{length} entries, not at most {limit}");
        Err(Invalid::new(place, problem))
    }
}

fn unique<'a>(place: &str, names: impl Iterator<Item = &'a str>) -> Result<(), Invalid> {
    let mut seen = HashSet::new();
    for name in names {
        if !seen.insert(name) {
            let problem = format_args!("{name:?} is there twice");
            return Err(Invalid::new(place, problem));
        }
    }
    Ok(())
}

/// A mount point, device or sensor.
pub(crate) fn is_name(name: &str) -> bool {
    (1..=limits::NAME_BYTES).contains(&name.len()) && !name.chars().any(char::is_control)
}

fn check_name(place: &str, name: &str) -> Result<(), Invalid> {
    if is_name(name) {
        Ok(())
    } else {
        let problem = format_args!(
            "{name:?} is no name: 1 to {} octets, no control characters",
            limits::NAME_BYTES
        );
        Err(Invalid::new(place, problem))
    }
}

/// Converts numbers into their columns' type.
fn all<T, N, const COUNT: usize>(place: &str, values: [N; COUNT]) -> Result<[T; COUNT], Invalid>
where
    T: TryFrom<N> + super::invalid::MaxValue + Copy + Default,
    N: Copy + std::fmt::Display,
{
    let mut converted = [T::default(); COUNT];
    for (to, from) in converted.iter_mut().zip(values) {
        *to = fit(place, from)?;
    }
    Ok(converted)
}

/// The same for numbers that may be absent.
fn options<T, N, const COUNT: usize>(
    place: &str,
    values: [Option<N>; COUNT],
) -> Result<[Option<T>; COUNT], Invalid>
where
    T: TryFrom<N> + super::invalid::MaxValue + Copy,
    N: Copy + std::fmt::Display,
{
    let mut converted = [None; COUNT];
    for (to, from) in converted.iter_mut().zip(values) {
        *to = from.map(|value| fit(place, value)).transpose()?;
    }
    Ok(converted)
}
