//! What contradicts itself, and what is not IP.

use netmon_common::{counters::Class, loss::Loss};
use netmon_lab::frames::{ethernet, icmp, ipv4, ipv6, pppoe, tcp, udp};

use super::{CLIENT, Fate, Golden, IPV4, IPV6, NTP, PPPOE, VLAN};

pub fn curiosities() -> Vec<Golden> {
    let request = udp(CLIENT, NTP, &[0x23; 48]);
    let old = ethernet(&[], IPV4, &ipv4(17, 0, 0, &request));
    let new = ethernet(&[], IPV6, &ipv6(&[], 17, &request));
    let with = |frame: &[u8], at: usize, octets: &[u8]| {
        let mut frame = frame.to_vec();
        frame[at..at + octets.len()].copy_from_slice(octets);
        frame
    };
    let malformed = Fate::Lost(Loss::Malformed);
    let session = |packet: &[u8]| ethernet(&[], PPPOE, packet);
    let short = |protocol: u8, octets: &[u8]| ethernet(&[], IPV4, &ipv4(protocol, 0, 0, octets));
    let cases = [
        (
            "IPv4 header of 16 octets",
            with(&old, 14, &[0x44]),
            Class::Ipv4Other,
            malformed,
        ),
        (
            "version 5 as IPv4",
            with(&old, 14, &[0x55]),
            Class::Ipv4Other,
            malformed,
        ),
        (
            "IPv6 as IPv4",
            with(&old, 14, &[0x65]),
            Class::Ipv4Other,
            malformed,
        ),
        (
            "IPv4 as IPv6",
            with(&new, 14, &[0x45]),
            Class::Ipv6Other,
            malformed,
        ),
        (
            "IPv4 of length 0",
            with(&old, 16, &[0, 0]),
            Class::Ipv4Udp,
            Fate::Event,
        ),
        (
            "IPv6 of length 0",
            with(&new, 18, &[0, 0]),
            Class::Ipv6Udp,
            Fate::Event,
        ),
        (
            "UDP of length 7",
            with(&old, 38, &[0, 7]),
            Class::Ipv4Udp,
            malformed,
        ),
        (
            "UDP of length 0 over IPv6",
            with(&new, 58, &[0, 0]),
            Class::Ipv6Udp,
            malformed,
        ),
        (
            "UDP elsewhere of length 7",
            with(&old, 36, &[0, 53, 0, 7]),
            Class::Ipv4Udp,
            Fate::Ordinary,
        ),
        (
            "UDP longer than its packet",
            with(&old, 38, &[0xff, 0xff]),
            Class::Ipv4Udp,
            Fate::Event,
        ),
        (
            "TCP with a data offset of 4 words",
            short(6, &with(&tcp(1, 2, 0, 0, &[]), 12, &[0x40])),
            Class::Ipv4Tcp,
            Fate::Ordinary,
        ),
        (
            "ICMPv6 over IPv4",
            short(58, &icmp(1, 4, &[])),
            Class::Ipv4Other,
            Fate::Ordinary,
        ),
        (
            "ICMP over IPv6",
            ethernet(&[], IPV6, &ipv6(&[], 1, &icmp(3, 3, &[]))),
            Class::Ipv6Other,
            Fate::Ordinary,
        ),
        (
            "no next header",
            ethernet(&[], IPV6, &ipv6(&[], 59, &[])),
            Class::Ipv6Other,
            Fate::Ordinary,
        ),
        (
            "AH over IPv4",
            short(51, &[17; 32]),
            Class::Ipv4Other,
            Fate::Ordinary,
        ),
        (
            "ARP",
            ethernet(&[], 0x0806, &[0; 28]),
            Class::NotIp,
            Fate::Ordinary,
        ),
        (
            "ARP in a VLAN",
            ethernet(&[(VLAN, 9)], 0x0806, &[0; 28]),
            Class::NotIp,
            Fate::Ordinary,
        ),
        (
            "LLDP",
            ethernet(&[], 0x88cc, &[2; 40]),
            Class::NotIp,
            Fate::Ordinary,
        ),
        (
            "802.3 length",
            ethernet(&[], 38, &[0x42; 38]),
            Class::NotIp,
            Fate::Ordinary,
        ),
        (
            "MPLS",
            ethernet(&[], 0x8847, &[0, 1, 1, 64, 0x45]),
            Class::NotIp,
            Fate::Ordinary,
        ),
        (
            "PPPoE discovery",
            ethernet(&[], 0x8863, &[0x11, 9, 0, 0, 0, 4, 1, 1, 0, 0]),
            Class::NotIp,
            Fate::Ordinary,
        ),
        (
            "PPPoE with LCP",
            session(&pppoe(0, 0xc021, &[9, 1, 0, 8, 0, 0, 0, 0])),
            Class::NotIp,
            Fate::Ordinary,
        ),
        (
            "PPPoE that ends",
            session(&pppoe(0xa7, 0x0021, &[0; 4])),
            Class::NotIp,
            Fate::Ordinary,
        ),
        (
            "PPPoE of another version",
            session(&with(&pppoe(0, 0x0021, &[0; 4]), 0, &[0x21])),
            Class::NotIp,
            malformed,
        ),
        (
            "PPPoE with IPv6 as IPv4",
            session(&pppoe(0, 0x0021, &ipv6(&[], 17, &request))),
            Class::Ipv4Other,
            malformed,
        ),
    ];
    cases
        .into_iter()
        .map(|(name, frame, class, fate)| Golden {
            name: name.to_owned(),
            frame,
            class,
            fate,
        })
        .collect()
}
