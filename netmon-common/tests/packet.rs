//! The packet parser over frames built by hand.

use netmon_common::{
    loss::Loss,
    packet::{
        Addresses, FiveTuple, Link, Network, Packet, Slice, Transport, headers_length, inner,
        parse, quoted, tcp_flag, udp_on_port,
    },
};

const NTP: u16 = 123;

fn ethernet(ethertype: u16) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    frame.extend(ethertype.to_be_bytes());
    frame
}

fn tagged(tags: &[(u16, u16)], ethertype: u16) -> Vec<u8> {
    let mut frame = ethernet(0);
    frame.truncate(12);
    for (tpid, tci) in tags {
        frame.extend(tpid.to_be_bytes());
        frame.extend(tci.to_be_bytes());
    }
    frame.extend(ethertype.to_be_bytes());
    frame
}

fn ipv4(protocol: u8, options: usize, fragment: u16) -> Vec<u8> {
    let mut header = vec![0x45 + options as u8 / 4, 0, 0, 0, 0, 1];
    header.extend(fragment.to_be_bytes());
    header.extend([64, protocol, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2]);
    header.extend(vec![1; options]);
    header
}

fn ipv6(next_header: u8) -> Vec<u8> {
    let mut header = vec![0x60, 0, 0, 0, 0, 0, next_header, 63];
    header.extend([0xfe; 16]);
    header.extend([0xfd; 16]);
    header
}

fn udp(source: u16, destination: u16, payload: usize) -> Vec<u8> {
    let mut datagram = Vec::new();
    datagram.extend(source.to_be_bytes());
    datagram.extend(destination.to_be_bytes());
    datagram.extend((payload as u16 + 8).to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(vec![0x23; payload]);
    datagram
}

fn find(frame: &[u8]) -> Result<Option<(usize, [u16; 2])>, Loss> {
    let found = udp_on_port(&Slice(frame), Link::parse(&Slice(frame), None)?, NTP)?;
    Ok(found.map(|datagram| (datagram.payload_offset, datagram.vlans)))
}

fn ethernet_link(frame: &[u8]) -> Link {
    Link::parse(&Slice(frame), None).unwrap()
}

#[test]
fn a_link_without_a_header_starts_with_the_network_layer() {
    let packet = [ipv4(17, 0, 0), udp(40_000, NTP, 48)].concat();
    let found = udp_on_port(&Slice(&packet), Link::bare(0x0800), NTP).unwrap();
    assert_eq!(found.unwrap().payload_offset, 28);
    let found = udp_on_port(&Slice(&packet), Link::bare(0x86dd), NTP);
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
    let datagram = udp_on_port(&Slice(&inner), link, NTP).unwrap().unwrap();
    assert_eq!(datagram.vlans, [200, 100]);
    assert_eq!(
        datagram.addresses,
        Addresses::V4([192, 0, 2, 1], [192, 0, 2, 2])
    );
    assert_eq!((datagram.ttl, datagram.payload_length), (64, 48));
}

#[test]
fn the_headers_of_a_segment_end_behind_tcp_options() {
    let mut tcp = vec![0; 32];
    tcp[12] = 0x80;
    let frame = [ethernet(0x0800), ipv4(6, 0, 0), tcp].concat();
    assert_eq!(
        headers_length(&Slice(&frame), ethernet_link(&frame)),
        Ok(Some(66))
    );
    let frame = [ethernet(0x0800), ipv4(17, 0, 0), udp(1, 2, 0)].concat();
    assert_eq!(
        headers_length(&Slice(&frame), ethernet_link(&frame)),
        Ok(Some(42))
    );
    let frame = [ethernet(0x0800), ipv4(1, 0, 0), vec![0; 8]].concat();
    assert_eq!(
        headers_length(&Slice(&frame), ethernet_link(&frame)),
        Ok(None)
    );
}

fn tcp(source: u16, destination: u16, flags: u8, options: usize) -> Vec<u8> {
    let mut segment = Vec::new();
    segment.extend(source.to_be_bytes());
    segment.extend(destination.to_be_bytes());
    segment.extend([0; 8]);
    segment.extend([0x50 + (options as u8 / 4 * 16), flags, 0, 0, 0, 0, 0, 0]);
    segment.extend(vec![1; options]);
    segment
}

fn pppoe(protocol: u16) -> Vec<u8> {
    let mut header = vec![0x11, 0, 0, 7, 0, 78];
    header.extend(protocol.to_be_bytes());
    header
}

fn whole(frame: &[u8]) -> Result<Packet, Loss> {
    parse(&Slice(frame), Link::parse(&Slice(frame), None)?)
}

const ADDRESSES: Network = Network::V4 {
    source: [192, 0, 2, 1],
    destination: [192, 0, 2, 2],
};

#[test]
fn a_packet_is_read_down_to_its_transport() {
    let request = udp(40_000, NTP, 48);
    let cases: [(&str, Vec<u8>, Transport); 7] = [
        (
            "TCP with options",
            [ethernet(0x0800), ipv4(6, 0, 0), tcp(1025, 443, 0x12, 12)].concat(),
            Transport::Tcp {
                source_port: 1025,
                destination_port: 443,
                flags: tcp_flag::SYN | tcp_flag::ACK,
                payload_offset: 66,
            },
        ),
        (
            "UDP in a PPPoE session in a VLAN",
            [
                tagged(&[(0x8100, 7)], 0x8864),
                pppoe(0x0021),
                ipv4(17, 4, 0),
                request.clone(),
            ]
            .concat(),
            Transport::Udp {
                source_port: 40_000,
                destination_port: NTP,
                payload_offset: 58,
                payload_length: 48,
            },
        ),
        (
            "ICMP",
            [ethernet(0x0800), ipv4(1, 0, 0), vec![3, 1, 0, 0]].concat(),
            Transport::Icmp {
                kind: 3,
                code: 1,
                payload_offset: 42,
            },
        ),
        (
            "ICMPv6 over IPv4 is another protocol",
            [ethernet(0x0800), ipv4(58, 0, 0), vec![1; 8]].concat(),
            Transport::Other,
        ),
        (
            "later fragment of IPv6",
            [ethernet(0x86dd), ipv6(44), vec![6, 0, 0, 8, 0, 0, 0, 9]].concat(),
            Transport::LaterFragment,
        ),
        (
            "PPPoE without IP",
            [ethernet(0x8864), pppoe(0xc021), vec![1; 8]].concat(),
            Transport::None,
        ),
        (
            "ARP",
            [ethernet(0x0806), vec![0; 28]].concat(),
            Transport::None,
        ),
    ];
    for (name, frame, transport) in cases {
        assert_eq!(whole(&frame).map(|p| p.transport), Ok(transport), "{name}");
    }
    let frame = [ethernet(0x8864), pppoe(0xc021), vec![1; 8]].concat();
    let ethertype = 0x8864;
    assert_eq!(
        whole(&frame).map(|p| p.network),
        Ok(Network::Other { ethertype })
    );
}

#[test]
fn headers_that_contradict_themselves_are_malformed() {
    let mut short = tcp(1, 2, 0, 0);
    short[12] = 0x40;
    let mut empty = udp(1, 2, 0);
    empty[5] = 7;
    let mut session = pppoe(0x0021);
    session[0] = 0x21;
    for (name, frame) in [
        ("TCP", [ethernet(0x0800), ipv4(6, 0, 0), short].concat()),
        ("UDP", [ethernet(0x0800), ipv4(17, 0, 0), empty].concat()),
        (
            "PPPoE",
            [ethernet(0x8864), session, ipv4(17, 0, 0)].concat(),
        ),
    ] {
        assert_eq!(whole(&frame), Err(Loss::Malformed), "{name}");
    }
}

#[test]
fn padding_behind_the_packet_is_not_its_payload() {
    let mut packet = ipv4(6, 0, 0);
    packet[3] = 40;
    let frame = [ethernet(0x0800), packet, tcp(1, 2, 0x10, 0), vec![0; 6]].concat();
    assert_eq!(frame.len(), 60);
    assert_eq!(whole(&frame).map(|packet| packet.end), Ok(54));
}

#[test]
fn an_icmp_error_names_the_request_that_was_refused() {
    let request = [ipv4(17, 8, 0), udp(40_000, NTP, 0)].concat();
    let refused = Ok(Some(FiveTuple {
        network: ADDRESSES,
        protocol: 17,
        ports: Some((40_000, NTP)),
    }));
    let error = |kind: u8, body: &[u8]| {
        [
            &ethernet(0x0800)[..],
            &ipv4(1, 0, 0),
            &[kind, 3, 0, 0, 0, 0, 0, 0],
            body,
        ]
        .concat()
    };
    let ask = |frame: &[u8]| quoted(&Slice(frame), &whole(frame)?);
    assert_eq!(ask(&error(3, &request)), refused);
    // RFC 792: eight octets behind the IP header are quoted, at least.
    let syn = [ipv4(6, 0, 0), tcp(1025, 443, 2, 0)[..8].to_vec()].concat();
    let ports = ask(&error(11, &syn)).map(|tuple| tuple.and_then(|tuple| tuple.ports));
    assert_eq!(ports, Ok(Some((1025, 443))));
    assert_eq!(
        ask(&error(0, &request)),
        Ok(None),
        "an echo reply quotes nothing"
    );
    for length in 0..request.len() - 4 {
        let cut = error(3, &request[..length]);
        let expected = if length < 32 {
            Err(Loss::Truncated)
        } else {
            refused
        };
        assert_eq!(ask(&cut), expected, "cut at {length}");
    }
    let request6 = [ipv6(17), udp(40_000, NTP, 0)].concat();
    let error6 = |kind: u8| {
        [
            &ethernet(0x86dd)[..],
            &ipv6(58),
            &[kind, 4, 0, 0, 0, 0, 0, 0],
            &request6,
        ]
        .concat()
    };
    let ports = ask(&error6(1)).map(|tuple| tuple.and_then(|tuple| tuple.ports));
    assert_eq!(ports, Ok(Some((40_000, NTP))));
    assert_eq!(
        ask(&error6(128)),
        Ok(None),
        "an echo request quotes nothing"
    );
}

#[test]
fn a_tunnel_is_outer_traffic_and_tells_the_inner_five_tuple() {
    let request = [ipv4(17, 0, 0), udp(40_000, NTP, 48)].concat();
    let bridged = [tagged(&[(0x8100, 5)], 0x0800), request.clone()].concat();
    let mut vxlan = udp(50_000, 4789, 8 + bridged.len());
    vxlan.truncate(8);
    let (mut plain, mut flagless) = (vxlan.clone(), vxlan);
    plain.extend([8, 0, 0, 0, 0, 0, 9, 0]);
    flagless.extend([0; 8]);
    let ntp = Some((40_000, NTP));
    type Ports = Option<(u16, u16)>;
    let cases: [(&str, u8, Vec<u8>, Ports); 8] = [
        ("IP in IP", 4, request.clone(), ntp),
        ("GRE", 47, [&[0, 0, 8, 0][..], &request].concat(), ntp),
        (
            "GRE with checksum, key and sequence",
            47,
            [&[0xb0, 0, 8, 0][..], &[0; 12], &request].concat(),
            ntp,
        ),
        (
            "GRE with a bridge",
            47,
            [&[0, 0, 0x65, 0x58][..], &bridged].concat(),
            ntp,
        ),
        (
            "GRE of PPTP",
            47,
            [&[0x20, 1, 0x88, 0x0b][..], &request].concat(),
            None,
        ),
        ("VXLAN", 17, [&plain[..], &bridged].concat(), ntp),
        (
            "VXLAN without an identifier",
            17,
            [&flagless[..], &bridged].concat(),
            None,
        ),
        ("ESP", 50, request, None),
    ];
    for (name, protocol, octets, expected) in cases {
        let frame = [ethernet(0x86dd), ipv6(protocol), octets].concat();
        let outer = whole(&frame).unwrap();
        assert_eq!(outer.protocol, protocol, "{name}");
        let found = inner(&Slice(&frame), &outer).unwrap();
        assert_eq!(found.and_then(|tuple| tuple.ports), expected, "{name}");
        if found.is_some() {
            assert_eq!(found.map(|tuple| tuple.network), Some(ADDRESSES), "{name}");
        }
    }
}
