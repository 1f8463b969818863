//! How long the headers are that every segment of a GSO or GRO buffer repeats.

use super::{Fragment, IpHeader, Link, Reader, UDP_LENGTH, protocol};
use crate::loss::Loss;

/// Octets from the link-layer header to the end of the TCP or UDP header; `None` for other
/// transports, which are not segmented.
///
/// # Errors
///
/// The [`Loss`] that keeps the headers from being read.
pub fn headers_length<R: Reader>(reader: &R, link: Link) -> Result<Option<usize>, Loss> {
    match IpHeader::parse(reader, &link)? {
        Some(ip) if ip.fragment != Fragment::Later => headers_end(reader, ip.protocol, ip.offset),
        _ => Ok(None),
    }
}

/// As [`headers_length`], where the transport header of `protocol` is known to start at `offset`.
///
/// # Errors
///
/// [`Loss::Truncated`].
#[inline(always)]
pub fn headers_end<R: Reader>(
    reader: &R,
    protocol: u8,
    offset: usize,
) -> Result<Option<usize>, Loss> {
    match protocol {
        protocol::UDP => Ok(Some(offset + UDP_LENGTH)),
        protocol::TCP => {
            // RFC 9293 section 3.1: the data offset counts 4-octet words.
            let data_offset = reader.read_u8(offset + 12)? >> 4;
            Ok(Some(offset + usize::from(data_offset) * 4))
        }
        _ => Ok(None),
    }
}
