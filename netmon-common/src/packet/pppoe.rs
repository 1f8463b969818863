//! PPP over Ethernet (RFC 2516), once the session is up.

use super::{Reader, ethertype};
use crate::loss::Loss;

/// Octets of the PPPoE header and PPP's protocol number.
pub(super) const LENGTH: usize = 8;

const VERSION_AND_TYPE: u8 = 0x11;
const SESSION_DATA: u8 = 0;
const PPP_IPV4: u16 = 0x0021;
const PPP_IPV6: u16 = 0x0057;

/// The EtherType of what PPP carries; `None`: it is not IP.
#[inline(always)]
pub(super) fn ethertype<R: Reader>(reader: &R, start: usize) -> Result<Option<u16>, Loss> {
    let header: [u8; LENGTH] = reader.read(start)?;
    if header[0] != VERSION_AND_TYPE {
        return Err(Loss::Malformed);
    }
    if header[1] != SESSION_DATA {
        return Ok(None);
    }
    Ok(match u16::from_be_bytes([header[6], header[7]]) {
        PPP_IPV4 => Some(ethertype::IPV4),
        PPP_IPV6 => Some(ethertype::IPV6),
        _ => None,
    })
}
