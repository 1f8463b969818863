//! Who talks to whom by what.

use super::{Fragment, IpHeader, Link, Network, Reader, protocol, udp::field};
use crate::loss::Loss;

/// Addresses, protocol and ports: what names a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FiveTuple {
    /// The two addresses; never [`Network::Other`].
    pub network: Network,
    /// IP protocol number.
    pub protocol: u8,
    /// Source and destination port of TCP or UDP; `None`: another protocol, or a later fragment.
    pub ports: Option<(u16, u16)>,
}

impl FiveTuple {
    /// Reads no more than the ports: an ICMP error may quote just these (RFC 792: eight octets
    /// behind the IP header). `None`: not IP.
    ///
    /// # Errors
    ///
    /// As [`IpHeader::parse`].
    pub fn parse<R: Reader>(reader: &R, link: &Link) -> Result<Option<Self>, Loss> {
        let Some(ip) = IpHeader::parse(reader, link)? else {
            return Ok(None);
        };
        let has_ports =
            ip.fragment != Fragment::Later && matches!(ip.protocol, protocol::TCP | protocol::UDP);
        let ports = if has_ports {
            let ports: [u8; 4] = reader.read(ip.offset)?;
            Some((field(&ports, 0), field(&ports, 2)))
        } else {
            None
        };
        Ok(Some(Self {
            network: ip.addresses.into(),
            protocol: ip.protocol,
            ports,
        }))
    }
}
