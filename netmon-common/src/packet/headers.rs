//! How long the headers are that every segment of a GSO or GRO buffer repeats.

use super::{Fragment, IpHeader, Link, Reader, UDP_LENGTH, protocol};
use crate::loss::Loss;

/// Octets from the link-layer header to the end of the TCP or UDP header; `None` for other
/// transports, which are not segmented.
///
/// # Errors
///
/// The [`Loss`] that keeps the headers from being read.
#[inline(always)]
pub fn headers_length<R: Reader>(reader: &R, link: Link) -> Result<Option<usize>, Loss> {
    let Some(ip) = IpHeader::parse(reader, &link)? else {
        return Ok(None);
    };
    match ip.protocol {
        _ if ip.fragment == Fragment::Later => Ok(None),
        protocol::UDP => Ok(Some(ip.offset + UDP_LENGTH)),
        protocol::TCP => {
            // RFC 9293 section 3.1: the data offset counts 4-octet words.
            let data_offset = reader.read_u8(ip.offset + 12)? >> 4;
            Ok(Some(ip.offset + usize::from(data_offset) * 4))
        }
        _ => Ok(None),
    }
}
