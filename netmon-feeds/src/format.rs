//! The formats a log can be in.

use std::{fmt, str::FromStr};

/// The format of a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Whichever a line shows that it has; lines may differ.
    #[default]
    Auto,
    /// An address.
    Ip,
    /// An address and a port, `192.0.2.1:80` or `[2001:db8::1]:80`.
    IpPort,
    /// A time, white space, an address.
    TimeIp,
    /// Columns: `time,ip,port[,family]`, or those that a head names.
    Csv,
    /// A JSON object a line, with the names of IntelMQ, Cowrie and the like.
    Ndjson,
    /// Reports of the Shadowserver Foundation, with their head.
    Shadowserver,
    /// Lists of abuse.ch: Feodo Tracker, URLhaus, ThreatFox, SSLBL, as CSV or plain.
    AbuseCh,
    /// Lists of dataplane.org.
    Dataplane,
    /// Maltrail's log, or its lists of trails.
    Maltrail,
    /// ArcSight's Common Event Format, with or without a head of syslog.
    Cef,
}

impl Format {
    /// All there are.
    pub const ALL: [Self; 11] = [
        Self::Auto,
        Self::Ip,
        Self::IpPort,
        Self::TimeIp,
        Self::Csv,
        Self::Ndjson,
        Self::Shadowserver,
        Self::AbuseCh,
        Self::Dataplane,
        Self::Maltrail,
        Self::Cef,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Ip => "ip",
            Self::IpPort => "ip_port",
            Self::TimeIp => "time_ip",
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
            Self::Shadowserver => "shadowserver",
            Self::AbuseCh => "abuse_ch",
            Self::Dataplane => "dataplane",
            Self::Maltrail => "maltrail",
            Self::Cef => "cef",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No format has that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownFormat;

impl fmt::Display for UnknownFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Format::ALL.map(Format::name);
        write!(f, "it must be one of {}", names.join(", "))
    }
}

impl std::error::Error for UnknownFormat {}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        Self::ALL
            .into_iter()
            .find(|format| format.name() == name)
            .ok_or(UnknownFormat)
    }
}
