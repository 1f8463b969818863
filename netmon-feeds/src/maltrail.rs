//! Maltrail's log: `"time" sensor src_ip src_port dst_ip dst_port proto type trail info reference`,
//! fields between spaces, quoted where they hold any (`log_event` in Maltrail's `core/log.py`).

use crate::{
    address,
    family::Names,
    fields::Fields,
    line::Sighting,
    parser::{Found, Rules},
    reason::Reason,
};

/// Whether a line looks like one: a quoted time and a space; a log server puts the seconds since
/// 1970 before it.
pub(crate) fn fits(line: &[u8]) -> bool {
    let line = without_seconds(line);
    let Some((b'"', inside)) = line.split_first() else {
        return false;
    };
    memchr::memchr(b'"', inside).is_some_and(|end| inside.get(end + 1) == Some(&b' '))
}

pub(crate) fn parse(rules: &Rules, line: &[u8]) -> Result<Sighting, Reason> {
    let mut fields = Fields::new(without_seconds(line), b' ');
    let mut field = || fields.next().ok_or(Reason::Unrecognised)?;
    let time = field()?;
    let _sensor = field()?;
    let (source, source_port) = (field()?, field()?);
    let (destination, destination_port) = (field()?, field()?);
    let (_protocol, _type) = (field()?, field()?);
    let trail = field()?;
    let info = field()?;
    let seen_at = Some(rules.clock.parse(time)?);
    let (address, port) = node(
        (source, source_port),
        (destination, destination_port),
        trail,
    );
    let mut found = Found {
        address,
        port,
        seen_at,
        ..Found::default()
    };
    name(info, &mut found.names);
    rules.sighting(found)
}

/// Which end is the node: the one that the trail names, else the source, who asked for what the
/// trail names. Maltrail folds events into one line with lists of ports; then none is known.
pub(crate) fn node<'a>(
    source: (&'a [u8], &'a [u8]),
    destination: (&'a [u8], &'a [u8]),
    trail: &[u8],
) -> (&'a [u8], &'a [u8]) {
    let trail = address::endpoint(trail).map(|(address, _)| address);
    let is_destination = trail.is_ok() && address::parse(destination.0) == trail;
    let (address, port) = if is_destination { destination } else { source };
    let several = memchr::memchr(b',', port).is_some();
    (address, if several { b"" } else { port })
}

/// `elf_mozi (malware)` names a family, `known attacker` none.
pub(crate) fn name<'a>(info: &'a [u8], names: &mut Names<'a>) {
    if let Some(family) = info.strip_suffix(b"(malware)") {
        names.add(family.trim_ascii());
    }
}

fn without_seconds(line: &[u8]) -> &[u8] {
    let digits = line
        .iter()
        .take_while(|octet| octet.is_ascii_digit())
        .count();
    match &line[digits..] {
        [b' ', rest @ ..] if digits > 0 => rest,
        _ => line,
    }
}
