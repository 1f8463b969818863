//! Lines of an address, maybe with a port, maybe behind a time.

use crate::{
    address,
    line::Sighting,
    parser::{Found, Rules},
    reason::Reason,
};

/// What a line may consist of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Any of them.
    Any,
    /// An address.
    Ip,
    /// An address and a port.
    IpPort,
    /// A time and an address.
    TimeIp,
}

/// `ip`, `ip:port`, `ip port`, or one of them behind a time and white space; or a URL. What follows
/// `#`, `;` or `//` is a comment.
pub(crate) fn parse(rules: &Rules, shape: Shape, line: &[u8]) -> Result<Sighting, Reason> {
    let (seen_at, rest) = match rules.clock.prefix(line) {
        Some((at, rest)) if rest.first().is_none_or(u8::is_ascii_whitespace) => {
            (Some(at), rest.trim_ascii_start())
        }
        _ => (None, line),
    };
    match (shape, seen_at) {
        (Shape::TimeIp, None) => return Err(Reason::BadTime),
        (Shape::Ip | Shape::IpPort, Some(_)) => return Err(Reason::Unrecognised),
        _ => {}
    }
    let (token, rest) = token(rest);
    let (address, in_address) = address::endpoint(token)?;
    let (second, rest) = self::token(rest);
    let port = match is_comment(second) {
        true => in_address,
        // `192.0.2.1 evil.example` of a hosts file is none of this.
        false => address::port(second).map_err(|_| Reason::Unrecognised)?,
    };
    if !is_comment(second) && !is_comment(self::token(rest).0) {
        return Err(Reason::Unrecognised);
    }
    match (shape, port) {
        (Shape::Ip, Some(_)) => return Err(Reason::Unrecognised),
        (Shape::IpPort, None) => return Err(Reason::BadPort),
        _ => {}
    }
    rules.located(address, port, seen_at, &Found::default())
}

/// The first word and what follows it.
fn token(text: &[u8]) -> (&[u8], &[u8]) {
    let text = text.trim_ascii_start();
    let end = text.iter().position(u8::is_ascii_whitespace);
    text.split_at(end.unwrap_or(text.len()))
}

fn is_comment(word: &[u8]) -> bool {
    word.is_empty() || matches!(word[0], b'#' | b';') || word.starts_with(b"//")
}
