//! What follows the header: extension fields and a MAC (RFC 7822, RFC 8573).
//!
//! Neither is announced anywhere: which is which follows from lengths alone.

/// Octets of the header before the trailer.
const HEADER_LENGTH: usize = 48;
/// Least octets of an extension field (RFC 7822 section 7.5).
const MIN_FIELD: usize = 16;
/// Least octets of the last extension field when no MAC follows (RFC 7822 section 7.5.1.2): fewer
/// than that are a MAC.
const MIN_LAST_FIELD: usize = 28;
/// Key identifier and the shortest digest, that of MD5 and AES-CMAC (RFC 8573).
const MIN_MAC: usize = 20;
/// Key identifier and SHA-512, the longest that chrony and ntpsec send.
const MAX_MAC: usize = 68;
/// Version 3 also knew a DES checksum of eight octets (RFC 1305 appendix C).
const MIN_MAC_VERSION_3: usize = 12;
/// A key identifier without a digest.
const CRYPTO_NAK: usize = 4;

/// Types of extension fields.
pub mod extension {
    /// NTS Unique Identifier (RFC 8915 section 5.3).
    pub const UNIQUE_IDENTIFIER: u16 = 0x0104;
    /// NTS Cookie (RFC 8915 section 5.4).
    pub const NTS_COOKIE: u16 = 0x0204;
    /// NTS Cookie Placeholder (RFC 8915 section 5.5).
    pub const NTS_COOKIE_PLACEHOLDER: u16 = 0x0304;
    /// NTS Authenticator and Encrypted Extension Fields (RFC 8915 section 5.6).
    pub const NTS_AUTHENTICATOR: u16 = 0x0404;
    /// Checksum Complement (RFC 7821).
    pub const CHECKSUM_COMPLEMENT: u16 = 0x2005;
}

/// One extension field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtensionField<'a> {
    /// See [`extension`].
    pub kind: u16,
    /// Octets of the whole field, its own four of type and length included.
    pub length: u16,
    /// What follows type and length, padding included, as far as it was captured.
    pub body: &'a [u8],
}

/// The message authentication code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mac {
    /// There is none.
    None,
    /// Key identifier 0 and no digest: the server refuses the request's MAC (RFC 5905 section 9.2).
    CryptoNak,
    /// A key identifier, absent if it was not captured, and a digest.
    Digest {
        /// Which key made the digest.
        key_id: Option<u32>,
        /// Octets of key identifier and digest together: 20, 24, or more.
        length: u16,
    },
    /// The octets fit neither extension fields nor a MAC.
    Unknown,
    /// The capture ends before the place that would say.
    NotCaptured,
}

/// Extension fields and MAC of a packet of modes 0 to 5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trailer<'a> {
    fields: &'a [u8],
    fields_length: usize,
    mac: Mac,
}

impl<'a> Trailer<'a> {
    /// Reads what follows the header. `payload` is the captured part of a UDP payload of `length`
    /// octets.
    pub fn parse(payload: &'a [u8], length: usize) -> Self {
        let end = length.max(payload.len());
        let version = payload.first().map_or(0, |first| (first >> 3) & 7);
        let (fields_end, mac) = match version {
            _ if end <= HEADER_LENGTH => (HEADER_LENGTH, Mac::None),
            4 => walk(payload, end),
            // No MAC: an extension field authenticates (draft-ietf-ntp-ntpv5).
            5 => walk_version_5(payload, end),
            3 => (
                HEADER_LENGTH,
                mac(payload, HEADER_LENGTH, end, MIN_MAC_VERSION_3),
            ),
            _ => (HEADER_LENGTH, Mac::Unknown),
        };
        let fields = payload.get(HEADER_LENGTH..fields_end.min(payload.len()));
        Self {
            fields: fields.unwrap_or(&[]),
            fields_length: fields_end - HEADER_LENGTH,
            mac,
        }
    }

    /// The extension fields whose type and length were captured, in their order.
    pub fn extensions(&self) -> impl Iterator<Item = ExtensionField<'a>> + use<'a> {
        Extensions {
            fields: self.fields,
            length: self.fields_length,
        }
    }

    /// The MAC.
    pub const fn mac(&self) -> Mac {
        self.mac
    }

    /// What an answer must repeat (RFC 8915 section 5.3): the body of the NTS unique identifier, as
    /// far as it was captured. `Some(None)`: it is there, and the capture ends within it.
    pub fn unique_identifier(&self) -> Option<Option<&'a [u8]>> {
        let field = self
            .extensions()
            .find(|field| field.kind == extension::UNIQUE_IDENTIFIER)?;
        let whole = usize::from(field.length).saturating_sub(4);
        Some((field.body.len() >= whole).then_some(field.body))
    }

    /// Whether every extension field was captured with its type and length: one that is not among
    /// them is not there.
    pub fn is_whole(&self) -> bool {
        self.mac != Mac::NotCaptured
    }

    /// Whether the sender uses Network Time Security (RFC 8915): cookies or an authenticator.
    pub fn has_nts(&self) -> bool {
        use extension::{NTS_AUTHENTICATOR, NTS_COOKIE};
        self.extensions()
            .any(|field| matches!(field.kind, NTS_COOKIE | NTS_AUTHENTICATOR))
    }
}

impl Mac {
    /// Octets of the MAC, key identifier included; `None` where that cannot be told.
    pub const fn length(self) -> Option<u16> {
        match self {
            Self::None => Some(0),
            Self::CryptoNak => Some(CRYPTO_NAK as u16),
            Self::Digest { length, .. } => Some(length),
            Self::Unknown | Self::NotCaptured => None,
        }
    }
}

struct Extensions<'a> {
    fields: &'a [u8],
    /// Octets of all fields, captured or not.
    length: usize,
}

impl<'a> Iterator for Extensions<'a> {
    type Item = ExtensionField<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.length == 0 {
            return None;
        }
        let (kind, length) = type_and_length(self.fields, 0)?;
        // Version 5 does not count the padding; in version 4 there is none to add.
        let octets = usize::from(length).next_multiple_of(4).min(self.length);
        let (field, rest) = self.fields.split_at(octets.min(self.fields.len()));
        self.length -= octets;
        self.fields = rest;
        Some(ExtensionField {
            kind,
            length,
            body: field.get(4..).unwrap_or(&[]),
        })
    }
}

/// Takes extension fields as long as they fit, and gives the last one back if what is left then is
/// nothing known (what Wireshark does too): a MAC may look like the start of a field.
fn walk(payload: &[u8], end: usize) -> (usize, Mac) {
    let (mut at, mut last) = (HEADER_LENGTH, HEADER_LENGTH);
    while end - at >= MIN_LAST_FIELD {
        let Some((_, length)) = type_and_length(payload, at) else {
            return (at, Mac::NotCaptured);
        };
        let length = usize::from(length);
        if length < MIN_FIELD || !length.is_multiple_of(4) || length > end - at {
            break;
        }
        last = at;
        at += length;
    }
    match mac(payload, at, end, MIN_MAC) {
        Mac::Unknown => match mac(payload, last, end, MIN_MAC) {
            Mac::Unknown => (at, Mac::Unknown),
            given_back => (last, given_back),
        },
        known => (at, known),
    }
}

fn walk_version_5(payload: &[u8], end: usize) -> (usize, Mac) {
    let mut at = HEADER_LENGTH;
    while at < end {
        let Some((_, length)) = type_and_length(payload, at) else {
            return (at, Mac::NotCaptured);
        };
        let octets = usize::from(length).next_multiple_of(4);
        if length < 4 || octets > end - at {
            return (at, Mac::Unknown);
        }
        at += octets;
    }
    (at, Mac::None)
}

/// What the octets from `at` to `end` are if they are a MAC.
fn mac(payload: &[u8], at: usize, end: usize, least: usize) -> Mac {
    let length = end - at;
    let key_id = payload
        .get(at..)
        .and_then(<[u8]>::first_chunk)
        .map(|octets| u32::from_be_bytes(*octets));
    match (length, key_id) {
        (0, _) => Mac::None,
        (CRYPTO_NAK, Some(0)) => Mac::CryptoNak,
        (CRYPTO_NAK, None) => Mac::NotCaptured,
        _ if (least..=MAX_MAC).contains(&length) && length.is_multiple_of(4) => Mac::Digest {
            key_id,
            length: length as u16,
        },
        _ => Mac::Unknown,
    }
}

fn type_and_length(payload: &[u8], at: usize) -> Option<(u16, u16)> {
    let [a, b, c, d] = *payload.get(at..)?.first_chunk()?;
    Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::{vec, vec::Vec};

    use super::*;

    fn field(kind: u16, length: u16) -> Vec<u8> {
        let mut field = vec![0xee; usize::from(length)];
        field[..2].copy_from_slice(&kind.to_be_bytes());
        field[2..4].copy_from_slice(&length.to_be_bytes());
        field
    }

    fn mac(key_id: u32, length: usize) -> Vec<u8> {
        let mut mac = vec![0xdd; length];
        mac[..4].copy_from_slice(&key_id.to_be_bytes());
        mac
    }

    fn packet(version: u8, parts: &[Vec<u8>]) -> Vec<u8> {
        let mut packet = vec![0; HEADER_LENGTH];
        packet[0] = version << 3 | 3;
        packet.extend(parts.concat());
        packet
    }

    fn read(packet: &[u8]) -> (Vec<u16>, Mac) {
        let trailer = Trailer::parse(packet, packet.len());
        let kinds = trailer.extensions().map(|field| field.kind).collect();
        (kinds, trailer.mac())
    }

    fn digest(key_id: u32, length: u16) -> Mac {
        Mac::Digest {
            key_id: Some(key_id),
            length,
        }
    }

    #[test]
    fn fields_and_macs_are_told_apart_by_their_lengths() {
        let nts = [field(0x0104, 36), field(0x0204, 104), field(0x0404, 40)];
        type Case<'a> = (&'a str, u8, &'a [Vec<u8>], &'a [u16], Mac);
        let cases: [Case<'_>; 17] = [
            ("nothing", 4, &[], &[], Mac::None),
            ("crypto-NAK", 4, &[mac(0, 4)], &[], Mac::CryptoNak),
            ("MD5", 4, &[mac(1, 20)], &[], digest(1, 20)),
            ("SHA-1", 4, &[mac(7, 24)], &[], digest(7, 24)),
            ("SHA-256", 4, &[mac(7, 36)], &[], digest(7, 36)),
            ("SHA-512", 4, &[mac(7, 68)], &[], digest(7, 68)),
            ("NTS", 4, &nts, &[0x0104, 0x0204, 0x0404], Mac::None),
            ("one field", 4, &[field(0x2005, 28)], &[0x2005], Mac::None),
            (
                "field and MAC",
                4,
                &[field(0x2005, 28), mac(1, 20)],
                &[0x2005],
                digest(1, 20),
            ),
            (
                "field and NAK",
                4,
                &[field(0x0104, 36), mac(0, 4)],
                &[0x0104],
                Mac::CryptoNak,
            ),
            // 24 octets are a MAC, even if they look like a field.
            (
                "too short a field",
                4,
                &[field(0x0104, 24)],
                &[],
                digest(0x0104_0018, 24),
            ),
            // A field of 16 octets and a MAC of 20 fit, and come first.
            (
                "MAC like a field",
                4,
                &[mac(0x0002_0010, 36)],
                &[2],
                digest(0xdddd_dddd, 20),
            ),
            ("garbage", 4, &[vec![1; 9]], &[], Mac::Unknown),
            ("version 3", 3, &[mac(1, 20)], &[], digest(1, 20)),
            ("version 3 with DES", 3, &[mac(1, 12)], &[], digest(1, 12)),
            ("version 2", 2, &[mac(1, 20)], &[], Mac::Unknown),
            (
                "version 5",
                5,
                &[field(0xf5ff, 28), field(0xf501, 8)],
                &[0xf5ff, 0xf501],
                Mac::None,
            ),
        ];
        for (name, version, parts, kinds, mac) in cases {
            let (found, found_mac) = read(&packet(version, parts));
            assert_eq!((&found[..], found_mac), (kinds, mac), "{name}");
        }
    }

    #[test]
    fn a_field_that_leaves_nothing_known_is_given_back_to_the_mac() {
        // 68 octets of MAC whose key identifier reads as a field of 56: 12 octets would be left.
        let packet = packet(4, &[mac(0x0001_0038, 68)]);
        assert_eq!(read(&packet), (vec![], digest(0x0001_0038, 68)));
    }

    #[test]
    fn what_was_not_captured_is_not_guessed() {
        let whole = packet(4, &[field(0x0104, 36), field(0x0404, 40)]);
        let cut = Trailer::parse(&whole[..60], whole.len());
        let kinds: Vec<u16> = cut.extensions().map(|field| field.kind).collect();
        assert_eq!((kinds, cut.mac()), (vec![0x0104], Mac::NotCaptured));
        // Where the length alone decides, it does.
        let whole = packet(4, &[mac(1, 20)]);
        let cut = Trailer::parse(&whole[..48], whole.len());
        assert_eq!(cut.mac().length(), Some(20));
    }

    #[test]
    fn a_unique_identifier_is_whole_or_known_to_be_cut() {
        let whole = packet(4, &[field(0x0104, 36), field(0x0404, 40)]);
        let identifier = |captured: &[u8]| {
            let trailer = Trailer::parse(captured, whole.len());
            (
                trailer
                    .unique_identifier()
                    .map(|body| body.map(<[u8]>::len)),
                trailer.is_whole(),
            )
        };
        assert_eq!(identifier(&whole), (Some(Some(32)), true));
        assert_eq!(identifier(&whole[..84]), (Some(Some(32)), false));
        assert_eq!(identifier(&whole[..83]), (Some(None), false));
        assert_eq!(identifier(&whole[..48]), (None, false));
        let other = packet(4, &[field(0x2005, 28)]);
        assert_eq!(
            Trailer::parse(&other, other.len()).unique_identifier(),
            None
        );
    }

    #[test]
    fn a_last_field_that_is_cut_hides_no_other() {
        let whole = packet(4, &[field(0x2005, 28), field(0x0404, 144)]);
        for (captured, is_whole) in [(whole.len(), true), (128, true), (80, true), (79, false)] {
            let trailer = Trailer::parse(&whole[..captured], whole.len());
            assert_eq!(trailer.is_whole(), is_whole, "{captured}");
            assert_eq!(trailer.unique_identifier(), None);
        }
    }

    #[test]
    fn any_octets_end_in_a_value() {
        let mut state = 1_u32;
        for _ in 0..20_000 {
            let mut next = || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            };
            let mut packet: Vec<u8> = (0..usize::from(next())).map(|_| next() & 0x3f).collect();
            if let Some(first) = packet.first_mut() {
                *first = *first & 7 | (next() % 6) << 3;
            }
            let trailer = Trailer::parse(&packet, packet.len() + usize::from(next()));
            assert!(trailer.extensions().count() <= 64);
        }
    }
}
