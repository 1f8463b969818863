//! A packet down to its transport.

use netmon_common::{
    loss::Loss,
    packet::{Link, Network, Packet, Slice, Transport, headers_length, parse, tcp_flag},
};

use crate::frames::{NTP, ethernet, ipv4, ipv6, pppoe, tagged, tcp, udp};

pub fn whole(frame: &[u8]) -> Result<Packet, Loss> {
    parse(&Slice(frame), Link::parse(&Slice(frame), None)?)
}

fn ethernet_link(frame: &[u8]) -> Link {
    Link::parse(&Slice(frame), None).unwrap()
}

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
