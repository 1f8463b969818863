//! Any payload on the NTP port.

use super::{Control, Header, Malformed, Mode, NtpTimestamp, Private};

/// What a payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// Modes 0 to 5 of versions 1 to 4.
    Time(Header),
    /// Modes 3 and 4 of version 5.
    Version5(Version5),
    /// Mode 6.
    Control(Control),
    /// Mode 7.
    Private(Private),
}

/// Version 5 (draft-ietf-ntp-ntpv5), which has another layout: root delay and dispersion are 4.28
/// fixed point, octets 12 to 15 hold timescale, era and flags, and two cookies stand where older
/// versions have reference and origin timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version5 {
    /// Leap indicator, as in older versions.
    pub leap: u8,
    /// Client or server.
    pub mode: Mode,
    /// As in older versions.
    pub stratum: u8,
    /// Poll exponent, log₂ s.
    pub poll: i8,
    /// log₂ s.
    pub precision: i8,
    /// Raw 4.28 fixed point, s.
    pub root_delay: u32,
    /// Raw 4.28 fixed point, s.
    pub root_dispersion: u32,
    /// 0 UTC, 1 TAI, 2 UT1, 3 UTC with smeared leap seconds.
    pub timescale: u8,
    /// Of the timestamps, modulo 256.
    pub era: u8,
    /// 2 = interleaved: the transmit timestamp is that of the response before.
    pub flags: u16,
    /// Where older versions have the reference timestamp.
    pub server_cookie: u64,
    /// Where older versions have the origin timestamp; in request and response alike.
    pub client_cookie: u64,
    /// T2
    pub receive_timestamp: NtpTimestamp,
    /// T3
    pub transmit_timestamp: NtpTimestamp,
}

impl Message {
    /// Reads a payload, or its captured part.
    ///
    /// # Errors
    ///
    /// [`Malformed`] says why it is not NTP, or what it lacks.
    pub fn parse(payload: &[u8]) -> Result<Self, Malformed> {
        match Header::parse(payload) {
            Ok(header) => Ok(Self::Time(header)),
            Err(Malformed::OtherLayout(6)) => Control::parse(payload).map(Self::Control),
            Err(Malformed::OtherLayout(_)) => Private::parse(payload).map(Self::Private),
            Err(Malformed::UnknownVersion(5)) => Version5::parse(payload).map(Self::Version5),
            Err(malformed) => Err(malformed),
        }
    }
}

impl Version5 {
    /// Whether the transmit timestamp belongs to the response before.
    pub const fn is_interleaved(&self) -> bool {
        self.flags & 2 != 0
    }

    /// The fields as they lie in the places of older versions: cookies stand for reference and
    /// origin timestamp, timescale, era and flags for the reference id.
    pub fn by_place(&self) -> Header {
        Header {
            leap: self.leap,
            version: 5,
            mode: self.mode,
            stratum: self.stratum,
            poll: self.poll,
            precision: self.precision,
            root_delay: self.root_delay,
            root_dispersion: self.root_dispersion,
            reference_id: u32::from(self.timescale) << 24
                | u32::from(self.era) << 16
                | u32::from(self.flags),
            reference_timestamp: NtpTimestamp(self.server_cookie),
            origin_timestamp: NtpTimestamp(self.client_cookie),
            receive_timestamp: self.receive_timestamp,
            transmit_timestamp: self.transmit_timestamp,
        }
    }

    fn parse(payload: &[u8]) -> Result<Self, Malformed> {
        let header: &[u8; 48] = payload.first_chunk().ok_or(Malformed::TooShort)?;
        let mode = Mode::from_bits(header[0]);
        if !matches!(mode, Mode::Client | Mode::Server) {
            return Err(Malformed::UnknownVersion(5));
        }
        let long = |at: usize| u64::from_be_bytes(core::array::from_fn(|n| header[at + n]));
        let word = |at: usize| u32::from_be_bytes(core::array::from_fn(|n| header[at + n]));
        Ok(Self {
            leap: header[0] >> 6,
            mode,
            stratum: header[1],
            poll: header[2] as i8,
            precision: header[3] as i8,
            root_delay: word(4),
            root_dispersion: word(8),
            timescale: header[12],
            era: header[13],
            flags: u16::from_be_bytes([header[14], header[15]]),
            server_cookie: long(16),
            client_cookie: long(24),
            receive_timestamp: NtpTimestamp(long(32)),
            transmit_timestamp: NtpTimestamp(long(40)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(first: u8) -> [u8; 48] {
        core::array::from_fn(|at| if at == 0 { first } else { at as u8 })
    }

    #[test]
    fn versions_and_modes_decide_the_layout() {
        for version in 1..=4 {
            for mode in 0..=7 {
                let message = Message::parse(&payload(version << 3 | mode)).unwrap();
                let as_expected = match message {
                    Message::Time(header) => mode < 6 && header.version == version,
                    Message::Control(control) => mode == 6 && control.version == version,
                    Message::Private(private) => mode == 7 && private.version == version,
                    Message::Version5(_) => false,
                };
                assert!(as_expected, "version {version}, mode {mode}: {message:?}");
            }
        }
    }

    #[test]
    fn version_5_is_recognised_by_its_cookies() {
        let Ok(Message::Version5(request)) = Message::parse(&payload(5 << 3 | 3)) else {
            panic!("not recognised");
        };
        assert_eq!(request.client_cookie, 0x1819_1a1b_1c1d_1e1f);
        assert_eq!(
            (request.timescale, request.era, request.flags),
            (12, 13, 0x0e0f)
        );
        let by_place = request.by_place();
        assert_eq!((by_place.version, by_place.reference_id), (5, 0x0c0d_0e0f));
        assert!(request.is_interleaved());
        assert_eq!(
            Message::parse(&payload(5 << 3 | 5)),
            Err(Malformed::UnknownVersion(5))
        );
    }

    #[test]
    fn any_octets_give_a_message_or_a_named_error() {
        for first in 0..=u8::MAX {
            for length in 0..=48 {
                let _ = Message::parse(&payload(first)[..length]);
            }
        }
        assert_eq!(Message::parse(&[]), Err(Malformed::TooShort));
        for version in [0, 6, 7] {
            let unknown = Err(Malformed::UnknownVersion(version));
            assert_eq!(Message::parse(&payload(version << 3 | 3)), unknown);
        }
    }
}
