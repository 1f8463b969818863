//! What a point holds of each core, file system, block device, interface and sensor.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::PointRow;

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

impl PointRow {
    pub(super) fn cores(&self) -> Vec<Core> {
        let core = |(index, core): (usize, &i16)| {
            let ticks = at(&self.core_ticks, index);
            Core {
                core: *core,
                busy_ratio: (ticks > 0).then(|| at(&self.core_busy, index) as f64 / ticks as f64),
            }
        };
        self.core.iter().flatten().enumerate().map(core).collect()
    }

    pub(super) fn file_systems(&self) -> Vec<FileSystem> {
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

    pub(super) fn block_devices(&self) -> Vec<BlockDevice> {
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

    pub(super) fn interfaces(&self) -> Vec<InterfaceErrors> {
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

    pub(super) fn temperatures(&self) -> Vec<Temperature> {
        let sensors = self.sensor.iter().flatten();
        let values = self.sensor_max.iter().flatten();
        let temperature = |(sensor, value): (&String, &i32)| Temperature {
            sensor: sensor.clone(),
            celsius: f64::from(*value) / 1000.0,
        };
        sensors.zip(values).map(temperature).collect()
    }

    pub(super) fn tcp_states(&self) -> Option<BTreeMap<&'static str, i32>> {
        let states = self.tcp_states.as_ref()?.iter().copied();
        Some(TCP_STATES.into_iter().zip(states).collect())
    }
}

/// The lists of a row are of one length.
fn at(list: &Option<Vec<i64>>, index: usize) -> i64 {
    let value = list.as_ref().and_then(|list| list.get(index));
    value.copied().unwrap_or_default()
}
