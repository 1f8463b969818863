//! How long the headers are that every segment of a GSO or GRO buffer repeats.

use super::{Link, Reader, Transport, protocol};
use crate::loss::Loss;

/// Octets from the link-layer header to the end of the TCP or UDP header; `None` for other
/// transports, which are not segmented.
///
/// # Errors
///
/// The [`Loss`] that keeps the headers from being read.
#[inline(always)]
pub fn headers_length<R: Reader>(reader: &R, link: Link) -> Result<Option<usize>, Loss> {
    let Some(transport) = Transport::parse(reader, &link)? else {
        return Ok(None);
    };
    match transport.protocol {
        protocol::UDP => Ok(Some(transport.offset + 8)),
        protocol::TCP => {
            // RFC 9293 section 3.1: the data offset counts 4-octet words.
            let data_offset = reader.read_u8(transport.offset + 12)? >> 4;
            Ok(Some(transport.offset + usize::from(data_offset) * 4))
        }
        _ => Ok(None),
    }
}
