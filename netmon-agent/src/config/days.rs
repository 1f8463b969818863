//! A duration that is written in days where it is whole days: months are of no fixed length.

use std::time::Duration;

use humantime_serde::re::humantime;
use serde::Serializer;

pub use humantime_serde::deserialize;

const DAY_S: u64 = 24 * 3600;

pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    let seconds = duration.as_secs();
    if duration.subsec_nanos() == 0 && seconds.is_multiple_of(DAY_S) {
        return serializer.collect_str(&format_args!("{}d", seconds / DAY_S));
    }
    serializer.collect_str(&humantime::format_duration(*duration))
}
