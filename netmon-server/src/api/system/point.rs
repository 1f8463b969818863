//! One point of a host's figures.

mod figures;
mod lists;

use std::collections::BTreeMap;

use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

pub use figures::Cpu;

use self::{
    figures::{Load, Memory, Swap, Tasks, Tcp},
    lists::{BlockDevice, Core, FileSystem, InterfaceErrors, Temperature},
};
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

impl PointRow {
    pub fn point(self, step_us: i64, parts: Parts) -> Point {
        let at = range::time_of_unix_us(self.slot.saturating_mul(step_us));
        let list = |name, list| parts.has(name).then_some(list);
        Point {
            // A point begins within the step before a time of the range, which are all valid.
            at: at.unwrap_or(OffsetDateTime::UNIX_EPOCH),
            samples: self.samples,
            cpu: self.cpu(),
            load: self.load(),
            tasks: self.tasks(),
            memory: self.memory(),
            swap: self.swap(),
            tcp: self.tcp(),
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

    /// Per second of the time over which differences were taken.
    fn rate(&self, sum: Option<i64>) -> Option<f64> {
        (self.interval_us > 0).then_some(sum? as f64 * 1e6 / self.interval_us as f64)
    }
}
