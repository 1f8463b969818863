//! Lines with a delimiter: rows of a table whose columns are known, and `time,ip,port[,family]`.

use crate::{
    address,
    columns::{Columns, Role},
    family::Names,
    fields::Fields,
    instant::Clock,
    line::Sighting,
    parser::{Found, Rules},
    reason::Reason,
};

/// A row of a table with a head.
pub(crate) fn row(rules: &Rules, columns: &Columns, line: &[u8]) -> Result<Sighting, Reason> {
    let mut found = Found::default();
    let mut has_address = false;
    // Text and whether its column says that it is UTC.
    let mut times: [(&[u8], bool); 2] = [(b"", false); 2];
    for (role, field) in columns
        .roles
        .iter()
        .zip(Fields::new(line, columns.delimiter))
    {
        let field = field?;
        match *role {
            Role::Ignored => {}
            Role::Address => {
                has_address = true;
                found.address = field;
            }
            Role::Port => found.port = field,
            Role::Time { second, utc } => times[usize::from(second)] = (field, utc),
            Role::Name => found.names.add(field),
            Role::Country => found.country = field,
        }
    }
    if !has_address {
        return Err(Reason::NoAddress);
    }
    // The second best time stands in where the best one is empty, as ThreatFox leaves it.
    let stated = times.into_iter().find(|(text, _)| !is_empty(text));
    if let Some((text, utc)) = stated {
        let clock = match utc {
            true => Clock {
                zone: time::UtcOffset::UTC,
                ..rules.clock
            },
            false => rules.clock,
        };
        found.seen_at = Some(clock.parse(text)?);
    }
    rules.sighting(found)
}

/// `time,ip[,port[,family]]` or `ip[,port|time]`, without a head.
pub(crate) fn bare(rules: &Rules, line: &[u8], delimiter: u8) -> Result<Sighting, Reason> {
    let mut fields = Fields::new(line, delimiter);
    let mut field = || fields.next().unwrap_or(Ok(b""));
    let first = field()?;
    let mut found = Found::default();
    if is_empty(first) {
        found.address = field()?;
        found.port = field()?;
    } else if let Ok(at) = rules.clock.parse(first) {
        found.seen_at = Some(at);
        found.address = field()?;
        found.port = field()?;
        let family = field()?;
        // More columns are of a layout nobody told.
        if fields.next().is_none() {
            found.names.add(family);
        }
    } else if let Err(reason) = address::endpoint(first) {
        return Err(match field() {
            Ok(second) if address::endpoint(second).is_ok() => Reason::BadTime,
            _ if reason == Reason::BadAddress => Reason::Unrecognised,
            _ => reason,
        });
    } else {
        found.address = first;
        let second = field()?;
        match rules.clock.parse(second) {
            Ok(at) => found.seen_at = Some(at),
            Err(_) => found.port = second,
        }
    }
    rules.sighting(found)
}

/// `ASN | ASname | ipaddr | lastseen | category` of dataplane.org, whose head is a comment that may
/// be missing.
pub(crate) fn dataplane(rules: &Rules, line: &[u8]) -> Result<Sighting, Reason> {
    let mut fields = Fields::new(line, b'|').skip(2);
    let mut field = || fields.next().ok_or(Reason::Unrecognised)?;
    let (address, time) = (field()?, field()?);
    rules.sighting(Found {
        address,
        seen_at: Some(rules.clock.parse(time)?),
        names: Names::default(),
        ..Found::default()
    })
}

/// What lists write where they have nothing.
pub(crate) fn is_empty(text: &[u8]) -> bool {
    matches!(text, b"" | b"-" | b"None" | b"null" | b"NA")
}
