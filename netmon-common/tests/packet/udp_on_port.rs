//! The kernel's way to NTP.

use netmon_common::{
    loss::Loss,
    ntp::NtpPorts,
    packet::{Addresses, Link, Slice, udp_on_port},
};

use crate::frames::{NTP, ethernet, ipv4, ipv6, tagged, udp};

fn find(frame: &[u8]) -> Result<Option<(usize, [u16; 2])>, Loss> {
    let found = udp_on_port(
        &Slice(frame),
        Link::parse(&Slice(frame), None)?,
        &NtpPorts::default(),
    )?;
    Ok(found.map(|datagram| (datagram.payload_offset, datagram.vlans)))
}

#[test]
fn a_link_without_a_header_starts_with_the_network_layer() {
    let packet = [ipv4(17, 0, 0), udp(40_000, NTP, 48)].concat();
    let found = udp_on_port(&Slice(&packet), Link::bare(0x0800), &NtpPorts::default()).unwrap();
    assert_eq!(found.unwrap().payload_offset, 28);
    let found = udp_on_port(&Slice(&packet), Link::bare(0x86dd), &NtpPorts::default());
    assert_eq!(found, Err(Loss::Malformed));
}

#[test]
fn ntp_is_found_behind_every_kind_of_header() {
    let hop_by_hop = |next: u8| vec![next, 0, 0, 0, 0, 0, 0, 0];
    let authentication = |next: u8| [vec![next, 4], vec![0; 22]].concat();
    let first_fragment = |next: u8| vec![next, 0, 0, 1, 0, 0, 0, 9];
    let request = udp(40_000, NTP, 48);
    let cases: [(&str, Vec<u8>, usize, [u16; 2]); 8] = [
        (
            "plain",
            [ethernet(0x0800), ipv4(17, 0, 0), request.clone()].concat(),
            42,
            [0, 0],
        ),
        (
            "options",
            [ethernet(0x0800), ipv4(17, 40, 0), request.clone()].concat(),
            82,
            [0, 0],
        ),
        (
            "first fragment",
            [ethernet(0x0800), ipv4(17, 0, 0x2000), request.clone()].concat(),
            42,
            [0, 0],
        ),
        (
            "VLAN",
            [
                tagged(&[(0x8100, 0x6064)], 0x0800),
                ipv4(17, 0, 0),
                request.clone(),
            ]
            .concat(),
            46,
            [100, 0],
        ),
        (
            "QinQ",
            [
                tagged(&[(0x88a8, 200), (0x8100, 100)], 0x86dd),
                ipv6(17),
                request.clone(),
            ]
            .concat(),
            70,
            [200, 100],
        ),
        (
            "IPv6",
            [ethernet(0x86dd), ipv6(17), request.clone()].concat(),
            62,
            [0, 0],
        ),
        (
            "IPv6 with hop-by-hop, AH and first fragment",
            [
                ethernet(0x86dd),
                ipv6(0),
                hop_by_hop(51),
                authentication(44),
                first_fragment(17),
                request.clone(),
            ]
            .concat(),
            102,
            [0, 0],
        ),
        (
            "six extension headers",
            [
                vec![ethernet(0x86dd), ipv6(60)],
                vec![hop_by_hop(60); 5],
                vec![hop_by_hop(17), request.clone()],
            ]
            .concat()
            .concat(),
            110,
            [0, 0],
        ),
    ];
    for (name, frame, offset, vlans) in cases {
        assert_eq!(find(&frame), Ok(Some((offset, vlans))), "{name}");
    }
}

#[test]
fn what_cannot_be_followed_is_a_named_loss() {
    let request = udp(40_000, NTP, 48);
    let hop_by_hop = |next: u8| vec![next, 0, 0, 0, 0, 0, 0, 0];
    let cases: [(&str, Vec<u8>, Loss); 6] = [
        (
            "later IPv4 fragment",
            [ethernet(0x0800), ipv4(17, 0, 185), vec![0; 64]].concat(),
            Loss::LaterFragment,
        ),
        (
            "later IPv6 fragment",
            [
                ethernet(0x86dd),
                ipv6(44),
                vec![17, 0, 5, 0xc9, 0, 0, 0, 9],
                vec![0; 64],
            ]
            .concat(),
            Loss::LaterFragment,
        ),
        (
            "seven extension headers",
            [
                vec![ethernet(0x86dd), ipv6(60)],
                vec![hop_by_hop(60); 7],
                vec![request.clone()],
            ]
            .concat()
            .concat(),
            Loss::ExtensionChain,
        ),
        (
            "three tags",
            [
                tagged(&[(0x88a8, 1), (0x8100, 2), (0x8100, 3)], 0x0800),
                ipv4(17, 0, 0),
                request.clone(),
            ]
            .concat(),
            Loss::VlanDepth,
        ),
        (
            "IPv4 header below the minimum",
            {
                let mut frame = [ethernet(0x0800), ipv4(17, 0, 0), request.clone()].concat();
                frame[14] = 0x44;
                frame
            },
            Loss::Malformed,
        ),
        (
            "UDP length below the minimum",
            {
                let mut frame = [ethernet(0x0800), ipv4(17, 0, 0), request.clone()].concat();
                frame[38..40].copy_from_slice(&7_u16.to_be_bytes());
                frame
            },
            Loss::Malformed,
        ),
    ];
    for (name, frame, loss) in cases {
        assert_eq!(find(&frame), Err(loss), "{name}");
    }
}

#[test]
fn other_traffic_is_ordinary() {
    let cases: [(&str, Vec<u8>); 5] = [
        ("ARP", [ethernet(0x0806), vec![0; 28]].concat()),
        (
            "TCP to port 123",
            [ethernet(0x0800), ipv4(6, 0, 0), udp(40_000, NTP, 48)].concat(),
        ),
        (
            "UDP elsewhere",
            [ethernet(0x0800), ipv4(17, 0, 0), udp(40_000, 53, 48)].concat(),
        ),
        (
            "later fragment of TCP",
            [ethernet(0x0800), ipv4(6, 0, 185), vec![0; 64]].concat(),
        ),
        ("ICMPv6", [ethernet(0x86dd), ipv6(58), vec![0; 64]].concat()),
    ];
    for (name, frame) in cases {
        assert_eq!(find(&frame), Ok(None), "{name}");
    }
}

#[test]
fn a_frame_cut_anywhere_within_its_headers_is_truncated() {
    let whole = [tagged(&[(0x8100, 7)], 0x86dd), ipv6(17), udp(NTP, NTP, 48)].concat();
    let headers = whole.len() - 48;
    for length in 0..headers {
        assert_eq!(
            find(&whole[..length]),
            Err(Loss::Truncated),
            "cut at {length}"
        );
    }
    for length in headers..whole.len() {
        assert_eq!(
            find(&whole[..length]),
            Ok(Some((headers, [7, 0]))),
            "cut at {length}"
        );
    }
}

#[test]
fn a_tag_that_the_nic_stripped_is_the_outer_one() {
    let inner = [
        tagged(&[(0x8100, 100)], 0x0800),
        ipv4(17, 0, 0),
        udp(NTP, 40_000, 48),
    ]
    .concat();
    let link = Link::parse(&Slice(&inner), Some(0xe0c8)).unwrap();
    let datagram = udp_on_port(&Slice(&inner), link, &NtpPorts::default())
        .unwrap()
        .unwrap();
    assert_eq!(datagram.vlans, [200, 100]);
    assert_eq!(
        datagram.addresses,
        Addresses::V4([192, 0, 2, 1], [192, 0, 2, 2])
    );
    assert_eq!((datagram.ttl, datagram.payload_length), (64, 48));
}

#[test]
fn a_port_of_the_set_is_looked_for_and_no_other() {
    let set = NtpPorts::new([NTP, 1123]).unwrap();
    let found = |source, destination, set: &NtpPorts| {
        let frame = [
            ethernet(0x0800),
            ipv4(17, 0, 0),
            udp(source, destination, 48),
        ]
        .concat();
        let link = Link::parse(&Slice(&frame), None).unwrap();
        udp_on_port(&Slice(&frame), link, set).unwrap().is_some()
    };
    for (source, destination) in [(40_000, 1123), (1123, 40_000), (NTP, 1123), (40_000, NTP)] {
        assert!(
            found(source, destination, &set),
            "{source} to {destination}"
        );
        assert!(!found(source, destination, &NtpPorts::NONE));
    }
    assert!(!found(40_000, 1124, &set));
    assert!(!found(40_000, 1123, &NtpPorts::default()));
}
