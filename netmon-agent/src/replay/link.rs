//! Link types: every frame becomes the Ethernet frame that a hook would have seen.

use netmon_common::{
    counters::Direction,
    loss::Loss,
    packet::{ETHERNET_LENGTH, ethertype},
};

// Numbers of <https://www.tcpdump.org/linktypes.html>.
const NULL: u16 = 0;
const ETHERNET: u16 = 1;
/// Raw IP where DLT numbers were written: BSD/OS and OpenBSD differ from the others.
const RAW_OLD: [u16; 2] = [12, 14];
const RAW: u16 = 101;
const LOOP: u16 = 108;
const LINUX_COOKED: u16 = 113;
const IPV4: u16 = 228;
const IPV6: u16 = 229;
const LINUX_COOKED_2: u16 = 276;

/// Packet type of Linux's cooked headers: sent by the host.
const OUTGOING: u16 = 4;
const ADDRESSES: [u8; ETHERNET_LENGTH - 2] = [0; ETHERNET_LENGTH - 2];

/// A frame as the programs read it.
pub(super) struct Ethernet<'a> {
    /// The frame, or what stands for it.
    pub(super) octets: &'a [u8],
    /// Which way it went, where its header says so.
    pub(super) direction: Option<Direction>,
}

/// Why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoFrame {
    /// The frame ends within its link-layer header.
    Lost(Loss),
    /// Nobody here reads frames of this type.
    UnsupportedLink,
}

impl<'a> Ethernet<'a> {
    /// Puts an Ethernet header in the place of another one. `room` holds the result.
    pub(super) fn of(
        link_type: u16,
        data: &'a [u8],
        room: &'a mut Vec<u8>,
    ) -> Result<Self, NoFrame> {
        let (ethertype, header, direction) = match link_type {
            ETHERNET => {
                return Ok(Self {
                    octets: data,
                    direction: None,
                });
            }
            NULL | LOOP => (family(link_type, take(data, 0)?), 4, None),
            RAW => (version(data), 0, None),
            link_type if RAW_OLD.contains(&link_type) => (version(data), 0, None),
            IPV4 => (ethertype::IPV4, 0, None),
            IPV6 => (ethertype::IPV6, 0, None),
            LINUX_COOKED => {
                let packet_type = u16::from_be_bytes(take(data, 0)?);
                (
                    u16::from_be_bytes(take(data, 14)?),
                    16,
                    direction(packet_type),
                )
            }
            LINUX_COOKED_2 => {
                let [packet_type] = take(data, 10)?;
                let _whole: [u8; 20] = take(data, 0)?;
                (
                    u16::from_be_bytes(take(data, 0)?),
                    20,
                    direction(packet_type.into()),
                )
            }
            _ => return Err(NoFrame::UnsupportedLink),
        };
        room.clear();
        room.extend(ADDRESSES);
        room.extend(ethertype.to_be_bytes());
        room.extend(data.get(header..).unwrap_or(&[]));
        Ok(Self {
            octets: room,
            direction,
        })
    }
}

fn take<const N: usize>(data: &[u8], at: usize) -> Result<[u8; N], NoFrame> {
    let octets = data.get(at..).and_then(<[u8]>::first_chunk);
    octets.copied().ok_or(NoFrame::Lost(Loss::Truncated))
}

/// Raw IP says by its first half octet which version it is.
fn version(data: &[u8]) -> u16 {
    match data.first().map(|octet| octet >> 4) {
        Some(4) => ethertype::IPV4,
        Some(6) => ethertype::IPV6,
        _ => 0,
    }
}

/// The address family of BSD's loopback: in the byte order of the host that captured (link type 0),
/// or of the network (108). Every system has its own number for IPv6.
fn family(link_type: u16, octets: [u8; 4]) -> u16 {
    let family = u32::from_be_bytes(octets);
    let family = match link_type {
        NULL if family > u16::MAX.into() => family.swap_bytes(),
        _ => family,
    };
    match family {
        2 => ethertype::IPV4,
        10 | 24 | 28 | 30 => ethertype::IPV6,
        _ => 0,
    }
}

fn direction(packet_type: u16) -> Option<Direction> {
    Some(if packet_type == OUTGOING {
        Direction::Egress
    } else {
        Direction::Ingress
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ethertype(link_type: u16, data: &[u8]) -> Result<(u16, Option<Direction>), NoFrame> {
        let mut room = Vec::new();
        let ethernet = Ethernet::of(link_type, data, &mut room)?;
        let octets = ethernet.octets;
        Ok((
            u16::from_be_bytes([octets[12], octets[13]]),
            ethernet.direction,
        ))
    }

    #[test]
    fn every_header_says_what_follows() {
        let cooked = |packet_type: u8, protocol: [u8; 2]| {
            [&[0, packet_type], &[0; 12][..], &protocol, &[0x45]].concat()
        };
        let cooked_2 = |packet_type: u8, protocol: [u8; 2]| {
            [&protocol, &[0; 8][..], &[packet_type], &[0; 9], &[0x60]].concat()
        };
        let (ingress, egress) = (Some(Direction::Ingress), Some(Direction::Egress));
        let cases: [(u16, Vec<u8>, u16, Option<Direction>); 13] = [
            (0, vec![2, 0, 0, 0, 0x45], 0x0800, None),
            (0, vec![0, 0, 0, 30, 0x60], 0x86dd, None),
            (0, vec![24, 0, 0, 0, 0x60], 0x86dd, None),
            (108, vec![0, 0, 0, 2, 0x45], 0x0800, None),
            (108, vec![0, 0, 0, 9, 0x45], 0, None),
            (12, vec![0x45], 0x0800, None),
            (14, vec![0x60], 0x86dd, None),
            (101, vec![0x00], 0, None),
            (228, vec![0x45], 0x0800, None),
            (229, vec![0x60], 0x86dd, None),
            (113, cooked(0, [8, 0]), 0x0800, ingress),
            (113, cooked(4, [0x81, 0]), 0x8100, egress),
            (276, cooked_2(4, [0x86, 0xdd]), 0x86dd, egress),
        ];
        for (link_type, data, expected, direction) in cases {
            let found = ethertype(link_type, &data);
            assert_eq!(found, Ok((expected, direction)), "{link_type}: {data:02x?}");
        }
    }

    #[test]
    fn a_header_that_is_cut_is_a_loss_and_an_unknown_one_is_named() {
        let lost = Err(NoFrame::Lost(Loss::Truncated));
        for (link_type, header) in [(0, 4), (108, 4), (113, 16), (276, 20)] {
            for length in 0..header {
                assert_eq!(ethertype(link_type, &vec![0; length]), lost, "{link_type}");
            }
            assert!(
                ethertype(link_type, &vec![0; header]).is_ok(),
                "{link_type}"
            );
        }
        assert_eq!(ethertype(105, &[0; 40]), Err(NoFrame::UnsupportedLink));
    }
}
