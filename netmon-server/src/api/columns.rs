//! Database columns that look different in JSON: each is read as it is stored and written as the
//! API shows it.

use serde::{Serialize, Serializer};
use sqlx::types::ipnetwork::IpNetwork;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use utoipa::ToSchema;

use crate::agent_id::AgentId;

/// An agent's number, shown as 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, sqlx::Type, ToSchema)]
#[sqlx(transparent)]
#[schema(as = AgentId, value_type = String, example = "0123456789abcdef")]
pub struct Agent(pub i64);

/// A raw 64-bit NTP timestamp (RFC 5905, section 6) stored as its bit pattern, shown as 16
/// hexadecimal digits.
#[derive(Clone, Copy, Debug, sqlx::Type, ToSchema)]
#[sqlx(transparent)]
#[schema(value_type = String, example = "eb2fd8a17f3c9d20")]
pub struct NtpTimestamp(pub i64);

/// A reference id (RFC 5905, section 7.3), shown as 8 hexadecimal digits.
#[derive(Clone, Copy, Debug, sqlx::Type, ToSchema)]
#[sqlx(transparent)]
#[schema(value_type = String, example = "7f7f0101")]
pub struct ReferenceId(i64);

/// A raw 16.16 fixed-point number of seconds, shown as a number without loss.
#[derive(Clone, Copy, Debug, sqlx::Type, ToSchema)]
#[sqlx(transparent)]
#[schema(value_type = f64, example = 0.015625)]
pub struct ShortSeconds(i64);

/// Nanoseconds since 1970, shown as an RFC 3339 time.
#[derive(Clone, Copy, Debug, sqlx::Type, ToSchema)]
#[sqlx(transparent)]
#[schema(value_type = String, format = DateTime, example = "2026-11-20T08:00:00.123456789Z")]
pub struct UnixNanoseconds(pub i64);

/// An IP address, shown without a prefix length.
#[derive(Clone, Copy, Debug, sqlx::Type, ToSchema)]
#[sqlx(transparent)]
#[schema(value_type = String, example = "192.0.2.1")]
pub struct Address(pub IpNetwork);

/// A link-layer address, shown as pairs of hexadecimal digits.
#[derive(Clone, Debug, sqlx::Type, ToSchema)]
#[sqlx(transparent)]
#[schema(value_type = String, example = "02:00:00:00:00:01")]
pub struct Mac(Vec<u8>);

impl Agent {
    pub fn id(self) -> AgentId {
        AgentId::from_bigint(self.0)
    }
}

impl Serialize for Agent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.id())
    }
}

impl Serialize for NtpTimestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:016x}", self.0))
    }
}

impl Serialize for ReferenceId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:08x}", self.0))
    }
}

impl Serialize for ShortSeconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0 as f64 / 65536.0)
    }
}

impl Serialize for UnixNanoseconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // 64 bits of nanoseconds end in 2262, well within what RFC 3339 can say.
        let time = OffsetDateTime::UNIX_EPOCH + time::Duration::nanoseconds(self.0);
        serializer.serialize_str(&time.format(&Rfc3339).map_err(serde::ser::Error::custom)?)
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0.ip())
    }
}

impl Serialize for Mac {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let pairs: Vec<String> = self.0.iter().map(|octet| format!("{octet:02x}")).collect();
        serializer.serialize_str(&pairs.join(":"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{json, to_value};

    use super::*;

    #[test]
    fn columns_look_as_documented() {
        let address = Address("2001:db8::1".parse().unwrap());
        for (value, shown) in [
            (to_value(Agent(0x0123)), json!("0000000000000123")),
            (to_value(NtpTimestamp(-1)), json!("ffffffffffffffff")),
            (to_value(NtpTimestamp(0)), json!("0000000000000000")),
            (to_value(ReferenceId(0x7f7f_0101)), json!("7f7f0101")),
            (to_value(ShortSeconds(0x0001_8000)), json!(1.5)),
            (
                to_value(UnixNanoseconds(1_500_000_001)),
                json!("1970-01-01T00:00:01.500000001Z"),
            ),
            (
                to_value(UnixNanoseconds(i64::MAX)),
                json!("2262-04-11T23:47:16.854775807Z"),
            ),
            (
                to_value(UnixNanoseconds(i64::MIN)),
                json!("1677-09-21T00:12:43.145224192Z"),
            ),
            (to_value(address), json!("2001:db8::1")),
            (
                to_value(Mac(vec![2, 0, 0, 0, 0, 0xa])),
                json!("02:00:00:00:00:0a"),
            ),
        ] {
            assert_eq!(value.unwrap(), shown);
        }
    }
}
