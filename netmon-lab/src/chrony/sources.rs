//! What chronyd has counted, as chronyc(1) prints it with `-c`. Later releases have further columns
//! at the end.

use std::{net::IpAddr, str::FromStr};

use anyhow::{Context as _, Result};

/// A server or peer, from `ntpdata`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Whom chronyd asks.
    pub address: IpAddr,
    /// Of the last answer, such as `Server` or `Symmetric active`.
    pub mode: String,
    /// Of the last answer.
    pub stratum: u8,
    /// Of the last answer.
    pub poll: i8,
    /// Of the last answer.
    pub precision: i8,
    /// Of the last answer.
    pub reference_id: u32,
    /// Whether the last answer was in interleaved mode.
    pub interleaved: bool,
    /// Whether the last answer was authenticated.
    pub authenticated: bool,
    /// Packets sent to it.
    pub sent: u64,
    /// Packets that came from it.
    pub received: u64,
    /// Of these, answers that passed the tests of RFC 5905.
    pub valid: u64,
}

/// What a server has counted, from `serverstats`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// NTP packets that came, of whatever mode.
    pub received: u64,
    /// Of these, those that were authenticated, by key or by NTS.
    pub authenticated: u64,
    /// Of these, those answered in interleaved mode.
    pub interleaved: u64,
}

/// Reads what `ntpdata` prints: a line for each source.
///
/// # Errors
/// When a line does not have the columns of chrony 4.
pub fn parse(text: &str) -> Result<Vec<Source>> {
    text.lines().map(str::parse).collect()
}

impl FromStr for Source {
    type Err = anyhow::Error;

    fn from_str(line: &str) -> Result<Self> {
        let columns = Columns::of(line);
        Ok(Self {
            address: columns.number(0)?,
            mode: columns.text(7)?.to_owned(),
            stratum: columns.number(8)?,
            poll: columns.number(9)?,
            precision: columns.number(11)?,
            reference_id: u32::from_str_radix(columns.text(15)?, 16)?,
            interleaved: columns.text(26)? == "Yes",
            authenticated: columns.text(27)? == "Yes",
            sent: columns.number(30)?,
            received: columns.number(31)?,
            valid: columns.number(32)?,
        })
    }
}

impl FromStr for Served {
    type Err = anyhow::Error;

    fn from_str(line: &str) -> Result<Self> {
        let columns = Columns::of(line.trim());
        Ok(Self {
            received: columns.number(0)?,
            authenticated: columns.number(7)?,
            interleaved: columns.number(8)?,
        })
    }
}

struct Columns<'a> {
    line: &'a str,
    columns: Vec<&'a str>,
}

impl<'a> Columns<'a> {
    fn of(line: &'a str) -> Self {
        Self {
            line,
            columns: line.split(',').collect(),
        }
    }

    fn text(&self, column: usize) -> Result<&'a str> {
        let found = self.columns.get(column).copied();
        found.with_context(|| format!("column {column} is missing: {:?}", self.line))
    }

    fn number<T: FromStr<Err: std::error::Error + Send + Sync + 'static>>(
        &self,
        column: usize,
    ) -> Result<T> {
        let parsed = self.text(column)?.parse();
        parsed.with_context(|| format!("column {column} is odd: {:?}", self.line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_read_from_what_chronyc_prints() {
        // chrony 4.3.
        let text = "198.18.0.3,C6120003,123,198.18.0.2,C6120002,Normal,4,Server,3,-2,0,-26,\
                    0.000000015,0.000000,0.000000,7F7F0101,,1795272397.146638077,-0.000003500,\
                    0.000011471,0.000000035,0.000050281,0.00,111,111,1111,No,Yes,Kernel,Kernel,\
                    38,37,36,35\n";
        let expected = Source {
            address: [198, 18, 0, 3].into(),
            mode: "Server".to_owned(),
            stratum: 3,
            poll: -2,
            precision: -26,
            reference_id: 0x7f7f_0101,
            interleaved: false,
            authenticated: true,
            sent: 38,
            received: 37,
            valid: 36,
        };
        assert_eq!(parse(text).unwrap(), [expected]);
        assert!(parse("198.18.0.3,C6120003\n").is_err());
    }

    #[test]
    fn what_a_server_counts_is_read_from_what_chronyc_prints() {
        let served: Served = "192,0,1,0,0,1,0,153,37,38,9\n".parse().unwrap();
        let expected = Served {
            received: 192,
            authenticated: 153,
            interleaved: 37,
        };
        assert_eq!(served, expected);
    }
}
