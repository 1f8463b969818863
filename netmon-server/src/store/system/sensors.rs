//! Temperatures.

use netmon_common::wire::{SystemSample, system_limits as limits};

use super::{
    lists::{bounded, some, unique},
    names,
};
use crate::store::{Invalid, copy::CopyBuffer};

pub(super) fn of(sample: &SystemSample) -> Result<Vec<(&str, i32)>, Invalid> {
    let temperatures = &sample.temperatures;
    bounded("temperatures", temperatures.len(), limits::TEMPERATURES)?;
    unique(
        "temperatures",
        temperatures.iter().map(|t| t.sensor.as_str()),
    )?;
    let checked = temperatures.iter().map(|temperature| {
        names::check("temperatures", &temperature.sensor)?;
        Ok((
            temperature.sensor.as_str(),
            temperature.millidegrees_celsius,
        ))
    });
    checked.collect()
}

pub(super) fn append(out: &mut CopyBuffer, sensors: &[(&str, i32)]) {
    let sensors = some(sensors);
    out.optional(sensors, |out, sensors| {
        out.text_array(sensors.iter().map(|(name, _)| *name));
    });
    out.optional(sensors, |out, sensors| {
        out.int4_array(sensors.iter().map(|(_, value)| *value));
    });
}
