//! Addresses and ports as they stand in logs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::reason::Reason;

/// An address alone. IPv4 in IPv6 notation is IPv4; leading zeros are refused, since programs
/// disagree whether they mean octal.
pub(crate) fn parse(text: &[u8]) -> Result<IpAddr, Reason> {
    if let Some(address) = ipv4(text) {
        return Ok(address.into());
    }
    ipv6(text)
        .map(IpAddr::from)
        .map(|address| address.to_canonical())
}

/// An address, with a port or without: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`,
/// `[2001:db8::1]:80`, a network of one address, or a URL that names its host by address.
pub(crate) fn endpoint(text: &[u8]) -> Result<(IpAddr, Option<u16>), Reason> {
    if let Some(address) = ipv4(text) {
        return Ok((address.into(), None));
    }
    if let Some(scheme) = memchr::memmem::find(text, b"://") {
        return url(&text[scheme + 3..]);
    }
    let Some((&first, inside)) = text.split_first() else {
        return Err(Reason::NoAddress);
    };
    if first == b'[' {
        let end = memchr::memchr(b']', inside).ok_or(Reason::BadAddress)?;
        let address = ipv6(&inside[..end])?;
        let address = IpAddr::from(address).to_canonical();
        return match &inside[end + 1..] {
            [] => Ok((address, None)),
            [b':', digits @ ..] => Ok((address, port(digits)?)),
            _ => Err(Reason::BadAddress),
        };
    }
    if let Some(slash) = memchr::memchr(b'/', text) {
        return network(&text[..slash], &text[slash + 1..]);
    }
    match memchr::memchr(b':', text) {
        // A single colon: no IPv6 address has that.
        Some(colon) if memchr::memchr(b':', &text[colon + 1..]).is_none() => {
            Ok((parse(&text[..colon])?, port(&text[colon + 1..])?))
        }
        _ => Ok((parse(text)?, None)),
    }
}

/// The host of a URL, behind its scheme.
fn url(text: &[u8]) -> Result<(IpAddr, Option<u16>), Reason> {
    let end = text
        .iter()
        .position(|octet| matches!(octet, b'/' | b'?' | b'#'));
    let authority = &text[..end.unwrap_or(text.len())];
    let host = match memchr::memrchr(b'@', authority) {
        Some(at) => &authority[at + 1..],
        None => authority,
    };
    endpoint(host)
}

/// A network is an address if it holds but one.
fn network(address: &[u8], prefix: &[u8]) -> Result<(IpAddr, Option<u16>), Reason> {
    let address = parse(address)?;
    let whole: &[u8] = match address {
        IpAddr::V4(_) => b"32",
        IpAddr::V6(_) => b"128",
    };
    if prefix == whole {
        return Ok((address, None));
    }
    Err(Reason::Network)
}

/// A port; nothing, `-` and 0 mean that it is not known.
pub(crate) fn port(text: &[u8]) -> Result<Option<u16>, Reason> {
    if text.is_empty() || text == b"-" {
        return Ok(None);
    }
    if text.len() > 5 {
        return Err(Reason::BadPort);
    }
    let mut number = 0_u32;
    for octet in text {
        if !octet.is_ascii_digit() {
            return Err(Reason::BadPort);
        }
        number = number * 10 + u32::from(octet - b'0');
    }
    match u16::try_from(number) {
        Ok(0) => Ok(None),
        Ok(number) => Ok(Some(number)),
        Err(_) => Err(Reason::BadPort),
    }
}

fn ipv4(text: &[u8]) -> Option<Ipv4Addr> {
    let mut octets = [0_u8; 4];
    let mut place = 0;
    let mut digits = 0;
    let mut number = 0_u16;
    for octet in text {
        match octet {
            b'0'..=b'9' => {
                if digits == 3 || (digits > 0 && number == 0) {
                    return None;
                }
                number = number * 10 + u16::from(octet - b'0');
                digits += 1;
            }
            b'.' => {
                if digits == 0 || place == 3 {
                    return None;
                }
                octets[place] = u8::try_from(number).ok()?;
                place += 1;
                digits = 0;
                number = 0;
            }
            _ => return None,
        }
    }
    if digits == 0 || place != 3 {
        return None;
    }
    octets[3] = u8::try_from(number).ok()?;
    Some(octets.into())
}

fn ipv6(text: &[u8]) -> Result<Ipv6Addr, Reason> {
    if text.is_empty() {
        return Err(Reason::NoAddress);
    }
    let parsed = std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| unreadable(text))
}

/// What is in the place of an address.
fn unreadable(text: &[u8]) -> Reason {
    if let Some(percent) = memchr::memchr(b'%', text)
        && ipv6(&text[..percent]).is_ok()
    {
        return Reason::ZoneId;
    }
    let is_name = |octet: &u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_' | b'.');
    let letters = text.iter().any(u8::is_ascii_alphabetic);
    let is_hash = matches!(text.len(), 32 | 40 | 64) && text.iter().all(u8::is_ascii_hexdigit);
    if is_hash {
        Reason::NotAnAddress
    } else if letters && memchr::memchr(b'.', text).is_some() && text.iter().all(is_name) {
        Reason::HostName
    } else {
        Reason::BadAddress
    }
}

/// Why an address cannot be one of a node on the Internet, if it cannot (the special-purpose
/// registries of RFC 6890 and their updates).
pub(crate) fn special(address: IpAddr) -> Option<Reason> {
    match address {
        IpAddr::V4(address) => special_v4(address),
        IpAddr::V6(address) => special_v6(address),
    }
}

fn special_v4(address: Ipv4Addr) -> Option<Reason> {
    let reason = match address.octets() {
        [0, ..] => Reason::Unspecified,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] => Reason::Private,
        [127, ..] => Reason::Loopback,
        [169, 254, ..] => Reason::LinkLocal,
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Reason::Documentation,
        // IETF protocol assignments, the withdrawn anycast of 6to4, benchmarks.
        [192, 0, 0, _] | [192, 88, 99, _] | [198, 18..=19, ..] => Reason::Reserved,
        [224..=239, ..] => Reason::Multicast,
        [255, 255, 255, 255] => Reason::Broadcast,
        [240..=255, ..] => Reason::Reserved,
        _ => return None,
    };
    Some(reason)
}

fn special_v6(address: Ipv6Addr) -> Option<Reason> {
    if address.is_unspecified() {
        return Some(Reason::Unspecified);
    }
    if address.is_loopback() {
        return Some(Reason::Loopback);
    }
    let reason = match address.segments() {
        [0xff00..=0xffff, ..] => Reason::Multicast,
        [0xfe80..=0xfebf, ..] => Reason::LinkLocal,
        [0xfc00..=0xfdff, ..] => Reason::Private,
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0x0fff, ..] => Reason::Documentation,
        // Benchmarks; ORCHID and its successor.
        [0x2001, 2, 0, ..] | [0x2001, 0x10..=0x2f, ..] => Reason::Reserved,
        // Global unicast.
        [0x2000..=0x3fff, ..] => return None,
        _ => Reason::Reserved,
    };
    Some(reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_have_a_port() {
        for (text, expected) in [
            ("1.2.3.4", Ok(("1.2.3.4", None))),
            ("1.2.3.4:80", Ok(("1.2.3.4", Some(80)))),
            ("1.2.3.4:0", Ok(("1.2.3.4", None))),
            ("1.2.3.4:65536", Err(Reason::BadPort)),
            ("1.2.3.4:http", Err(Reason::BadPort)),
            ("1.2.3.4/32", Ok(("1.2.3.4", None))),
            ("1.2.3.0/24", Err(Reason::Network)),
            ("2400:3200::1", Ok(("2400:3200::1", None))),
            ("2400:3200::1/128", Ok(("2400:3200::1", None))),
            ("2400:3200::/32", Err(Reason::Network)),
            ("[2400:3200::1]", Ok(("2400:3200::1", None))),
            ("[2400:3200::1]:443", Ok(("2400:3200::1", Some(443)))),
            ("[2400:3200::1]443", Err(Reason::BadAddress)),
            ("[2400:3200::1", Err(Reason::BadAddress)),
            ("::ffff:1.2.3.4", Ok(("1.2.3.4", None))),
            ("[::FFFF:1.2.3.4]:22", Ok(("1.2.3.4", Some(22)))),
            ("fe80::1%eth0", Err(Reason::ZoneId)),
            ("[fe80::1%eth0]:80", Err(Reason::ZoneId)),
            ("http://1.2.3.4:8080/Mozi.m", Ok(("1.2.3.4", Some(8080)))),
            ("https://u:p@1.2.3.4/x", Ok(("1.2.3.4", None))),
            ("http://[2400:3200::1]:81/i", Ok(("2400:3200::1", Some(81)))),
            ("http://evil.example/x", Err(Reason::HostName)),
            ("evil.example:443", Err(Reason::HostName)),
            ("evil.example", Err(Reason::HostName)),
            ("010.1.1.1", Err(Reason::BadAddress)),
            ("1.2.3", Err(Reason::BadAddress)),
            ("1.2.3.4.5", Err(Reason::BadAddress)),
            ("1.2.3.256", Err(Reason::BadAddress)),
            ("1.2.3.4444", Err(Reason::BadAddress)),
            ("1..3.4", Err(Reason::BadAddress)),
            ("", Err(Reason::NoAddress)),
            ("-", Err(Reason::BadAddress)),
            (
                "d41d8cd98f00b204e9800998ecf8427e",
                Err(Reason::NotAnAddress),
            ),
        ] {
            let expected = expected.map(|(address, port)| (address.parse().unwrap(), port));
            assert_eq!(endpoint(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn what_ipv4_takes_is_what_the_standard_library_takes() {
        for text in [
            "0.0.0.0",
            "255.255.255.255",
            "1.2.3.4",
            "01.2.3.4",
            "00.0.0.0",
            "1.2.3.4 ",
            "1.2.3.",
            ".1.2.3",
            "256.1.1.1",
            "1.2.3.4.",
            "999.1.1.1",
            "1,2.3.4",
        ] {
            assert_eq!(ipv4(text.as_bytes()), text.parse().ok(), "{text}");
        }
    }

    #[test]
    fn addresses_that_no_node_can_have_are_known() {
        for (text, expected) in [
            ("1.2.3.4", None),
            ("0.1.2.3", Some(Reason::Unspecified)),
            ("10.1.2.3", Some(Reason::Private)),
            ("100.63.255.255", None),
            ("100.64.0.1", Some(Reason::Private)),
            ("127.0.0.1", Some(Reason::Loopback)),
            ("169.254.1.1", Some(Reason::LinkLocal)),
            ("172.15.255.255", None),
            ("172.31.255.255", Some(Reason::Private)),
            ("172.32.0.0", None),
            ("192.0.2.1", Some(Reason::Documentation)),
            ("192.168.1.1", Some(Reason::Private)),
            ("198.18.0.1", Some(Reason::Reserved)),
            ("239.255.255.250", Some(Reason::Multicast)),
            ("240.0.0.1", Some(Reason::Reserved)),
            ("255.255.255.255", Some(Reason::Broadcast)),
            ("::", Some(Reason::Unspecified)),
            ("::1", Some(Reason::Loopback)),
            ("::1.2.3.4", Some(Reason::Reserved)),
            ("64:ff9b::1.2.3.4", Some(Reason::Reserved)),
            ("2001::1", None),
            ("2001:db8::1", Some(Reason::Documentation)),
            ("2400:3200::1", None),
            ("3fff::1", Some(Reason::Documentation)),
            ("3fff:1000::1", None),
            ("4000::1", Some(Reason::Reserved)),
            ("fd00::1", Some(Reason::Private)),
            ("fe80::1", Some(Reason::LinkLocal)),
            ("ff02::fb", Some(Reason::Multicast)),
        ] {
            assert_eq!(special(text.parse().unwrap()), expected, "{text}");
        }
    }
}
