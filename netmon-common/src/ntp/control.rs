//! Mode 6: control messages (RFC 9327).

use super::{Malformed, Mode, header::version};

/// The header of a control message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Control {
    /// 1 to 4.
    pub version: u8,
    /// Whether this answers.
    pub response: bool,
    /// Whether the answer is a refusal.
    pub error: bool,
    /// Whether more fragments of the answer follow.
    pub more: bool,
    /// 1 read status, 2 read variables, 10 read MRU list, 12 request nonce, …
    pub opcode: u8,
    /// Ties an answer to its question.
    pub sequence: u16,
    /// Status word of system or peer.
    pub status: u16,
    /// 0 = the system itself.
    pub association: u16,
    /// Where in the whole answer the data belongs, octets.
    pub offset: u16,
    /// Octets of data.
    pub count: u16,
}

impl Control {
    /// Reads a message of mode 6.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if it is of another mode, of a version nobody sends, or too short.
    pub fn parse(payload: &[u8]) -> Result<Self, Malformed> {
        let version = version(payload, Mode::Control)?;
        let header: &[u8; 12] = payload.first_chunk().ok_or(Malformed::TooShort)?;
        let field = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        Ok(Self {
            version,
            response: header[1] & 0x80 != 0,
            error: header[1] & 0x40 != 0,
            more: header[1] & 0x20 != 0,
            opcode: header[1] & 0x1f,
            sequence: field(2),
            status: field(4),
            association: field(6),
            offset: field(8),
            count: field(10),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_of_ntpq_is_read() {
        let payload = [0x16, 2, 0, 2, 0, 0, 0x4a, 0xef, 0, 0, 0, 0];
        let control = Control::parse(&payload).unwrap();
        assert_eq!((control.version, control.opcode), (2, 2));
        assert_eq!((control.sequence, control.association), (2, 0x4aef));
        assert!(!control.response && !control.more && !control.error);
        assert_eq!(Control::parse(&payload[..11]), Err(Malformed::TooShort));
        assert_eq!(Control::parse(&[0x17; 12]), Err(Malformed::OtherLayout(7)));
    }
}
