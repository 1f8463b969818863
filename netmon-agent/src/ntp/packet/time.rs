//! A packet that carries time: modes 0 to 5, and version 5.

use netmon_common::{
    ntp::{Header, Mac, NtpTimestamp, Trailer, Version5},
    wire,
};

use super::{Packet, Role, digest};

/// Most types of extension fields that 128 captured octets hold.
const MAX_EXTENSIONS: usize = 5;

/// What a packet that carries time says.
#[derive(Clone, Copy, Debug)]
pub struct Time {
    /// The fields; those of version 5 by place.
    pub header: Header,
    /// What it is for.
    pub role: Role,
    /// Whether it carries what Network Time Security adds.
    pub nts: bool,
    /// The NTS unique identifier.
    pub identifier: Identifier,
    /// The message authentication code.
    pub mac: Mac,
    extensions: [u16; MAX_EXTENSIONS],
    extension_count: u8,
}

/// What an answer must repeat of a request with NTS (RFC 8915 section 5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identifier {
    /// There is none.
    Absent,
    /// The capture ends before the place where one would end.
    NotCaptured,
    /// Its digest.
    Present(u64),
}

impl Identifier {
    /// Whether a response with `self` may answer a request with `asked`: only with the same one, as
    /// far as can be told.
    pub fn answers(self, asked: Self) -> bool {
        match (asked, self) {
            (Self::Absent | Self::NotCaptured, _) | (_, Self::NotCaptured) => true,
            (Self::Present(asked), Self::Present(answered)) => asked == answered,
            (Self::Present(_), Self::Absent) => false,
        }
    }
}

impl Time {
    /// A packet of versions 1 to 4. `payload` is the captured part of `length` octets.
    pub fn new(header: Header, role: Role, payload: &[u8], length: usize) -> Self {
        let trailer = Trailer::parse(payload, length);
        let mut extensions = [0; MAX_EXTENSIONS];
        let mut extension_count = 0;
        for (place, field) in extensions.iter_mut().zip(trailer.extensions()) {
            *place = field.kind;
            extension_count += 1;
        }
        Self {
            header,
            role,
            nts: trailer.has_nts(),
            identifier: match trailer.unique_identifier() {
                Some(Some(body)) => Identifier::Present(digest(body)),
                Some(None) => Identifier::NotCaptured,
                None if trailer.is_whole() => Identifier::Absent,
                None => Identifier::NotCaptured,
            },
            mac: trailer.mac(),
            extensions,
            extension_count,
        }
    }

    /// A packet of version 5.
    pub fn version_5(version5: &Version5, role: Role, payload: &[u8], length: usize) -> Self {
        Self::new(version5.by_place(), role, payload, length)
    }

    /// Types of the extension fields, as far as they were captured.
    pub fn extensions(&self) -> &[u16] {
        let count = usize::from(self.extension_count);
        self.extensions.get(..count).unwrap_or(&self.extensions)
    }

    /// What a request wants to see again as the origin timestamp of its answer. Version 5 has a cookie
    /// for that, in the place of the origin timestamp.
    pub fn cookie(&self) -> NtpTimestamp {
        if self.header.version == 5 {
            self.header.origin_timestamp
        } else {
            self.header.transmit_timestamp
        }
    }
}

impl Packet<Time> {
    /// The header as a message.
    pub fn message(&self) -> wire::NtpPacket {
        let header = &self.content.header;
        let mac = self.content.mac;
        wire::NtpPacket {
            leap: header.leap.into(),
            version: header.version.into(),
            mode: header.mode as u32,
            stratum: header.stratum.into(),
            poll: header.poll.into(),
            precision: header.precision.into(),
            root_delay: header.root_delay,
            root_dispersion: header.root_dispersion,
            reference_id: header.reference_id,
            reference_timestamp: header.reference_timestamp.0,
            origin_timestamp: header.origin_timestamp.0,
            receive_timestamp: header.receive_timestamp.0,
            transmit_timestamp: header.transmit_timestamp.0,
            length: self.length.into(),
            ttl: self.ttl.into(),
            mac_length: mac.length().map(u32::from),
            key_id: match mac {
                Mac::Digest { key_id, .. } => key_id,
                _ => None,
            },
            crypto_nak: mac == Mac::CryptoNak,
            nts: self.content.nts,
        }
    }

    /// The sensor's stamp on the wall clock.
    pub fn stamp(&self) -> NtpTimestamp {
        NtpTimestamp::from_unix_ns(self.captured_at_unix_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_must_repeat_the_identifier_as_far_as_can_be_told() {
        use Identifier::{Absent, NotCaptured, Present};
        for (asked, answered, fits) in [
            (Absent, Absent, true),
            (Absent, Present(1), true),
            (Present(1), Present(1), true),
            (Present(1), Present(2), false),
            (Present(1), Absent, false),
            (Present(1), NotCaptured, true),
            (NotCaptured, Absent, true),
        ] {
            assert_eq!(answered.answers(asked), fits, "{asked:?} {answered:?}");
        }
    }
}
