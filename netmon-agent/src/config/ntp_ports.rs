//! A list of ports: up to eight, 1 to 65535.

use netmon_common::ntp::NtpPorts;
use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer, de::Error as _};

pub fn serialize<S: Serializer>(ports: &NtpPorts, serializer: S) -> Result<S::Ok, S::Error> {
    ports.as_slice().serialize(serializer)
}

pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NtpPorts, D::Error> {
    NtpPorts::new(Vec::<u16>::deserialize(deserializer)?).map_err(D::Error::custom)
}
