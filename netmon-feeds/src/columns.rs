//! The columns of a table, from the line that names them.

use crate::fields::Fields;

/// Columns that hold the node's address, the best first, with those of its port. A sinkhole is the
/// destination of what it reports, a list of controllers names them as destinations.
///
/// Names: Shadowserver's sinkhole events (`src_ip`) and older reports (`ip`); IntelMQ; dataplane.org
/// (`ipaddr`); ThreatFox (`ioc_value`); URLhaus (`url`); Feodo Tracker (`dst_ip`); SSLBL (`DstIP`).
const ADDRESSES: [(&str, &str); 12] = [
    ("src_ip", "src_port"),
    ("source_ip", "source_port"),
    ("source.ip", "source.port"),
    ("srcip", "srcport"),
    ("ip", "port"),
    ("ip_address", "port"),
    ("ipaddr", "port"),
    ("address", "port"),
    ("ioc_value", "port"),
    ("url", "port"),
    ("dst_ip", "dst_port"),
    ("dstip", "dstport"),
];

/// Columns that hold the time, the best first: when the node was seen last, rather than first.
const TIMES: [&str; 15] = [
    "timestamp",
    "time.source",
    "time",
    "datetime",
    "date_time",
    "seen_at",
    "last_seen_utc",
    "last_seen",
    "lastseen",
    "first_seen_utc",
    "first_seen",
    "firstseen",
    "dateadded",
    "date_added",
    "date",
];

/// Columns that may name the family.
const NAMES: [&str; 12] = [
    "infection",
    "family",
    "malware",
    "malware_name",
    "malware.name",
    "malware_printable",
    "fk_malware",
    "malware_alias",
    "botnet",
    "tag",
    "tags",
    "classification.identifier",
];

/// Columns that hold the node's country.
const COUNTRIES: [&str; 5] = [
    "src_geo",
    "geo",
    "country",
    "country_code",
    "source.geolocation.cc",
];

/// Most columns that are looked at.
const MOST: usize = 256;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Ignored,
    Address,
    Port,
    /// The better of two, or the other.
    Time {
        second: bool,
        utc: bool,
    },
    Name,
    Country,
}

/// The columns of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Columns {
    pub(crate) delimiter: u8,
    pub(crate) roles: Vec<Role>,
}

impl Columns {
    /// The columns that a line names, if it does. In a comment words with spaces are prose.
    pub(crate) fn of(line: &[u8], is_comment: bool) -> Option<Self> {
        [b',', b'\t', b'|', b';'].into_iter().find_map(|delimiter| {
            let names = names(line, delimiter, is_comment)?;
            let roles = roles(&names)?;
            Some(Self { delimiter, roles })
        })
    }

    /// Whether a line can be a row: one column needs no delimiter.
    pub(crate) fn fit(&self, line: &[u8]) -> bool {
        self.roles.len() == 1 || memchr::memchr(self.delimiter, line).is_some()
    }
}

fn names(line: &[u8], delimiter: u8, is_comment: bool) -> Option<Vec<String>> {
    let mut names = Vec::new();
    for field in Fields::new(line, delimiter).take(MOST) {
        let field = field.ok()?;
        let is_name = |octet: &u8| {
            octet.is_ascii_alphanumeric()
                || matches!(octet, b'_' | b'.' | b'-' | b'(' | b')')
                || (*octet == b' ' && !is_comment)
        };
        if field.is_empty() || field.len() > 64 || !field.iter().all(is_name) {
            return None;
        }
        let name = std::str::from_utf8(field).ok()?;
        names.push(name.to_ascii_lowercase().replace(' ', "_"));
    }
    // A single word of prose is no head.
    (names.len() > 1 || !is_comment).then_some(names)
}

fn roles(names: &[String]) -> Option<Vec<Role>> {
    let place = |wanted: &str| names.iter().position(|name| name == wanted);
    let (address, port) = ADDRESSES
        .iter()
        .find_map(|(address, port)| Some((place(address)?, place(port))))?;
    let mut roles: Vec<_> = names
        .iter()
        .map(|name| match name.as_str() {
            name if NAMES.contains(&name) => Role::Name,
            name if COUNTRIES.contains(&name) => Role::Country,
            _ => Role::Ignored,
        })
        .collect();
    roles[address] = Role::Address;
    if let Some(port) = port {
        roles[port] = Role::Port;
    }
    let times = TIMES.iter().filter_map(|name| place(name));
    for (n, time) in times.take(2).enumerate() {
        roles[time] = Role::Time {
            second: n == 1,
            utc: names[time].ends_with("_utc"),
        };
    }
    let last = roles.iter().rposition(|role| *role != Role::Ignored)?;
    // What follows need not be looked at; two remain, so that a row without delimiter is none.
    roles.truncate((last + 1).max(2.min(roles.len())));
    Some(roles)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Option<(char, Vec<Role>)> {
        let columns = Columns::of(line.as_bytes(), false)?;
        Some((columns.delimiter.into(), columns.roles))
    }

    #[test]
    fn heads_of_known_lists_are_understood() {
        let time = |utc| Role::Time { second: false, utc };
        let second = |utc| Role::Time { second: true, utc };
        for (line, delimiter, expected) in [
            (
                r#""first_seen_utc","dst_ip","dst_port","c2_status","last_online","malware""#,
                ',',
                &[
                    time(true),
                    Role::Address,
                    Role::Port,
                    Role::Ignored,
                    Role::Ignored,
                    Role::Name,
                ][..],
            ),
            (
                "Firstseen,DstIP,DstPort",
                ',',
                &[time(false), Role::Address, Role::Port],
            ),
            (
                "ASN  |  ASname  |  ipaddr  |  lastseen  |  category",
                '|',
                &[Role::Ignored, Role::Ignored, Role::Address, time(false)],
            ),
            ("ip", ',', &[Role::Address]),
            ("IP Address;Last Seen", ';', &[Role::Address, time(false)]),
            (
                "first_seen,last_seen_utc,ip,src_ip",
                ',',
                &[second(false), time(true), Role::Ignored, Role::Address],
            ),
            ("ip,asn,name", ',', &[Role::Address, Role::Ignored]),
        ] {
            assert_eq!(of(line), Some((delimiter, expected.to_vec())), "{line}");
        }
    }

    #[test]
    fn prose_and_rows_are_no_heads() {
        for line in ["1.2.3.4,80", "time,port", "hello", "ip,,port", "ip, \"port"] {
            assert_eq!(of(line), None, "{line}");
        }
        for comment in ["the columns are time, ip, port", "ip", "ip, port lists"] {
            assert_eq!(Columns::of(comment.as_bytes(), true), None, "{comment}");
        }
        assert!(Columns::of(b"Firstseen,DstIP,DstPort", true).is_some());
    }
}
