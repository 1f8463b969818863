//! ArcSight's Common Event Format: seven fields between bars, then `key=value` pairs between spaces,
//! with or without a head of syslog ("Implementing ArcSight Common Event Format", version 25).

use memchr::{memchr, memmem};

use crate::{
    family::Names,
    line::Sighting,
    maltrail,
    parser::{Found, Rules},
    reason::Reason,
};

/// Fields of the head, the version being the first.
const BARS: usize = 7;

/// Where CEF begins in a line, if it does.
pub(crate) fn find(line: &[u8]) -> Option<usize> {
    memchr(b'|', line)?;
    memmem::find(line, b"CEF:")
}

pub(crate) fn parse(rules: &Rules, line: &[u8]) -> Result<Sighting, Reason> {
    let begin = find(line).ok_or(Reason::BadCef)?;
    let (head, extension) = split(&line[begin + 4..]).ok_or(Reason::BadCef)?;
    let mut event = Event::default();
    for (key, value) in Pairs(extension) {
        event.take(key, value);
    }
    let seen_at = match event.time() {
        Some(text) => Some(rules.clock.parse(text)?),
        None => syslog_time(rules, &line[..begin]),
    };
    let source = (event.source, event.source_port);
    let destination = (event.destination, event.destination_port);
    let (address, port) = maltrail::node(source, destination, event.trail);
    let mut names = event.names();
    maltrail::name(head.name, &mut names);
    if address.is_empty() {
        return Err(Reason::NoAddress);
    }
    rules.sighting(Found {
        address,
        port,
        seen_at,
        names,
        ..Found::default()
    })
}

/// What of the head is looked at.
struct Head<'a> {
    name: &'a [u8],
}

/// The head and the extension behind its last bar; `\|` is no bar.
fn split(text: &[u8]) -> Option<(Head<'_>, &[u8])> {
    let mut bars = 0;
    let mut name = 0..0;
    let mut at = 0;
    loop {
        match text.get(at)? {
            b'\\' => at += 1,
            b'|' => {
                bars += 1;
                match bars {
                    5 => name.start = at + 1,
                    6 => name.end = at,
                    BARS => {
                        let name = text.get(name)?;
                        return Some((Head { name }, &text[at + 1..]));
                    }
                    _ => {}
                }
            }
            _ => {}
        }
        at += 1;
    }
}

/// The fields of an event that say who was seen and when.
#[derive(Default)]
struct Event<'a> {
    source: &'a [u8],
    source_port: &'a [u8],
    destination: &'a [u8],
    destination_port: &'a [u8],
    trail: &'a [u8],
    end: &'a [u8],
    start: &'a [u8],
    receipt: &'a [u8],
    /// Custom strings 1 to 6, with what they are called.
    custom: [(&'a [u8], &'a [u8]); 6],
}

impl<'a> Event<'a> {
    fn take(&mut self, key: &[u8], value: &'a [u8]) {
        match key {
            b"src" => self.source = value,
            // Custom IPv6 address 2 is by definition the source, 3 the destination.
            b"c6a2" if self.source.is_empty() => self.source = value,
            b"spt" => self.source_port = value,
            b"dst" => self.destination = value,
            b"c6a3" if self.destination.is_empty() => self.destination = value,
            b"dpt" => self.destination_port = value,
            b"trail" => self.trail = value,
            b"end" => self.end = value,
            b"start" => self.start = value,
            b"rt" => self.receipt = value,
            [b'c', b's', digit @ b'1'..=b'6', rest @ ..] => {
                let custom = &mut self.custom[usize::from(digit - b'1')];
                match rest {
                    b"" => custom.0 = value,
                    b"Label" => custom.1 = value,
                    _ => {}
                }
            }
            _ => {}
        }
    }

    /// When it happened, rather than when somebody heard of it.
    fn time(&self) -> Option<&'a [u8]> {
        let times = [self.end, self.start, self.receipt];
        times.into_iter().find(|time| !time.is_empty())
    }

    /// What custom strings that are called so name.
    fn names(&self) -> Names<'a> {
        let mut names = Names::default();
        for (value, label) in self.custom {
            let label = label.to_ascii_lowercase();
            let says = |word: &str| memmem::find(&label, word.as_bytes()).is_some();
            if says("malware") || says("family") || says("botnet") {
                names.add(value);
            }
        }
        names
    }
}

/// The pairs of an extension. A value runs up to the space before the next key, and may hold
/// spaces itself; `\=` and `\\` are no separators.
struct Pairs<'a>(&'a [u8]);

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let text = self.0.trim_ascii_start();
        let equals = memchr(b'=', text)?;
        // Junk before a key is skipped.
        let key = last_word(&text[..equals]);
        let value = &text[equals + 1..];
        let (end, next) = match next_equals(value) {
            Some(next) => {
                let key = last_word(&value[..next]);
                let begin = next - key.len();
                (begin, begin)
            }
            None => (value.len(), value.len()),
        };
        self.0 = &value[next..];
        Some((key, value[..end].trim_ascii()))
    }
}

/// The next `=` that is not escaped.
fn next_equals(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match text.get(at)? {
            b'\\' => at += 2,
            b'=' => return Some(at),
            _ => at += 1,
        }
    }
}

fn last_word(text: &[u8]) -> &[u8] {
    match text.iter().rposition(u8::is_ascii_whitespace) {
        Some(space) => &text[space + 1..],
        None => text,
    }
}

/// The time of a head of syslog: RFC 5424 `<134>1 2026-11-20T10:00:00Z host`, RFC 3164
/// `<134>Nov 20 10:00:00 host`, or either without the priority.
fn syslog_time(rules: &Rules, head: &[u8]) -> Option<time::OffsetDateTime> {
    let text = match head.split_first() {
        Some((b'<', rest)) => &rest[memchr(b'>', rest)? + 1..],
        _ => head,
    };
    let text = text.strip_prefix(b"1 ").unwrap_or(text);
    rules
        .clock
        .prefix(text.trim_ascii_start())
        .map(|(at, _)| at)
}
