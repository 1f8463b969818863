//! What a reference id means, which depends on the stratum (RFC 5905 section 7.3).

use super::Header;

/// Where a packet's sender has its time from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reference {
    /// Nothing is said.
    None,
    /// A kiss-o'-death, and its code if it can be printed.
    Kiss(Option<[u8; 4]>),
    /// Stratum 1: a clock's name, up to four ASCII characters padded with zeros.
    Clock([u8; 4]),
    /// Stratum 1 with octets that are no name.
    UnknownClock([u8; 4]),
    /// The sender's own clock or a reference clock driver: 127.127.type.unit.
    Driver {
        /// Type of the driver; 1 = the undisciplined local clock.
        kind: u8,
        /// Which of several.
        unit: u8,
    },
    /// An upstream server: its IPv4 address, or the first octets of its IPv6 address's MD5. Nobody
    /// can tell which.
    Upstream([u8; 4]),
}

impl Reference {
    /// Reads the reference id of a packet of versions 1 to 4.
    pub fn of(header: &Header) -> Self {
        let octets = header.reference_id.to_be_bytes();
        match (header.stratum, octets) {
            (0, _) if header.is_kiss_of_death() => Self::Kiss(header.kiss_code()),
            (0, _) | (_, [0, 0, 0, 0]) => Self::None,
            (_, [127, 127, kind, unit]) => Self::Driver { kind, unit },
            (1, _) if is_name(octets) => Self::Clock(octets),
            (1, _) => Self::UnknownClock(octets),
            (2..=15, _) => Self::Upstream(octets),
            _ => Self::None,
        }
    }

    /// Whether the server offers the time of a clock that nobody sets.
    pub fn is_undisciplined(self) -> bool {
        matches!(
            self,
            Self::Driver { kind: 1, .. } | Self::Clock([b'L', b'O', b'C', b'L'])
        )
    }
}

/// Printable, and then nothing but padding.
fn is_name(octets: [u8; 4]) -> bool {
    let letters = octets.iter().take_while(|octet| **octet != 0).count();
    let (letters, padding) = octets.split_at(letters);
    letters.iter().all(u8::is_ascii_graphic) && padding.iter().all(|octet| *octet == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ntp::{Mode, NtpTimestamp};

    fn header(stratum: u8, reference_id: [u8; 4]) -> Header {
        Header {
            leap: 0,
            version: 4,
            mode: Mode::Server,
            stratum,
            poll: 0,
            precision: 0,
            root_delay: 0,
            root_dispersion: 0,
            reference_id: u32::from_be_bytes(reference_id),
            reference_timestamp: NtpTimestamp(0),
            origin_timestamp: NtpTimestamp(0),
            receive_timestamp: NtpTimestamp(0),
            transmit_timestamp: NtpTimestamp(0),
        }
    }

    #[test]
    fn the_stratum_decides_what_four_octets_mean() {
        let local = Reference::Driver { kind: 1, unit: 1 };
        for (stratum, octets, expected) in [
            (0, *b"RATE", Reference::Kiss(Some(*b"RATE"))),
            (0, [1, 2, 3, 4], Reference::Kiss(None)),
            (0, [0; 4], Reference::None),
            (1, *b"GPS\0", Reference::Clock(*b"GPS\0")),
            (1, *b"G\0PS", Reference::UnknownClock(*b"G\0PS")),
            (1, [127, 127, 1, 1], local),
            (3, [127, 127, 1, 1], local),
            (2, [192, 0, 2, 1], Reference::Upstream([192, 0, 2, 1])),
            (16, [192, 0, 2, 1], Reference::None),
            (2, [0; 4], Reference::None),
        ] {
            assert_eq!(Reference::of(&header(stratum, octets)), expected);
        }
        assert!(local.is_undisciplined());
        assert!(Reference::Clock(*b"LOCL").is_undisciplined());
        assert!(!Reference::Clock(*b"GPS\0").is_undisciplined());
    }
}
