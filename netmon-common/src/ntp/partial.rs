//! The header's fields one by one, as far as a capture holds them.

use super::NtpTimestamp;

/// The fields of a header of modes 0 to 5 that a capture may have cut: absent is what it does not
/// hold whole. Read by place alone, whatever the version says; what version 5 keeps in these places
/// is described with [`Version5`](super::Version5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartialHeader {
    /// Leap indicator, 0 to 3.
    pub leap: Option<u8>,
    /// 0 to 7.
    pub version: Option<u8>,
    /// Association mode, 0 to 7.
    pub mode: Option<u8>,
    /// See [`Header`](super::Header), also for all that follows.
    pub stratum: Option<u8>,
    /// log₂ s.
    pub poll: Option<i8>,
    /// log₂ s.
    pub precision: Option<i8>,
    /// Raw 16.16 fixed point, s.
    pub root_delay: Option<u32>,
    /// Raw 16.16 fixed point, s.
    pub root_dispersion: Option<u32>,
    /// Big endian.
    pub reference_id: Option<u32>,
    /// When the sender's clock was last set.
    pub reference_timestamp: Option<NtpTimestamp>,
    /// T1
    pub origin_timestamp: Option<NtpTimestamp>,
    /// T2
    pub receive_timestamp: Option<NtpTimestamp>,
    /// T3
    pub transmit_timestamp: Option<NtpTimestamp>,
}

impl PartialHeader {
    /// Reads what is there. Modes 6 and 7 share only version and mode with the others, and mode 6
    /// the leap indicator (always 0): everything else is absent then.
    pub fn read(payload: &[u8]) -> Self {
        let Some(&first) = payload.first() else {
            return Self::default();
        };
        let (version, mode) = (Some((first >> 3) & 7), first & 7);
        let start = Self {
            leap: (mode != 7).then_some(first >> 6),
            version,
            mode: Some(mode),
            ..Self::default()
        };
        if mode > 5 {
            return start;
        }
        Self {
            stratum: payload.get(1).copied(),
            poll: payload.get(2).map(|octet| *octet as i8),
            precision: payload.get(3).map(|octet| *octet as i8),
            root_delay: word(payload, 4),
            root_dispersion: word(payload, 8),
            reference_id: word(payload, 12),
            reference_timestamp: timestamp(payload, 16),
            origin_timestamp: timestamp(payload, 24),
            receive_timestamp: timestamp(payload, 32),
            transmit_timestamp: timestamp(payload, 40),
            ..start
        }
    }
}

fn word(payload: &[u8], at: usize) -> Option<u32> {
    payload
        .get(at..)?
        .first_chunk()
        .map(|octets| u32::from_be_bytes(*octets))
}

fn timestamp(payload: &[u8], at: usize) -> Option<NtpTimestamp> {
    let octets = payload.get(at..)?.first_chunk()?;
    Some(NtpTimestamp(u64::from_be_bytes(*octets)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ntp::Header;

    fn request() -> [u8; 48] {
        core::array::from_fn(|at| if at == 0 { 0x23 } else { at as u8 })
    }

    #[test]
    fn a_whole_header_says_the_same_as_the_strict_reader() {
        let (partial, header) = (
            PartialHeader::read(&request()),
            Header::parse(&request()).unwrap(),
        );
        assert_eq!(partial.leap, Some(header.leap));
        assert_eq!(partial.version, Some(header.version));
        assert_eq!(partial.mode, Some(header.mode as u8));
        assert_eq!(partial.stratum, Some(header.stratum));
        assert_eq!(partial.poll, Some(header.poll));
        assert_eq!(partial.precision, Some(header.precision));
        assert_eq!(partial.root_delay, Some(header.root_delay));
        assert_eq!(partial.root_dispersion, Some(header.root_dispersion));
        assert_eq!(partial.reference_id, Some(header.reference_id));
        assert_eq!(
            partial.reference_timestamp,
            Some(header.reference_timestamp)
        );
        assert_eq!(partial.origin_timestamp, Some(header.origin_timestamp));
        assert_eq!(partial.receive_timestamp, Some(header.receive_timestamp));
        assert_eq!(partial.transmit_timestamp, Some(header.transmit_timestamp));
    }

    #[test]
    fn a_field_that_is_cut_is_absent_and_the_ones_before_it_are_not() {
        let partial = PartialHeader::read(&request()[..18]);
        assert_eq!(partial.reference_id, Some(0x0c0d_0e0f));
        assert_eq!(partial.reference_timestamp, None);
        assert_eq!(PartialHeader::read(&[]), PartialHeader::default());
    }

    #[test]
    fn the_other_layouts_have_no_stratum() {
        let (mut control, mut private) = (request(), request());
        (control[0], private[0]) = (0x16, 0x97);
        let (control, private) = (PartialHeader::read(&control), PartialHeader::read(&private));
        assert_eq!(
            (control.leap, control.mode, control.stratum),
            (Some(0), Some(6), None)
        );
        assert_eq!(
            (private.leap, private.mode, private.stratum),
            (None, Some(7), None)
        );
    }
}
