//! Mode 7: ntpd's private messages (RFC 9327 appendix A).

use super::{Malformed, Mode, header::version};

/// The header of a private message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Private {
    /// 1 to 4.
    pub version: u8,
    /// Whether this answers.
    pub response: bool,
    /// Whether more packets of the answer follow.
    pub more: bool,
    /// Whether a MAC follows.
    pub authenticated: bool,
    /// Number of this packet in the answer, 0 to 127.
    pub sequence: u8,
    /// 0 any, 2 older xntpd, 3 xntpd.
    pub implementation: u8,
    /// 20 and 42: the list of clients, which amplifies most.
    pub request: u8,
    /// 0 = none.
    pub error: u8,
    /// How many items there are.
    pub items: u16,
    /// Octets of each item.
    pub item_size: u16,
}

impl Private {
    /// Reads a message of mode 7.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if it is of another mode, of a version nobody sends, or too short.
    pub fn parse(payload: &[u8]) -> Result<Self, Malformed> {
        let version = version(payload, Mode::Private)?;
        let header: &[u8; 8] = payload.first_chunk().ok_or(Malformed::TooShort)?;
        let field = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        Ok(Self {
            version,
            response: header[0] & 0x80 != 0,
            more: header[0] & 0x40 != 0,
            authenticated: header[1] & 0x80 != 0,
            sequence: header[1] & 0x7f,
            implementation: header[2],
            request: header[3],
            error: (field(4) >> 12) as u8,
            items: field(4) & 0x0fff,
            item_size: field(6) & 0x0fff,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scan_for_open_amplifiers_is_read() {
        let request = Private::parse(&[0x17, 0, 3, 0x2a, 0, 0, 0, 0]).unwrap();
        assert_eq!((request.version, request.request), (2, 42));
        assert!(!request.response);
        let response = Private::parse(&[0xd7, 5, 3, 0x2a, 0, 6, 0, 72]).unwrap();
        assert!(response.response && response.more);
        assert_eq!(
            (response.sequence, response.items, response.item_size),
            (5, 6, 72)
        );
        assert_eq!(Private::parse(&[0x17; 7]), Err(Malformed::TooShort));
        assert_eq!(Private::parse(&[0x16; 8]), Err(Malformed::OtherLayout(6)));
    }
}
