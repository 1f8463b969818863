//! The link layer: Ethernet with its VLAN tags (IEEE 802.1Q) and PPPoE, or nothing.

use super::{ETHERNET_LENGTH, Reader, ethertype, pppoe, udp::field};
use crate::loss::Loss;

/// The bits of a tag that are the VLAN's identifier; the others are priority and drop eligibility.
pub const VLAN_IDENTIFIER: u16 = 0x0fff;

/// What the link-layer header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// The network layer's EtherType; [`ethertype::PPPOE_SESSION`] when PPP carries something that
    /// is not IP.
    pub ethertype: u16,
    /// Where the network layer starts.
    pub network_offset: usize,
    /// VLAN identifiers, outer first; 0 = no tag, or a priority tag.
    pub vlans: [u16; 2],
}

impl Link {
    /// Reads the header, up to two tags and the header of a PPPoE session; a tag that the NIC has
    /// stripped counts as the first.
    ///
    /// # Errors
    ///
    /// [`Loss::Truncated`], [`Loss::VlanDepth`] or [`Loss::Malformed`].
    #[inline(always)]
    pub fn parse<R: Reader>(reader: &R, stripped_tag: Option<u16>) -> Result<Self, Loss> {
        Self::ethernet(reader, 0, stripped_tag)
    }

    /// The Ethernet header of a frame within a tunnel.
    pub(super) fn parse_at<R: Reader>(reader: &R, start: usize) -> Result<Self, Loss> {
        Self::ethernet(reader, start, None)
    }

    #[inline(always)]
    fn ethernet<R: Reader>(
        reader: &R,
        start: usize,
        stripped_tag: Option<u16>,
    ) -> Result<Self, Loss> {
        let mut link = Self::within(
            reader.read_u16(start + ETHERNET_LENGTH - 2)?,
            start + ETHERNET_LENGTH,
        );
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
            return Err(Loss::VlanDepth);
        }
        if link.ethertype == ethertype::PPPOE_SESSION
            && let Some(ethertype) = pppoe::ethertype(reader, link.network_offset)?
        {
            link.ethertype = ethertype;
            link.network_offset += pppoe::LENGTH;
        }
        Ok(link)
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
        Self::within(ethertype, 0)
    }

    /// A network layer inside of another packet.
    #[inline(always)]
    pub(super) const fn within(ethertype: u16, network_offset: usize) -> Self {
        Self {
            ethertype,
            network_offset,
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
        let tag: [u8; 4] = reader.read(self.network_offset)?;
        self.ethertype = field(&tag, 2);
        self.network_offset += tag.len();
        Ok(field(&tag, 0) & VLAN_IDENTIFIER)
    }
}
