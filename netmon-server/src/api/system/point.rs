//! One point of a host's figures.

use std::collections::BTreeMap;

use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::Parts;
use crate::api::range;

/// What a host was busy with in one length of time. Ratios and rates are over the time that was
/// measured; states are averages weighted by time, with their extremes beside them. Null: not known.
#[derive(Serialize, ToSchema)]
pub struct Point {
    /// When the point begins: a multiple of its length since 1970. The first may begin before
    /// `from`; it still counts only readings of the range.
    #[serde(with = "time::serde::rfc3339")]
    at: OffsetDateTime,
    /// Readings in the point.
    samples: i32,
    cpu: Option<Cpu>,
    load: Load,
    tasks: Tasks,
    memory: Memory,
    swap: Swap,
    tcp: Tcp,
    /// Of every family.
    sockets_used: Option<f64>,
    sockets_used_max: Option<i32>,
    /// The least in the point: low after a reboot.
    uptime_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cores: Option<Vec<Core>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file_systems: Option<Vec<FileSystem>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    block_devices: Option<Vec<BlockDevice>>,
    /// Only interfaces with errors.
    #[serde(skip_serializing_if = "Option::is_none")]
    interfaces: Option<Vec<InterfaceErrors>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperatures: Option<Vec<Temperature>>,
    /// Most sockets in each state.
    #[serde(skip_serializing_if = "Option::is_none")]
    tcp_states: Option<BTreeMap<&'static str, i32>>,
}

/// Shares of the processors' time; they add up to 1.
#[derive(Serialize, ToSchema)]
pub struct Cpu {
    /// Neither idle nor waiting for I/O.
    pub busy_ratio: f64,
    /// Of the busiest reading.
    pub busy_ratio_max: Option<f64>,
    /// Time of virtual machines included.
    pub user_ratio: f64,
    pub nice_ratio: f64,
    pub system_ratio: f64,
    pub idle_ratio: f64,
    pub iowait_ratio: f64,
    pub irq_ratio: f64,
    pub softirq_ratio: f64,
    pub steal_ratio: f64,
}

/// The kernel's load averages.
#[derive(Serialize, ToSchema)]
pub struct Load {
    load_1: Option<f64>,
    load_5: Option<f64>,
    load_15: Option<f64>,
    load_1_max: Option<f64>,
}

/// Threads, and what the kernel does for them.
#[derive(Serialize, ToSchema)]
pub struct Tasks {
    /// Threads there are.
    total: Option<f64>,
    total_max: Option<i32>,
    /// That run or could: the run queue.
    runnable: Option<f64>,
    runnable_max: Option<i32>,
    /// That wait for I/O.
    blocked: Option<f64>,
    blocked_max: Option<i32>,
    forks_per_second: Option<f64>,
    context_switches_per_second: Option<f64>,
    interrupts_per_second: Option<f64>,
}

/// Memory.
#[derive(Serialize, ToSchema)]
pub struct Memory {
    total_bytes: Option<i64>,
    free_bytes: Option<i64>,
    /// What programs could get without swapping.
    available_bytes: Option<i64>,
    available_bytes_min: Option<i64>,
    buffers_bytes: Option<i64>,
    cached_bytes: Option<i64>,
    shared_bytes: Option<i64>,
    slab_bytes: Option<i64>,
}

/// Swap space.
#[derive(Serialize, ToSchema)]
pub struct Swap {
    total_bytes: Option<i64>,
    free_bytes: Option<i64>,
    free_bytes_min: Option<i64>,
    in_bytes_per_second: Option<f64>,
    out_bytes_per_second: Option<f64>,
}

/// TCP over IPv4 and IPv6.
#[derive(Serialize, ToSchema)]
pub struct Tcp {
    segments_sent_per_second: Option<f64>,
    segments_retransmitted_per_second: Option<f64>,
    resets_sent_per_second: Option<f64>,
    /// From ESTABLISHED or CLOSE_WAIT to CLOSE at once.
    connections_reset_per_second: Option<f64>,
}

/// One core.
#[derive(Serialize, ToSchema)]
pub struct Core {
    /// The kernel's number.
    core: i16,
    busy_ratio: Option<f64>,
}

/// The least there was on a file system.
#[derive(Serialize, ToSchema)]
pub struct FileSystem {
    mount_point: String,
    device: String,
    #[serde(rename = "type")]
    kind: String,
    total_bytes: i64,
    free_bytes: i64,
    /// What an unprivileged user can take.
    available_bytes: i64,
    /// 0: it has no table of inodes.
    inodes: i64,
    inodes_free: i64,
}

/// One block device.
#[derive(Serialize, ToSchema)]
pub struct BlockDevice {
    device: String,
    reads_per_second: Option<f64>,
    writes_per_second: Option<f64>,
    read_bytes_per_second: Option<f64>,
    written_bytes_per_second: Option<f64>,
    /// Share of the time in which a request was under way.
    busy_ratio: Option<f64>,
}

/// Errors of one interface, counted.
#[derive(Serialize, ToSchema)]
#[schema(as = SystemInterfaceErrors)]
pub struct InterfaceErrors {
    interface: String,
    rx_errors: i64,
    tx_errors: i64,
    rx_dropped: i64,
    tx_dropped: i64,
    /// Of both directions.
    overruns: i64,
    collisions: i64,
}

/// The highest a sensor has shown.
#[derive(Serialize, ToSchema)]
pub struct Temperature {
    /// Its driver and label.
    sensor: String,
    celsius: f64,
}

/// The names of `tcp_states`, in their order.
const TCP_STATES: [&str; 11] = [
    "established",
    "syn_sent",
    "syn_recv",
    "fin_wait1",
    "fin_wait2",
    "time_wait",
    "close",
    "close_wait",
    "last_ack",
    "listen",
    "closing",
];

/// A row of the columns of a roll-up.
#[derive(sqlx::FromRow)]
pub struct PointRow {
    slot: i64,
    samples: i32,
    interval_us: i64,
    cpu_user: Option<i64>,
    cpu_nice: Option<i64>,
    cpu_system: Option<i64>,
    cpu_idle: Option<i64>,
    cpu_iowait: Option<i64>,
    cpu_irq: Option<i64>,
    cpu_softirq: Option<i64>,
    cpu_steal: Option<i64>,
    cpu_busy_max: Option<f64>,
    load_1: Option<f64>,
    load_5: Option<f64>,
    load_15: Option<f64>,
    load_1_max: Option<i32>,
    runnable: Option<f64>,
    runnable_max: Option<i32>,
    blocked: Option<f64>,
    blocked_max: Option<i32>,
    tasks: Option<f64>,
    tasks_max: Option<i32>,
    context_switches: Option<i64>,
    interrupts: Option<i64>,
    forks: Option<i64>,
    memory_total: Option<i64>,
    memory_free: Option<f64>,
    memory_available: Option<f64>,
    memory_buffers: Option<f64>,
    memory_cached: Option<f64>,
    memory_shared: Option<f64>,
    memory_slab: Option<f64>,
    memory_available_min: Option<i64>,
    swap_total: Option<i64>,
    swap_free: Option<f64>,
    swap_free_min: Option<i64>,
    swapped_in_bytes: Option<i64>,
    swapped_out_bytes: Option<i64>,
    sockets_used: Option<f64>,
    sockets_used_max: Option<i32>,
    tcp_segments_sent: Option<i64>,
    tcp_segments_retransmitted: Option<i64>,
    tcp_resets_sent: Option<i64>,
    tcp_connections_reset: Option<i64>,
    uptime_ms: Option<i64>,
    tcp_states: Option<Vec<i32>>,
    core: Option<Vec<i16>>,
    core_ticks: Option<Vec<i64>>,
    core_busy: Option<Vec<i64>>,
    mount_point: Option<Vec<String>>,
    mount_device: Option<Vec<String>>,
    mount_type: Option<Vec<String>>,
    mount_total: Option<Vec<i64>>,
    mount_free: Option<Vec<i64>>,
    mount_available: Option<Vec<i64>>,
    mount_inodes: Option<Vec<i64>>,
    mount_inodes_free: Option<Vec<i64>>,
    device: Option<Vec<String>>,
    device_reads: Option<Vec<i64>>,
    device_writes: Option<Vec<i64>>,
    device_read_bytes: Option<Vec<i64>>,
    device_written_bytes: Option<Vec<i64>>,
    device_busy_ms: Option<Vec<i64>>,
    interface: Option<Vec<String>>,
    interface_rx_errors: Option<Vec<i64>>,
    interface_tx_errors: Option<Vec<i64>>,
    interface_rx_dropped: Option<Vec<i64>>,
    interface_tx_dropped: Option<Vec<i64>>,
    interface_overruns: Option<Vec<i64>>,
    interface_collisions: Option<Vec<i64>>,
    sensor: Option<Vec<String>>,
    sensor_max: Option<Vec<i32>>,
}

impl Cpu {
    /// Of ticks by use, in the kernel's order; `None` when none has passed.
    pub fn of(ticks: [i64; 8], busy_ratio_max: Option<f64>) -> Option<Self> {
        let whole = ticks.iter().map(|ticks| *ticks as f64).sum::<f64>();
        if whole <= 0.0 {
            return None;
        }
        let [user, nice, system, idle, iowait, irq, softirq, steal] =
            ticks.map(|ticks| ticks as f64 / whole);
        Some(Self {
            busy_ratio: user + nice + system + irq + softirq + steal,
            busy_ratio_max,
            user_ratio: user,
            nice_ratio: nice,
            system_ratio: system,
            idle_ratio: idle,
            iowait_ratio: iowait,
            irq_ratio: irq,
            softirq_ratio: softirq,
            steal_ratio: steal,
        })
    }
}

impl PointRow {
    pub fn point(self, step_us: i64, parts: Parts) -> Point {
        let at = range::time_of_unix_us(self.slot.saturating_mul(step_us));
        let list = |name, list| parts.has(name).then_some(list);
        Point {
            // A point begins within the step before a time of the range, which are all valid.
            at: at.unwrap_or(OffsetDateTime::UNIX_EPOCH),
            samples: self.samples,
            cpu: self.cpu(),
            load: Load {
                load_1: self.load_1.map(hundredths),
                load_5: self.load_5.map(hundredths),
                load_15: self.load_15.map(hundredths),
                load_1_max: self.load_1_max.map(|load| hundredths(load.into())),
            },
            tasks: Tasks {
                total: self.tasks,
                total_max: self.tasks_max,
                runnable: self.runnable,
                runnable_max: self.runnable_max,
                blocked: self.blocked,
                blocked_max: self.blocked_max,
                forks_per_second: self.rate(self.forks),
                context_switches_per_second: self.rate(self.context_switches),
                interrupts_per_second: self.rate(self.interrupts),
            },
            memory: Memory {
                total_bytes: self.memory_total,
                free_bytes: octets(self.memory_free),
                available_bytes: octets(self.memory_available),
                available_bytes_min: self.memory_available_min,
                buffers_bytes: octets(self.memory_buffers),
                cached_bytes: octets(self.memory_cached),
                shared_bytes: octets(self.memory_shared),
                slab_bytes: octets(self.memory_slab),
            },
            swap: Swap {
                total_bytes: self.swap_total,
                free_bytes: octets(self.swap_free),
                free_bytes_min: self.swap_free_min,
                in_bytes_per_second: self.rate(self.swapped_in_bytes),
                out_bytes_per_second: self.rate(self.swapped_out_bytes),
            },
            tcp: Tcp {
                segments_sent_per_second: self.rate(self.tcp_segments_sent),
                segments_retransmitted_per_second: self.rate(self.tcp_segments_retransmitted),
                resets_sent_per_second: self.rate(self.tcp_resets_sent),
                connections_reset_per_second: self.rate(self.tcp_connections_reset),
            },
            sockets_used: self.sockets_used,
            sockets_used_max: self.sockets_used_max,
            uptime_seconds: self.uptime_ms.map(|ms| ms as f64 / 1000.0),
            cores: list("cores", ()).map(|()| self.cores()),
            file_systems: list("file_systems", ()).map(|()| self.file_systems()),
            block_devices: list("block_devices", ()).map(|()| self.block_devices()),
            interfaces: list("interfaces", ()).map(|()| self.interfaces()),
            temperatures: list("temperatures", ()).map(|()| self.temperatures()),
            tcp_states: list("tcp_states", ()).and_then(|()| self.tcp_states()),
        }
    }

    fn cpu(&self) -> Option<Cpu> {
        let ticks = [
            self.cpu_user?,
            self.cpu_nice?,
            self.cpu_system?,
            self.cpu_idle?,
            self.cpu_iowait?,
            self.cpu_irq?,
            self.cpu_softirq?,
            self.cpu_steal?,
        ];
        Cpu::of(ticks, self.cpu_busy_max)
    }

    /// Per second of the time over which differences were taken.
    fn rate(&self, sum: Option<i64>) -> Option<f64> {
        (self.interval_us > 0).then_some(sum? as f64 * 1e6 / self.interval_us as f64)
    }

    fn cores(&self) -> Vec<Core> {
        let core = |(index, core): (usize, &i16)| {
            let ticks = at(&self.core_ticks, index);
            Core {
                core: *core,
                busy_ratio: (ticks > 0).then(|| at(&self.core_busy, index) as f64 / ticks as f64),
            }
        };
        self.core.iter().flatten().enumerate().map(core).collect()
    }

    fn file_systems(&self) -> Vec<FileSystem> {
        let name = |names: &Option<Vec<String>>, index: usize| {
            names
                .as_ref()
                .and_then(|n| n.get(index))
                .cloned()
                .unwrap_or_default()
        };
        let mount = |(index, mount_point): (usize, &String)| FileSystem {
            mount_point: mount_point.clone(),
            device: name(&self.mount_device, index),
            kind: name(&self.mount_type, index),
            total_bytes: at(&self.mount_total, index),
            free_bytes: at(&self.mount_free, index),
            available_bytes: at(&self.mount_available, index),
            inodes: at(&self.mount_inodes, index),
            inodes_free: at(&self.mount_inodes_free, index),
        };
        self.mount_point
            .iter()
            .flatten()
            .enumerate()
            .map(mount)
            .collect()
    }

    fn block_devices(&self) -> Vec<BlockDevice> {
        let device = |(index, device): (usize, &String)| BlockDevice {
            device: device.clone(),
            reads_per_second: self.rate(Some(at(&self.device_reads, index))),
            writes_per_second: self.rate(Some(at(&self.device_writes, index))),
            read_bytes_per_second: self.rate(Some(at(&self.device_read_bytes, index))),
            written_bytes_per_second: self.rate(Some(at(&self.device_written_bytes, index))),
            busy_ratio: self
                .rate(Some(at(&self.device_busy_ms, index)))
                .map(|ms| ms / 1000.0),
        };
        self.device
            .iter()
            .flatten()
            .enumerate()
            .map(device)
            .collect()
    }

    fn interfaces(&self) -> Vec<InterfaceErrors> {
        let errors = |(index, interface): (usize, &String)| InterfaceErrors {
            interface: interface.clone(),
            rx_errors: at(&self.interface_rx_errors, index),
            tx_errors: at(&self.interface_tx_errors, index),
            rx_dropped: at(&self.interface_rx_dropped, index),
            tx_dropped: at(&self.interface_tx_dropped, index),
            overruns: at(&self.interface_overruns, index),
            collisions: at(&self.interface_collisions, index),
        };
        self.interface
            .iter()
            .flatten()
            .enumerate()
            .map(errors)
            .collect()
    }

    fn temperatures(&self) -> Vec<Temperature> {
        let sensors = self.sensor.iter().flatten();
        let values = self.sensor_max.iter().flatten();
        let temperature = |(sensor, value): (&String, &i32)| Temperature {
            sensor: sensor.clone(),
            celsius: f64::from(*value) / 1000.0,
        };
        sensors.zip(values).map(temperature).collect()
    }

    fn tcp_states(&self) -> Option<BTreeMap<&'static str, i32>> {
        let states = self.tcp_states.as_ref()?.iter().copied();
        Some(TCP_STATES.into_iter().zip(states).collect())
    }
}

/// The lists of a row are of one length.
fn at(list: &Option<Vec<i64>>, index: usize) -> i64 {
    let value = list.as_ref().and_then(|list| list.get(index));
    value.copied().unwrap_or_default()
}

fn hundredths(value: f64) -> f64 {
    value / 100.0
}

fn octets(average: Option<f64>) -> Option<i64> {
    average.map(|octets| octets.round() as i64)
}
