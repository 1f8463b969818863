//! When files reach the disk: "always", "never", or a duration.

use humantime_serde::re::humantime;
use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

use crate::spool::SyncPolicy;

pub fn serialize<S: Serializer>(policy: &SyncPolicy, serializer: S) -> Result<S::Ok, S::Error> {
    match policy {
        SyncPolicy::Always => serializer.serialize_str("always"),
        SyncPolicy::Never => serializer.serialize_str("never"),
        SyncPolicy::Within(span) => serializer.collect_str(&humantime::format_duration(*span)),
    }
}

pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SyncPolicy, D::Error> {
    let text = String::deserialize(deserializer)?;
    match text.as_str() {
        "always" => Ok(SyncPolicy::Always),
        "never" => Ok(SyncPolicy::Never),
        duration => humantime::parse_duration(duration)
            .map(SyncPolicy::Within)
            .map_err(|_| {
                D::Error::custom(format!(
                    "{text:?} is not \"always\", \"never\" or a duration"
                ))
            }),
    }
}
