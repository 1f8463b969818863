//! The number by which an agent is known everywhere.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A random positive 63-bit number, chosen when the agent's certificate is issued and written into
/// it. Shown as 16 hexadecimal digits, stored as `bigint`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct AgentId(i64);

/// The text is not 16 hexadecimal digits of a positive number.
#[derive(Debug, thiserror::Error)]
#[error("an agent id is 16 hexadecimal digits, not {0:?}")]
pub struct InvalidAgentId(String);

impl AgentId {
    /// A new id; 2⁶³ values make a collision within a fleet practically impossible.
    pub fn random() -> Self {
        Self((rand::random::<u64>() >> 1).max(1) as i64)
    }

    /// From the database's column.
    pub fn from_bigint(value: i64) -> Self {
        Self(value)
    }

    /// For the database's column.
    pub fn to_bigint(self) -> i64 {
        self.0
    }
}

impl fmt::Display for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for AgentId {
    type Err = InvalidAgentId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let value = digits.then(|| i64::from_str_radix(text, 16).ok()).flatten();
        value
            .filter(|v| *v > 0)
            .map(Self)
            .ok_or_else(|| InvalidAgentId(text.to_owned()))
    }
}

impl TryFrom<String> for AgentId {
    type Error = InvalidAgentId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<AgentId> for String {
    fn from(id: AgentId) -> Self {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_the_round_trip_through_text() {
        let id = AgentId::random();
        assert_eq!(id.to_string().parse::<AgentId>().unwrap(), id);
    }

    #[test]
    fn text_that_is_not_16_digits_is_refused() {
        for text in [
            "",
            "1",
            "g000000000000001",
            "ffffffffffffffff",
            "+00000000000001f",
        ] {
            assert!(text.parse::<AgentId>().is_err(), "{text}");
        }
    }
}
