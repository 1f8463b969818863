//! One outcome for every line.

use std::{net::IpAddr, ops::RangeInclusive};

use time::{OffsetDateTime, UtcOffset, macros::datetime};

use crate::{
    address, cef,
    columns::Columns,
    country,
    cut::MAX_LINE,
    delimited,
    family::Names,
    format::Format,
    instant::Clock,
    json,
    line::{Line, Sighting, Skip},
    maltrail,
    plain::{self, Shape},
    reason::Reason,
};

/// What becomes of addresses that no node on the Internet can have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Special {
    /// They are refused, with the kind of address as the reason.
    #[default]
    Refuse,
    /// They are taken as any other.
    Accept,
}

/// How a log is read.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its format.
    pub format: Format,
    /// The zone of times that do not say theirs.
    pub zone: UtcOffset,
    /// What becomes of special addresses.
    pub special: Special,
    /// The times that lines may carry.
    pub window: RangeInclusive<OffsetDateTime>,
    /// The family's name and aliases; a line that names families but none of these is refused.
    /// Empty: any family will do.
    pub family: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            format: Format::Auto,
            zone: UtcOffset::UTC,
            special: Special::Refuse,
            // Clocks that were never set are before it.
            window: datetime!(2000-01-01 0:00 UTC)..=datetime!(9999-12-30 0:00 UTC),
            family: Vec::new(),
        }
    }
}

/// Reads the lines of one log, in their order: a line may name the columns of those that follow.
#[derive(Clone, Debug)]
pub struct Parser {
    format: Format,
    rules: Rules,
    columns: Option<Columns>,
}

impl Parser {
    /// A parser at the beginning of a log.
    pub fn new(options: Options) -> Self {
        Self {
            format: options.format,
            rules: Rules {
                clock: Clock {
                    zone: options.zone,
                    last: *options.window.end(),
                },
                first: *options.window.start(),
                special: options.special,
                family: options.family,
            },
            columns: None,
        }
    }

    /// What the next line is; with or without its end.
    pub fn line(&mut self, line: &[u8]) -> Line {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.len() > MAX_LINE {
            return Line::Rejected(Reason::LineTooLong);
        }
        // Not at the beginning alone: logs are put together from files.
        let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        if memchr::memchr(0, line).is_some() {
            return Line::Rejected(Reason::Nul);
        }
        let line = line.trim_ascii();
        match line {
            [] => return Line::Skipped(Skip::Blank),
            [b'#', comment @ ..] => return self.comment(comment),
            [b';', ..] | [b'/', b'/', ..] => return Line::Skipped(Skip::Comment),
            _ => {}
        }
        match self.record(line) {
            Ok(sighting) => Line::Sighting(sighting),
            Err(_) if self.is_head(line, false) => Line::Skipped(Skip::Header),
            Err(reason) => Line::Rejected(reason),
        }
    }

    fn comment(&mut self, comment: &[u8]) -> Line {
        let comment = comment.trim_ascii();
        Line::Skipped(match self.is_head(comment, true) {
            true => Skip::Header,
            false => Skip::Comment,
        })
    }

    /// Whether a line names columns, which hold from here on.
    fn is_head(&mut self, line: &[u8], is_comment: bool) -> bool {
        let has_heads = match self.format {
            Format::Auto
            | Format::Csv
            | Format::Shadowserver
            | Format::AbuseCh
            | Format::Dataplane => true,
            Format::Ip
            | Format::IpPort
            | Format::TimeIp
            | Format::Ndjson
            | Format::Maltrail
            | Format::Cef => false,
        };
        if !has_heads {
            return false;
        }
        let columns = Columns::of(line, is_comment);
        let is_head = columns.is_some();
        self.columns = columns.or_else(|| self.columns.take());
        is_head
    }

    fn record(&self, line: &[u8]) -> Result<Sighting, Reason> {
        let rules = &self.rules;
        match self.format {
            Format::Auto => self.any(line),
            Format::Ip => plain::parse(rules, Shape::Ip, line),
            Format::IpPort => plain::parse(rules, Shape::IpPort, line),
            Format::TimeIp => plain::parse(rules, Shape::TimeIp, line),
            Format::Ndjson => json::parse(rules, line),
            Format::Cef => cef::parse(rules, line),
            Format::Csv => match &self.columns {
                Some(columns) => delimited::row(rules, columns, line),
                None => delimited::bare(rules, line, b','),
            },
            Format::Shadowserver => match &self.columns {
                Some(columns) => delimited::row(rules, columns, line),
                None => Err(Reason::NoHeader),
            },
            Format::AbuseCh => self.table_or_plain(line),
            Format::Dataplane => match &self.columns {
                Some(columns) => delimited::row(rules, columns, line),
                None => delimited::dataplane(rules, line),
            },
            Format::Maltrail if maltrail::fits(line) => maltrail::parse(rules, line),
            Format::Maltrail => plain::parse(rules, Shape::Any, line),
        }
    }

    /// By what the line shows of itself.
    fn any(&self, line: &[u8]) -> Result<Sighting, Reason> {
        let rules = &self.rules;
        if line[0] == b'{' {
            return json::parse(rules, line);
        }
        if cef::find(line).is_some() {
            return cef::parse(rules, line);
        }
        if maltrail::fits(line) {
            return maltrail::parse(rules, line);
        }
        self.table_or_plain(line)
    }

    fn table_or_plain(&self, line: &[u8]) -> Result<Sighting, Reason> {
        let rules = &self.rules;
        if let Some(columns) = &self.columns
            && columns.fit(line)
        {
            return delimited::row(rules, columns, line);
        }
        if memchr::memchr(b',', line).is_some() {
            return delimited::bare(rules, line, b',');
        }
        if memchr::memchr(b'|', line).is_some() {
            return delimited::dataplane(rules, line);
        }
        plain::parse(rules, Shape::Any, line)
    }
}

/// What a line was found to hold.
#[derive(Default)]
pub(crate) struct Found<'a> {
    pub(crate) address: &'a [u8],
    pub(crate) port: &'a [u8],
    pub(crate) seen_at: Option<OffsetDateTime>,
    pub(crate) names: Names<'a>,
    pub(crate) country: &'a [u8],
}

/// What holds for every line of a log.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) clock: Clock,
    first: OffsetDateTime,
    special: Special,
    family: Vec<String>,
}

impl Rules {
    /// The sighting, if what was found is one.
    pub(crate) fn sighting(&self, found: Found<'_>) -> Result<Sighting, Reason> {
        let (address, in_address) = address::endpoint(found.address)?;
        let port = address::port(found.port)?.or(in_address);
        self.located(address, port, found.seen_at, &found)
    }

    /// The same, of an address, port and time that are known already.
    pub(crate) fn located(
        &self,
        address: IpAddr,
        port: Option<u16>,
        seen_at: Option<OffsetDateTime>,
        found: &Found<'_>,
    ) -> Result<Sighting, Reason> {
        if seen_at.is_some_and(|at| at < self.first) {
            return Err(Reason::TooOld);
        }
        if seen_at.is_some_and(|at| at > self.clock.last) {
            return Err(Reason::InFuture);
        }
        if !found.names.fit(&self.family) {
            return Err(Reason::OtherFamily);
        }
        if self.special == Special::Refuse
            && let Some(reason) = address::special(address)
        {
            return Err(reason);
        }
        Ok(Sighting {
            address,
            port,
            seen_at,
            country: country::code(found.country),
        })
    }
}
