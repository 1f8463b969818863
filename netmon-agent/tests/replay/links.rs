//! Link types, tags and tunnels.

use crate::{
    build::{ethernet, frames, ipv4, ipv6, request, request_packet, tagged, udp},
    run::replay,
};

const TRANSMIT: u64 = 0x0123_4567_89ab_cdef;

#[test]
fn a_request_is_read_behind_every_link_layer() {
    let v4 = request_packet(TRANSMIT);
    let v6 = ipv6(17, &udp(40_000, 123, &request(TRANSMIT)));
    let cooked = |protocol: [u8; 2], packet: &[u8]| [&[0; 14][..], &protocol, packet].concat();
    let cooked_2 = |protocol: [u8; 2], packet: &[u8]| [&protocol, &[0; 18][..], packet].concat();
    let cases: [(u32, Vec<u8>); 16] = [
        (0, [&[2, 0, 0, 0], &v4[..]].concat()),
        (0, [&[0, 0, 0, 2], &v4[..]].concat()),
        (0, [&[30, 0, 0, 0], &v6[..]].concat()),
        (1, ethernet(0x0800, &v4)),
        // The upper half says that frames end in a checksum of four octets.
        (0x4400_0001, ethernet(0x86dd, &[&v6[..], &[9; 4]].concat())),
        (12, v4.clone()),
        (14, v6.clone()),
        (101, v4.clone()),
        (101, v6.clone()),
        (108, [&[0, 0, 0, 24], &v6[..]].concat()),
        (113, cooked([0x08, 0x00], &v4)),
        (113, cooked([0x81, 0x00], &tagged(7, 0x0800, &v4))),
        (228, v4.clone()),
        (229, v6.clone()),
        (276, cooked_2([0x08, 0x00], &v4)),
        (276, cooked_2([0x86, 0xdd], &v6)),
    ];
    for (link_type, frame) in cases {
        let replay = replay(&frames(link_type, std::slice::from_ref(&frame)));
        assert_eq!(replay.transmits(), ["0123456789abcdef"], "{link_type}");
        let counters = &replay.records("counters")[0];
        assert_eq!(counters["bytes"], frame.len(), "{link_type}");
    }
}

#[test]
fn the_vlan_nearest_to_the_packet_is_its_vlan() {
    let packet = request_packet(TRANSMIT);
    let one = ethernet(0x8100, &tagged(100, 0x0800, &packet));
    let inner = tagged(100, 0x0800, &packet);
    let two = ethernet(0x88a8, &tagged(200, 0x8100, &inner));
    let three = ethernet(0x88a8, &tagged(1, 0x8100, &tagged(2, 0x8100, &inner)));
    let replay = replay(&frames(1, &[one, two, three]));
    let packets = replay.records("packet");
    assert_eq!(packets.len(), 2);
    assert_eq!(
        (packets[0]["vlan"].as_u64(), packets[0].get("outer_vlan")),
        (Some(100), None)
    );
    assert_eq!(packets[1]["vlan"], 100);
    assert_eq!(packets[1]["outer_vlan"], 200);
    assert_eq!(replay.losses("vlan_depth"), 1);
}

#[test]
fn a_request_in_a_tunnel_is_read_and_counted_as_the_tunnels() {
    let packet = request_packet(TRANSMIT);
    let bridged = ethernet(0x0800, &packet);
    let vxlan = udp(
        50_000,
        4789,
        &[&[8, 0, 0, 0, 0, 0, 7, 0], &bridged[..]].concat(),
    );
    let tunnels = [
        ipv4(4, &packet),
        ipv6(4, &packet),
        ipv4(17, &vxlan),
        ipv4(47, &[&[0, 0, 8, 0], &packet[..]].concat()),
        ipv4(47, &[&[0xb0, 0, 8, 0][..], &[0; 12], &packet[..]].concat()),
        ipv4(47, &[&[0, 0, 0x65, 0x58], &bridged[..]].concat()),
        // One in another.
        ipv4(4, &ipv4(17, &vxlan)),
    ];
    let all: Vec<_> = tunnels
        .iter()
        .map(|packet| ethernet(if packet[0] == 0x45 { 0x0800 } else { 0x86dd }, packet))
        .collect();
    let replay = replay(&frames(1, &all));
    assert_eq!(replay.transmits().len(), all.len());
    let counters = &replay.records("counters")[0];
    assert_eq!(counters["packets"], all.len());
}

#[test]
fn what_nobody_can_read_is_counted_and_named() {
    let replay = replay(&frames(105, &[vec![0; 60], vec![0; 60]]));
    assert!(replay.success);
    assert_eq!(replay.losses("unsupported_link"), 2);
    assert!(replay.stderr.contains("link type 105"), "{}", replay.stderr);
}

#[test]
fn a_cooked_header_says_which_way_a_frame_went() {
    let packet = request_packet(TRANSMIT);
    let cooked = |kind: u8| [&[0, kind], &[0; 12][..], &[8, 0], &packet].concat();
    let replay = replay(&frames(113, &[cooked(0), cooked(4), cooked(4)]));
    let counters = replay.records("counters");
    let ways: Vec<_> = counters
        .iter()
        .map(|record| {
            (
                record["direction"].as_str().unwrap(),
                record["packets"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(ways, [("ingress", 1), ("egress", 2)]);
}
