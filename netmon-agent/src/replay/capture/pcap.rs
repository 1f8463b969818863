//! The classic format (draft-ietf-opsawg-pcap), in either byte order, in microseconds or
//! nanoseconds.

use std::io::Read;

use super::{Damage, MAX_RECORD, OpenError, Record, order::Order, read_data, source::Source};

const MICROSECONDS: u32 = 0xa1b2_c3d4;
const NANOSECONDS: u32 = 0xa1b2_3c4d;
/// A patched libpcap of the nineties: records have eight octets more.
const KUZNETZOV: u32 = 0xa1b2_cd34;

/// What the file's header says.
#[derive(Debug)]
pub(super) struct Pcap {
    order: Order,
    /// Nanoseconds in a unit of a record's fraction.
    unit_ns: i64,
    link_type: u16,
    /// Octets of a record's header behind the usual 16.
    further: u64,
}

impl Pcap {
    /// Whether a file that starts like this is of this format.
    pub(super) fn recognises(magic: [u8; 4]) -> bool {
        Self::from_magic(magic).is_some()
    }

    fn from_magic(magic: [u8; 4]) -> Option<Self> {
        [Order::Little, Order::Big].into_iter().find_map(|order| {
            let (unit_ns, further) = match order.u32(magic) {
                MICROSECONDS => (1000, 0),
                NANOSECONDS => (1, 0),
                KUZNETZOV => (1000, 8),
                _ => return None,
            };
            Some(Self {
                order,
                unit_ns,
                link_type: 0,
                further,
            })
        })
    }

    /// Reads the rest of the file's header.
    pub(super) fn open<R: Read>(magic: [u8; 4], source: &mut Source<R>) -> Result<Self, OpenError> {
        let mut pcap = Self::from_magic(magic).ok_or(OpenError::NotACapture)?;
        let header: [u8; 20] = source.take().map_err(|_| OpenError::HeaderCut)?;
        let version = pcap.order.half(&header, 0);
        if version != 2 {
            return Err(OpenError::Version("pcap", version));
        }
        // The upper half says whether frames end in a checksum, and how long that is.
        pcap.link_type = pcap.order.word(&header, 16) as u16;
        Ok(pcap)
    }

    /// The next record; `None`: the file is over.
    pub(super) fn next<R: Read>(
        &mut self,
        source: &mut Source<R>,
        data: &mut Vec<u8>,
    ) -> Result<Option<Record>, Damage> {
        let mut header = [0; 16];
        if !source.read(&mut header)? {
            return Ok(None);
        }
        let word = |at| self.order.word(&header, at);
        let (seconds, fraction, captured, length) = (word(0), word(4), word(8), word(12));
        if captured > MAX_RECORD {
            return Err(Damage::RecordLength(captured));
        }
        source.skip(self.further)?;
        read_data(source, data, captured)?;
        Ok(Some(Record {
            time_ns: Some(i64::from(seconds) * 1_000_000_000 + i64::from(fraction) * self.unit_ns),
            interface: None,
            link_type: self.link_type,
            captured,
            length,
            direction: None,
        }))
    }
}
