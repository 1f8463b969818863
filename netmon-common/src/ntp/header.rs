//! The 48 octets that modes 1 to 5 of versions 1 to 4 share (RFC 5905 section 7.3).

use super::NtpTimestamp;

/// Octets of the header.
const LENGTH: usize = 48;

/// Association mode (RFC 5905 figure 10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Mode {
    /// 0. A version 1 sender puts this where later versions put client or server.
    Reserved = 0,
    /// 1
    SymmetricActive = 1,
    /// 2
    SymmetricPassive = 2,
    /// 3: a request.
    Client = 3,
    /// 4: a response.
    Server = 4,
    /// 5
    Broadcast = 5,
    /// 6: RFC 9327, another layout.
    Control = 6,
    /// 7: private use of ntpd, another layout.
    Private = 7,
}

/// The fields as they stood on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    /// Leap indicator, 0 to 3; 3 = not synchronised.
    pub leap: u8,
    /// 1 to 4; 5 where [`Version5`](super::Version5) is read by place.
    pub version: u8,
    /// Association mode.
    pub mode: Mode,
    /// 0 = unspecified or kiss-o'-death, 1 = primary, 2 to 15 = secondary, 16 = unsynchronised.
    pub stratum: u8,
    /// Poll exponent, log₂ s.
    pub poll: i8,
    /// log₂ s; 0 = unset, 32 = "not disclosed" (chrony, ntpsec).
    pub precision: i8,
    /// Raw 16.16 fixed point, s; signed in versions up to 3.
    pub root_delay: u32,
    /// Raw 16.16 fixed point, s.
    pub root_dispersion: u32,
    /// Big endian; its meaning depends on the stratum.
    pub reference_id: u32,
    /// When the sender's clock was last set.
    pub reference_timestamp: NtpTimestamp,
    /// T1: in a response, the request's transmit timestamp.
    pub origin_timestamp: NtpTimestamp,
    /// T2: in a response, when the request arrived.
    pub receive_timestamp: NtpTimestamp,
    /// T3: when the packet left; in a request often a random number.
    pub transmit_timestamp: NtpTimestamp,
}

/// Why a payload is not an NTP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Shorter than a header of its mode.
    #[error("payload too short for an NTP header")]
    TooShort,
    /// Version 0, 6 or 7: not NTP. Version 5 has another layout.
    #[error("NTP version {0} is not known")]
    UnknownVersion(u8),
    /// Mode 6 or 7: NTP, but of another layout.
    #[error("mode {0} has another layout")]
    OtherLayout(u8),
}

impl Mode {
    pub(super) const fn from_bits(bits: u8) -> Self {
        match bits & 7 {
            0 => Self::Reserved,
            1 => Self::SymmetricActive,
            2 => Self::SymmetricPassive,
            3 => Self::Client,
            4 => Self::Server,
            5 => Self::Broadcast,
            6 => Self::Control,
            _ => Self::Private,
        }
    }
}

impl Header {
    /// Reads the header of modes 0 to 5.
    pub fn parse(payload: &[u8]) -> Result<Self, Malformed> {
        let first = *payload.first().ok_or(Malformed::TooShort)?;
        let version = (first >> 3) & 7;
        if !(1..=4).contains(&version) {
            return Err(Malformed::UnknownVersion(version));
        }
        let mode = Mode::from_bits(first);
        if matches!(mode, Mode::Control | Mode::Private) {
            return Err(Malformed::OtherLayout(mode as u8));
        }
        let header: &[u8; LENGTH] = payload.first_chunk().ok_or(Malformed::TooShort)?;
        Ok(Self {
            leap: first >> 6,
            version,
            mode,
            stratum: header[1],
            poll: header[2] as i8,
            precision: header[3] as i8,
            root_delay: word(header, 4),
            root_dispersion: word(header, 8),
            reference_id: word(header, 12),
            reference_timestamp: timestamp(header, 16),
            origin_timestamp: timestamp(header, 24),
            receive_timestamp: timestamp(header, 32),
            transmit_timestamp: timestamp(header, 40),
        })
    }

    /// Whether this is a kiss-o'-death (RFC 5905 section 7.4): a response of stratum 0 whose
    /// reference id holds a code. Its timestamps mean nothing.
    pub const fn is_kiss_of_death(&self) -> bool {
        matches!(self.mode, Mode::Server) && self.stratum == 0 && self.reference_id != 0
    }

    /// Half the root delay and the root dispersion, ns: what the sender says that its clock may be
    /// wrong by. Version 3 knows negative root delays (RFC 1305 section 3.2.1); below 0 nothing is
    /// wrong by.
    pub fn root_distance_ns(&self) -> u64 {
        let fraction_bits = if self.version == 5 { 28 } else { 16 };
        let delay = if self.version <= 3 {
            i64::from(self.root_delay as i32)
        } else {
            i64::from(self.root_delay)
        };
        let twice = delay + 2 * i64::from(self.root_dispersion);
        let ns = (i128::from(twice) * 1_000_000_000) >> (fraction_bits + 1);
        u64::try_from(ns).unwrap_or(0)
    }

    /// Precision as a power of two of a second, if it was disclosed: 0 is unset, and chrony and
    /// ntpsec send 32 to say nothing.
    pub const fn disclosed_precision(&self) -> Option<i8> {
        match self.precision {
            0 | 32 => None,
            precision => Some(precision),
        }
    }

    /// The code of a kiss-o'-death, if it is one that can be printed: up to four ASCII characters,
    /// padded with zeros.
    pub fn kiss_code(&self) -> Option<[u8; 4]> {
        let code = self.reference_id.to_be_bytes();
        let letters = code.iter().take_while(|octet| **octet != 0).count();
        let (letters, padding) = code.split_at(letters);
        let printable = letters.iter().all(u8::is_ascii_graphic);
        let padded = padding.iter().all(|octet| *octet == 0);
        (self.is_kiss_of_death() && printable && padded).then_some(code)
    }
}

/// The version of a message of another layout.
pub(super) fn version(payload: &[u8], mode: Mode) -> Result<u8, Malformed> {
    let first = *payload.first().ok_or(Malformed::TooShort)?;
    let version = (first >> 3) & 7;
    if !(1..=4).contains(&version) {
        Err(Malformed::UnknownVersion(version))
    } else if Mode::from_bits(first) != mode {
        Err(Malformed::OtherLayout(first & 7))
    } else {
        Ok(version)
    }
}

fn word(header: &[u8; LENGTH], at: usize) -> u32 {
    u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
}

fn timestamp(header: &[u8; LENGTH], at: usize) -> NtpTimestamp {
    let high = u64::from(word(header, at));
    let low = u64::from(word(header, at + 4));
    NtpTimestamp((high << 32) | low)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response() -> [u8; 48] {
        let mut payload = [0; 48];
        payload[0] = 0b00_100_100; // leap 0, version 4, mode 4
        payload[1] = 2;
        payload[2] = 6;
        payload[3] = 0xe9; // -23
        payload[4..8].copy_from_slice(&0x0000_8000_u32.to_be_bytes());
        payload[12..16].copy_from_slice(&[192, 0, 2, 1]);
        payload[24..32].copy_from_slice(&0x1122_3344_5566_7788_u64.to_be_bytes());
        payload
    }

    #[test]
    fn every_field_is_read_from_its_place() {
        let header = Header::parse(&response()).unwrap();
        assert_eq!(
            (header.leap, header.version, header.mode),
            (0, 4, Mode::Server)
        );
        assert_eq!((header.stratum, header.poll, header.precision), (2, 6, -23));
        assert_eq!(header.root_delay, 0x8000);
        assert_eq!(header.reference_id, 0xc000_0201);
        assert_eq!(header.origin_timestamp, NtpTimestamp(0x1122_3344_5566_7788));
        assert!(header.transmit_timestamp.is_zero());
    }

    #[test]
    fn a_payload_cut_at_any_byte_is_too_short() {
        for length in 0..48 {
            assert_eq!(
                Header::parse(&response()[..length]),
                Err(Malformed::TooShort)
            );
        }
    }

    #[test]
    fn versions_that_do_not_exist_are_refused() {
        for version in [0, 5, 6, 7] {
            let mut payload = response();
            payload[0] = version << 3 | 4;
            assert_eq!(
                Header::parse(&payload),
                Err(Malformed::UnknownVersion(version))
            );
        }
    }

    #[test]
    fn root_distance_follows_the_version() {
        let mut payload = response();
        payload[4..8].copy_from_slice(&0xffff_0000_u32.to_be_bytes());
        payload[8..12].copy_from_slice(&0x0001_8000_u32.to_be_bytes());
        let distance = |first: u8| {
            let mut payload = payload;
            payload[0] = first;
            Header::parse(&payload).unwrap().root_distance_ns()
        };
        assert_eq!(distance(3 << 3 | 4), 1_000_000_000, "-1 s / 2 + 1.5 s");
        assert_eq!(
            distance(4 << 3 | 4),
            32_769_000_000_000,
            "65,535 s / 2 + 1.5 s"
        );
        payload[8..12].fill(0);
        let mut negative = Header::parse(&payload).unwrap();
        negative.version = 3;
        assert_eq!(negative.root_distance_ns(), 0);
        negative.version = 5;
        negative.root_delay = 1 << 28;
        assert_eq!(negative.root_distance_ns(), 500_000_000);
    }

    #[test]
    fn a_precision_that_says_nothing_is_none() {
        let mut header = Header::parse(&response()).unwrap();
        assert_eq!(header.disclosed_precision(), Some(-23));
        for nothing in [0, 32] {
            header.precision = nothing;
            assert_eq!(header.disclosed_precision(), None);
        }
    }

    #[test]
    fn a_stratum_zero_response_without_a_code_is_not_a_kiss() {
        let mut payload = response();
        payload[1] = 0;
        payload[12..16].copy_from_slice(b"RATE");
        let kiss = Header::parse(&payload).unwrap();
        assert!(kiss.is_kiss_of_death());
        assert_eq!(kiss.kiss_code(), Some(*b"RATE"));
        payload[12..16].fill(0);
        assert!(!Header::parse(&payload).unwrap().is_kiss_of_death());
    }
}
