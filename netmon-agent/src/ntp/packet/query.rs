//! Modes 6 and 7: questions about a server itself, and their answers.

use netmon_common::ntp::{Control, Private};

/// Octets before the data of a control message.
const CONTROL_HEADER: usize = 12;
/// Octets of key identifier and the shortest digest behind a control message.
const LEAST_MAC: usize = 20;

/// One packet of mode 6 or 7.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// What ties answers to their question.
    pub subject: Subject,
    /// 1 to 4.
    pub version: u8,
    /// Whether this answers.
    pub is_answer: bool,
    /// Whether more packets of the answer follow.
    pub more: bool,
    /// Where in the whole answer this belongs: octets in mode 6, packets in mode 7.
    pub at: u32,
    /// How much of it this is, likewise.
    pub extent: u32,
    /// Association asked about in mode 6, implementation number in mode 7.
    pub about: u16,
    /// Status word of mode 6.
    pub status: u16,
    /// Why the server refuses.
    pub error: Option<u8>,
    /// Items of mode 7.
    pub items: u16,
    /// Whether a MAC follows.
    pub is_authenticated: bool,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// Mode 6.
    Control {
        /// Read status, read variables, …
        opcode: u8,
        /// Chosen by who asks.
        sequence: u16,
    },
    /// Mode 7, which has no number for a question.
    Private {
        /// The request code.
        code: u8,
    },
}

impl Subject {
    /// 6 or 7.
    pub const fn mode(self) -> u8 {
        match self {
            Self::Control { .. } => 6,
            Self::Private { .. } => 7,
        }
    }

    /// The opcode or the request code.
    pub const fn opcode(self) -> u8 {
        match self {
            Self::Control { opcode, .. } => opcode,
            Self::Private { code } => code,
        }
    }

    /// The sequence number; 0 in mode 7.
    pub const fn sequence(self) -> u16 {
        match self {
            Self::Control { sequence, .. } => sequence,
            Self::Private { .. } => 0,
        }
    }
}

impl Question {
    /// A message of mode 6 of `length` octets.
    pub fn control(control: &Control, length: usize) -> Self {
        // Data is padded to four octets before a MAC (RFC 9327 section 3.1).
        let data_end = CONTROL_HEADER + usize::from(control.count).next_multiple_of(4);
        Self {
            subject: Subject::Control {
                opcode: control.opcode,
                sequence: control.sequence,
            },
            version: control.version,
            is_answer: control.response,
            more: control.more,
            at: control.offset.into(),
            extent: control.count.into(),
            about: control.association,
            status: control.status,
            // RFC 9327 section 3.2: the code stands in the upper octet of the status word.
            error: control.error.then_some((control.status >> 8) as u8),
            items: 0,
            is_authenticated: length >= data_end + LEAST_MAC,
        }
    }

    /// A message of mode 7.
    pub fn private(private: &Private) -> Self {
        Self {
            subject: Subject::Private {
                code: private.request,
            },
            version: private.version,
            is_answer: private.response,
            more: private.more,
            at: private.sequence.into(),
            extent: 1,
            about: private.implementation.into(),
            status: 0,
            error: (private.error != 0).then_some(private.error),
            items: private.items,
            is_authenticated: private.authenticated,
        }
    }
}
