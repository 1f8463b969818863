//! Link layers of the golden packets.

use netmon_lab::frames::{ethernet, pppoe};

use super::{IPV4, IPV6, OLD_SERVICE_VLAN, PPPOE, SERVICE_VLAN, VLAN};

/// What stands before the network layer.
pub type Wrap = fn(version: u8, packet: &[u8]) -> Vec<u8>;

/// Every link layer, by the name it gives a packet.
pub const LINKS: [(&str, Wrap); 9] = [
    ("", |version, packet| {
        ethernet(&[], ethertype(version), packet)
    }),
    ("VLAN ", |version, packet| {
        ethernet(&[(VLAN, 100)], ethertype(version), packet)
    }),
    ("priority tag ", |version, packet| {
        ethernet(&[(VLAN, 0)], ethertype(version), packet)
    }),
    ("QinQ ", |version, packet| {
        ethernet(
            &[(SERVICE_VLAN, 200), (VLAN, 100)],
            ethertype(version),
            packet,
        )
    }),
    ("old QinQ ", |version, packet| {
        ethernet(
            &[(OLD_SERVICE_VLAN, 200), (VLAN, 100)],
            ethertype(version),
            packet,
        )
    }),
    ("PPPoE ", |version, packet| {
        ethernet(&[], PPPOE, &session(version, packet))
    }),
    ("VLAN PPPoE ", |version, packet| {
        ethernet(&[(VLAN, 7)], PPPOE, &session(version, packet))
    }),
    ("QinQ PPPoE ", |version, packet| {
        ethernet(
            &[(SERVICE_VLAN, 200), (VLAN, 7)],
            PPPOE,
            &session(version, packet),
        )
    }),
    ("three tags ", |version, packet| {
        let tags = [(SERVICE_VLAN, 1), (VLAN, 2), (VLAN, 3)];
        ethernet(&tags, ethertype(version), packet)
    }),
];

fn ethertype(version: u8) -> u16 {
    if version == 4 { IPV4 } else { IPV6 }
}

/// A PPPoE session with IP of this version.
pub fn session(version: u8, packet: &[u8]) -> Vec<u8> {
    pppoe(0, if version == 4 { 0x0021 } else { 0x0057 }, packet)
}
