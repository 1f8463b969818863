//! Frames, made by hand.

/// An Ethernet frame for somebody else's link-layer address: who receives it throws it away behind
/// the hooks, without a route or an answer.
pub fn ethernet(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    frame.extend(ethertype.to_be_bytes());
    frame.extend(payload);
    frame
}

pub fn vlan(frame: &[u8]) -> Vec<u8> {
    [&frame[..12], &[0x81, 0, 0, 100], &frame[12..]].concat()
}

pub fn ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    ipv4_from([192, 0, 2, 1], protocol, payload)
}

fn ipv4_from(source: [u8; 4], protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut header = vec![0x45, 0, 0, 0, 0, 1, 0, 0, 64, protocol, 0, 0];
    header.extend(source);
    header.extend([192, 0, 2, 2]);
    header[2..4].copy_from_slice(&(20 + payload.len() as u16).to_be_bytes());
    let sum: u32 = header
        .chunks(2)
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
        .sum();
    let checksum = !((sum & 0xffff) + (sum >> 16)) as u16;
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    header.extend(payload);
    ethernet(0x0800, &header)
}

pub fn ipv6(next_header: u8, payload: &[u8]) -> Vec<u8> {
    let mut header = vec![0x60, 0, 0, 0, 0, 0, next_header, 64];
    header[4..6].copy_from_slice(&(payload.len() as u16).to_be_bytes());
    header.extend([0xfd; 32]);
    header.extend(payload);
    ethernet(0x86dd, &header)
}

pub fn udp(source: u16, destination: u16, payload: usize) -> Vec<u8> {
    let mut datagram = Vec::new();
    datagram.extend(source.to_be_bytes());
    datagram.extend(destination.to_be_bytes());
    datagram.extend((payload as u16 + 8).to_be_bytes());
    datagram.extend([0, 0]);
    datagram.push(0x23);
    datagram.resize(8 + payload, 0);
    datagram
}

pub fn tcp(source: u16, flags: u8, payload: usize) -> Vec<u8> {
    let mut segment = source.to_be_bytes().to_vec();
    segment.extend(443_u16.to_be_bytes());
    segment.extend([0; 8]);
    segment.extend([5 << 4, flags, 1, 0, 0, 0, 0, 0]);
    segment.resize(20 + payload, 7);
    segment
}

/// The shortest frames that Ethernet knows (60 octets without the check sequence), UDP, each of a
/// flow of its own: 64 ports of each address.
pub fn flows(count: u32) -> Vec<Vec<u8>> {
    let frame = |number: u32| {
        let [_, _, a, b] = (number >> 6).to_be_bytes();
        ipv4_from(
            [10, 192, a, b],
            17,
            &udp(1024 + (number as u16 & 63), 9, 18),
        )
    };
    (0..count).map(frame).collect()
}
