//! Frames built header by header.

/// Ethernet with tags in the frame, outer first, as (EtherType of the tag, VLAN).
#[must_use]
pub fn ethernet(tags: &[(u16, u16)], ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    for (kind, vlan) in tags {
        frame.extend(kind.to_be_bytes());
        // Priority 3: more than the identifier stands in a tag.
        frame.extend((0x6000 | vlan).to_be_bytes());
    }
    frame.extend(ethertype.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A PPPoE session's header; `protocol` is PPP's number.
#[must_use]
pub fn pppoe(code: u8, protocol: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x11, code, 0, 7];
    packet.extend((payload.len() as u16 + 2).to_be_bytes());
    packet.extend(protocol.to_be_bytes());
    packet.extend(payload);
    packet
}

/// IPv4; `options` in octets, `fragment` is the whole 16-bit field.
#[must_use]
pub fn ipv4(protocol: u8, options: usize, fragment: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45 + options as u8 / 4, 0];
    packet.extend((20 + options as u16 + payload.len() as u16).to_be_bytes());
    packet.extend([0, 1]);
    packet.extend(fragment.to_be_bytes());
    packet.extend([64, protocol, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2]);
    packet.extend(vec![1; options]);
    packet.extend(payload);
    packet
}

/// IPv6 with the extension headers given, each as (its number, octets behind the first).
#[must_use]
pub fn ipv6(extensions: &[(u8, &[u8])], next_header: u8, payload: &[u8]) -> Vec<u8> {
    let first = extensions.first().map_or(next_header, |(kind, _)| *kind);
    let mut chain = Vec::new();
    for (index, (_, rest)) in extensions.iter().enumerate() {
        chain.push(
            extensions
                .get(index + 1)
                .map_or(next_header, |(kind, _)| *kind),
        );
        chain.extend(*rest);
    }
    chain.extend(payload);
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((chain.len() as u16).to_be_bytes());
    packet.extend([first, 63]);
    for host in [1, 2] {
        packet.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, host]);
    }
    packet.extend(chain);
    packet
}

/// UDP without a checksum.
#[must_use]
pub fn udp(source: u16, destination: u16, payload: &[u8]) -> Vec<u8> {
    let mut datagram = Vec::new();
    datagram.extend(source.to_be_bytes());
    datagram.extend(destination.to_be_bytes());
    datagram.extend((payload.len() as u16 + 8).to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(payload);
    datagram
}

/// TCP; `options` in octets.
#[must_use]
pub fn tcp(source: u16, destination: u16, flags: u8, options: usize, payload: &[u8]) -> Vec<u8> {
    let mut segment = Vec::new();
    segment.extend(source.to_be_bytes());
    segment.extend(destination.to_be_bytes());
    segment.extend([0, 0, 0, 1, 0, 0, 0, 2]);
    segment.extend([
        0x50 + (options as u8 / 4 * 16),
        flags,
        0xff,
        0xff,
        0,
        0,
        0,
        0,
    ]);
    segment.extend(vec![1; options]);
    segment.extend(payload);
    segment
}

/// ICMP or ICMPv6.
#[must_use]
pub fn icmp(kind: u8, code: u8, body: &[u8]) -> Vec<u8> {
    [&[kind, code, 0, 0, 0, 0, 0, 0], body].concat()
}

/// GRE with a key and a sequence number.
#[must_use]
pub fn gre(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let [high, low] = ethertype.to_be_bytes();
    [&[0x30, 0, high, low, 0, 0, 0, 5, 0, 0, 0, 6], payload].concat()
}

/// VXLAN with its UDP header.
#[must_use]
pub fn vxlan(frame: &[u8]) -> Vec<u8> {
    udp(50_000, 4789, &[&[8, 0, 0, 0, 0, 0, 9, 0], frame].concat())
}
