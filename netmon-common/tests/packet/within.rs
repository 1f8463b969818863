//! Packets in packets: what an ICMP error quotes and what a tunnel carries.

use netmon_common::{
    loss::Loss,
    packet::{FiveTuple, Slice, inner, quoted},
};

use crate::{
    frames::{ADDRESSES, NTP, ethernet, ipv4, ipv6, tagged, tcp, udp},
    whole::whole,
};

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
