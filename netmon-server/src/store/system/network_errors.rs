//! Errors of interfaces, of those that had any.

use netmon_common::wire::{SystemSample, system_limits as limits};

use super::{
    figures::all,
    lists::{bounded, some, unique},
};
use crate::store::{Invalid, copy::CopyBuffer, interfaces};

/// By interface; `None`: not read.
pub(super) type Errors<'a> = Option<Vec<(&'a str, [i32; 6])>>;

pub(super) fn of(sample: &SystemSample) -> Result<Errors<'_>, Invalid> {
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

pub(super) fn append(out: &mut CopyBuffer, errors: &Errors<'_>) {
    out.optional(errors.as_ref(), |out, interfaces| {
        out.text_array(interfaces.iter().map(|(name, _)| *name));
    });
    let erroneous = errors.as_deref().and_then(some);
    for figure in 0..6 {
        out.optional(erroneous, |out, interfaces| {
            out.int4_array(interfaces.iter().map(|(_, errors)| errors[figure]));
        });
    }
}
