//! Block devices.

use netmon_common::wire::{SystemSample, system_limits as limits};

use super::{
    figures::all,
    lists::{bounded, some, unique},
    names,
};
use crate::store::{Invalid, copy::CopyBuffer, invalid::fit};

/// One block device.
pub(super) struct Device<'a> {
    name: &'a str,
    requests: [i32; 2],
    bytes: [i64; 2],
    busy_ms: i32,
}

pub(super) fn of(sample: &SystemSample) -> Result<Vec<Device<'_>>, Invalid> {
    let devices = &sample.block_devices;
    bounded("block_devices", devices.len(), limits::BLOCK_DEVICES)?;
    unique("block_devices", devices.iter().map(|d| d.name.as_str()))?;
    let checked = devices.iter().enumerate().map(|(index, device)| {
        let place = |invalid: Invalid| invalid.within(format_args!("block_devices[{index}]"));
        names::check("name", &device.name).map_err(place)?;
        Ok(Device {
            name: &device.name,
            requests: all("reads", [device.reads, device.writes]).map_err(place)?,
            bytes: all("read_bytes", [device.read_bytes, device.written_bytes]).map_err(place)?,
            busy_ms: fit("busy_ms", device.busy_ms).map_err(place)?,
        })
    });
    checked.collect()
}

pub(super) fn append(out: &mut CopyBuffer, devices: &[Device<'_>]) {
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
