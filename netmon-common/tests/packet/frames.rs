//! Frames header by header.

use netmon_common::packet::Network;

pub const NTP: u16 = 123;

pub fn ethernet(ethertype: u16) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    frame.extend(ethertype.to_be_bytes());
    frame
}

pub fn tagged(tags: &[(u16, u16)], ethertype: u16) -> Vec<u8> {
    let mut frame = ethernet(0);
    frame.truncate(12);
    for (tpid, tci) in tags {
        frame.extend(tpid.to_be_bytes());
        frame.extend(tci.to_be_bytes());
    }
    frame.extend(ethertype.to_be_bytes());
    frame
}

pub fn ipv4(protocol: u8, options: usize, fragment: u16) -> Vec<u8> {
    let mut header = vec![0x45 + options as u8 / 4, 0, 0, 0, 0, 1];
    header.extend(fragment.to_be_bytes());
    header.extend([64, protocol, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2]);
    header.extend(vec![1; options]);
    header
}

pub fn ipv6(next_header: u8) -> Vec<u8> {
    let mut header = vec![0x60, 0, 0, 0, 0, 0, next_header, 63];
    header.extend([0xfe; 16]);
    header.extend([0xfd; 16]);
    header
}

pub fn pppoe(protocol: u16) -> Vec<u8> {
    let mut header = vec![0x11, 0, 0, 7, 0, 78];
    header.extend(protocol.to_be_bytes());
    header
}

pub fn udp(source: u16, destination: u16, payload: usize) -> Vec<u8> {
    let mut datagram = Vec::new();
    datagram.extend(source.to_be_bytes());
    datagram.extend(destination.to_be_bytes());
    datagram.extend((payload as u16 + 8).to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(vec![0x23; payload]);
    datagram
}

pub fn tcp(source: u16, destination: u16, flags: u8, options: usize) -> Vec<u8> {
    let mut segment = Vec::new();
    segment.extend(source.to_be_bytes());
    segment.extend(destination.to_be_bytes());
    segment.extend([0; 8]);
    segment.extend([0x50 + (options as u8 / 4 * 16), flags, 0, 0, 0, 0, 0, 0]);
    segment.extend(vec![1; options]);
    segment
}

/// Of every IPv4 header here.
pub const ADDRESSES: Network = Network::V4 {
    source: [192, 0, 2, 1],
    destination: [192, 0, 2, 2],
};
