//! The link layer: Ethernet with its VLAN tags (IEEE 802.1Q), or nothing.

use super::{ETHERNET_LENGTH, Reader, ethertype};
use crate::loss::Loss;

const VLAN_IDENTIFIER: u16 = 0x0fff;

/// What the link-layer header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// The network layer's EtherType.
    pub ethertype: u16,
    /// Where the network layer starts.
    pub network_offset: usize,
    /// VLAN identifiers, outer first; 0 = no tag, or a priority tag.
    pub vlans: [u16; 2],
}

impl Link {
    /// Reads the header and up to two tags; a tag that the NIC has stripped counts as the first.
    #[inline(always)]
    pub fn parse<R: Reader>(reader: &R, stripped_tag: Option<u16>) -> Result<Self, Loss> {
        let mut link = Self {
            ethertype: reader.read_u16(ETHERNET_LENGTH - 2)?,
            network_offset: ETHERNET_LENGTH,
            vlans: [0; 2],
        };
        // Written out twice instead of indexed: the verifier follows constants more cheaply.
        let room_for_second = match stripped_tag {
            Some(tag) => {
                link.vlans[0] = tag & VLAN_IDENTIFIER;
                if link.is_tagged() {
                    link.vlans[1] = link.take_tag(reader)?;
                }
                false
            }
            None => true,
        };
        if room_for_second && link.is_tagged() {
            link.vlans[0] = link.take_tag(reader)?;
            if link.is_tagged() {
                link.vlans[1] = link.take_tag(reader)?;
            }
        }
        if link.is_tagged() {
            Err(Loss::VlanDepth)
        } else {
            Ok(link)
        }
    }

    /// Ethernet without a tag in the frame; `stripped_tag` as in [`Link::parse`].
    #[inline(always)]
    pub const fn untagged(ethertype: u16, stripped_tag: Option<u16>) -> Self {
        let vlan = match stripped_tag {
            Some(tag) => tag & VLAN_IDENTIFIER,
            None => 0,
        };
        Self {
            ethertype,
            network_offset: ETHERNET_LENGTH,
            vlans: [vlan, 0],
        }
    }

    /// A link without a header of its own (tun, WireGuard, IP-in-IP): the frame starts with the
    /// network layer, whose EtherType is known from elsewhere.
    #[inline(always)]
    pub const fn bare(ethertype: u16) -> Self {
        Self {
            ethertype,
            network_offset: 0,
            vlans: [0; 2],
        }
    }

    #[inline(always)]
    fn is_tagged(&self) -> bool {
        matches!(
            self.ethertype,
            ethertype::VLAN | ethertype::SERVICE_VLAN | ethertype::OLD_SERVICE_VLAN
        )
    }

    #[inline(always)]
    fn take_tag<R: Reader>(&mut self, reader: &R) -> Result<u16, Loss> {
        let tag = reader.read_u16(self.network_offset)?;
        self.ethertype = reader.read_u16(self.network_offset + 2)?;
        self.network_offset += 4;
        Ok(tag & VLAN_IDENTIFIER)
    }
}
