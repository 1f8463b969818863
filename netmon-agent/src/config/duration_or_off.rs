//! A duration, or "off" (also 0) for none.

use std::{fmt, time::Duration};

use humantime_serde::re::humantime;
use serde::{
    Deserializer, Serializer,
    de::{Error, Visitor},
};

pub fn serialize<S: Serializer>(
    duration: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => serializer.collect_str(&humantime::format_duration(*duration)),
        None => serializer.serialize_str("off"),
    }
}

pub fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    deserializer.deserialize_any(DurationOrOff)
}

struct DurationOrOff;

impl Visitor<'_> for DurationOrOff {
    type Value = Option<Duration>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration such as \"10s\", or \"off\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        if text == "off" {
            return Ok(None);
        }
        let duration = humantime::parse_duration(text).map_err(E::custom)?;
        Ok(Some(duration).filter(|duration| !duration.is_zero()))
    }

    // TOML's numbers are signed, those of the environment are not.
    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        self.visit_u64(u64::try_from(number).unwrap_or(u64::MAX))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        match number {
            0 => Ok(None),
            _ => Err(E::custom("a duration needs a unit, like \"10s\"")),
        }
    }

    fn visit_bool<E: Error>(self, on: bool) -> Result<Self::Value, E> {
        if on {
            Err(E::custom("say how often, like \"10s\", or \"off\""))
        } else {
            Ok(None)
        }
    }
}
