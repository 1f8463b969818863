//! The golden packets: every header alone and combined, with what must become of them.

use netmon_common::{counters::Class, loss::Loss};

use super::frames::{ethernet, gre, icmp, ipv4, ipv6, pppoe, tcp, udp, vxlan};

const NTP: u16 = 123;
const CLIENT: u16 = 40_000;

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const PPPOE: u16 = 0x8864;
const VLAN: u16 = 0x8100;
const SERVICE_VLAN: u16 = 0x88a8;
const OLD_SERVICE_VLAN: u16 = 0x9100;

/// A packet and what must become of it.
pub struct Golden {
    pub name: String,
    pub frame: Vec<u8>,
    pub class: Class,
    pub fate: Fate,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Event,
    Ordinary,
    Lost(Loss),
}

pub fn packets() -> Vec<Golden> {
    let mut all = combinations();
    all.extend(ports_and_payloads());
    all.extend(curiosities());
    all
}

/// What stands before the network layer.
type Wrap = fn(version: u8, packet: &[u8]) -> Vec<u8>;

const LINKS: [(&str, Wrap); 9] = [
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

fn session(version: u8, packet: &[u8]) -> Vec<u8> {
    pppoe(0, if version == 4 { 0x0021 } else { 0x0057 }, packet)
}

/// A kind of network layer around a transport.
struct Network {
    name: &'static str,
    version: u8,
    /// What it does to the transport behind it.
    reach: Reach,
    build: fn(protocol: u8, payload: &[u8]) -> Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    Whole,
    LaterFragment,
    /// A later fragment that ends in an extension header.
    LaterFragmentOfExtensions,
    TooDeep,
}

const HOP_BY_HOP: (u8, &[u8]) = (0, &[0, 5, 2, 0, 0, 1, 0]);
const ROUTING: (u8, &[u8]) = (
    43,
    &[
        2, 4, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4, 5, 6, 7,
    ],
);
const DESTINATION: (u8, &[u8]) = (60, &[0, 1, 4, 0, 0, 0, 0]);
/// 24 octets: 6 words, less 2.
const AUTHENTICATION: (u8, &[u8]) = (
    51,
    &[
        4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3,
    ],
);
const FIRST_FRAGMENT: (u8, &[u8]) = (44, &[0, 0, 1, 0, 0, 0, 9]);
const ONLY_FRAGMENT: (u8, &[u8]) = (44, &[0, 0, 0, 0, 0, 0, 9]);
const LATER_FRAGMENT: (u8, &[u8]) = (44, &[0, 5, 0xc8, 0, 0, 0, 9]);

const NETWORKS: [Network; 19] = [
    v4("IPv4", Reach::Whole, |next, data| ipv4(next, 0, 0, data)),
    v4("IPv4 options", Reach::Whole, |next, data| {
        ipv4(next, 4, 0, data)
    }),
    v4("IPv4 all options", Reach::Whole, |next, data| {
        ipv4(next, 40, 0, data)
    }),
    v4("IPv4 do not fragment", Reach::Whole, |next, data| {
        ipv4(next, 0, 0x4000, data)
    }),
    v4("IPv4 first fragment", Reach::Whole, |next, data| {
        ipv4(next, 0, 0x2000, data)
    }),
    v4("IPv4 later fragment", Reach::LaterFragment, |next, data| {
        ipv4(next, 0, 0x20b9, data)
    }),
    v4(
        "IPv4 last fragment, options",
        Reach::LaterFragment,
        |next, data| ipv4(next, 8, 0x00b9, data),
    ),
    v6("IPv6", Reach::Whole, |next, data| ipv6(&[], next, data)),
    v6("IPv6 hop-by-hop", Reach::Whole, |next, data| {
        ipv6(&[HOP_BY_HOP], next, data)
    }),
    v6("IPv6 routing", Reach::Whole, |next, data| {
        ipv6(&[ROUTING], next, data)
    }),
    v6("IPv6 destination", Reach::Whole, |next, data| {
        ipv6(&[DESTINATION], next, data)
    }),
    v6("IPv6 AH", Reach::Whole, |next, data| {
        ipv6(&[AUTHENTICATION], next, data)
    }),
    v6("IPv6 first fragment", Reach::Whole, |next, data| {
        ipv6(&[FIRST_FRAGMENT], next, data)
    }),
    v6("IPv6 only fragment", Reach::Whole, |next, data| {
        ipv6(&[ONLY_FRAGMENT], next, data)
    }),
    v6("IPv6 later fragment", Reach::LaterFragment, |next, data| {
        ipv6(&[LATER_FRAGMENT], next, data)
    }),
    v6(
        "IPv6 hop-by-hop, later fragment",
        Reach::LaterFragment,
        |next, data| ipv6(&[HOP_BY_HOP, LATER_FRAGMENT], next, data),
    ),
    v6(
        "IPv6 later fragment of extensions",
        Reach::LaterFragmentOfExtensions,
        |next, data| ipv6(&[LATER_FRAGMENT, DESTINATION], next, data),
    ),
    v6("IPv6 all six", Reach::Whole, |next, data| {
        let chain = [
            HOP_BY_HOP,
            DESTINATION,
            ROUTING,
            FIRST_FRAGMENT,
            AUTHENTICATION,
            DESTINATION,
        ];
        ipv6(&chain, next, data)
    }),
    v6("IPv6 seven", Reach::TooDeep, |next, data| {
        ipv6(&[DESTINATION; 7], next, data)
    }),
];

const fn v4(name: &'static str, reach: Reach, build: fn(u8, &[u8]) -> Vec<u8>) -> Network {
    Network {
        name,
        version: 4,
        reach,
        build,
    }
}

const fn v6(name: &'static str, reach: Reach, build: fn(u8, &[u8]) -> Vec<u8>) -> Network {
    Network {
        name,
        version: 6,
        reach,
        build,
    }
}

/// What a network layer carries: name, protocol number over IPv4 and IPv6, octets.
fn transports() -> Vec<(&'static str, [u8; 2], Vec<u8>)> {
    let request = ipv4(17, 0, 0, &udp(CLIENT, NTP, &[0x23; 48]));
    let request6 = ipv6(&[], 17, &udp(CLIENT, NTP, &[0x23; 48]));
    let framed = ethernet(&[(VLAN, 5)], IPV4, &request);
    vec![
        ("NTP", [17, 17], udp(CLIENT, NTP, &[0x23; 48])),
        ("DNS", [17, 17], udp(CLIENT, 53, &[1; 20])),
        ("TCP", [6, 6], tcp(CLIENT, 443, 0x02, 20, &[])),
        ("TCP from 123", [6, 6], tcp(NTP, CLIENT, 0x18, 0, b"GET ")),
        ("an ICMP message", [1, 58], icmp(128, 0, &[9; 16])),
        (
            "unreachable about NTP over IPv4",
            [1, 58],
            icmp(3, 3, &request),
        ),
        (
            "unreachable about NTP over IPv6",
            [1, 58],
            icmp(1, 4, &request6),
        ),
        ("GRE with NTP", [47, 47], gre(IPV4, &request)),
        ("GRE with a bridge", [47, 47], gre(0x6558, &framed)),
        ("VXLAN with NTP", [17, 17], vxlan(&framed)),
        ("IPv4 with NTP", [4, 4], request),
        ("IPv6 with NTP", [41, 41], request6),
        ("ESP", [50, 50], vec![0x5a; 40]),
        (
            "SCTP",
            [132, 132],
            vec![0, 123, 0, 123, 0, 0, 0, 0, 0, 0, 0, 0],
        ),
    ]
}

/// Every link layer around every network layer around every transport.
fn combinations() -> Vec<Golden> {
    let mut all = Vec::new();
    for (link, wrap) in LINKS {
        for network in &NETWORKS {
            for (transport, protocols, octets) in transports() {
                let protocol = protocols[usize::from(network.version == 6)];
                let packet = (network.build)(protocol, &octets);
                let (class, fate) = expected(network, transport, protocol);
                let too_many_tags = link == "three tags ";
                all.push(Golden {
                    name: format!("{link}{}, {transport}", network.name),
                    frame: wrap(network.version, &packet),
                    class: if too_many_tags { Class::NotIp } else { class },
                    fate: if too_many_tags {
                        Fate::Lost(Loss::VlanDepth)
                    } else {
                        fate
                    },
                });
            }
        }
    }
    all
}

fn expected(network: &Network, transport: &str, protocol: u8) -> (Class, Fate) {
    let class = match (network.version, protocol) {
        (4, 6) => Class::Ipv4Tcp,
        (4, 17) => Class::Ipv4Udp,
        (4, 1) => Class::Ipv4Icmp,
        (4, _) => Class::Ipv4Other,
        (_, 6) => Class::Ipv6Tcp,
        (_, 17) => Class::Ipv6Udp,
        (_, 58) => Class::Ipv6Icmp,
        _ => Class::Ipv6Other,
    };
    match network.reach {
        Reach::Whole if transport == "NTP" => (class, Fate::Event),
        Reach::Whole => (class, Fate::Ordinary),
        Reach::LaterFragment if protocol == 17 => (class, Fate::Lost(Loss::LaterFragment)),
        Reach::LaterFragment => (class, Fate::Ordinary),
        Reach::LaterFragmentOfExtensions => (Class::Ipv6Other, Fate::Lost(Loss::LaterFragment)),
        Reach::TooDeep => (Class::Ipv6Other, Fate::Lost(Loss::ExtensionChain)),
    }
}

fn ports_and_payloads() -> Vec<Golden> {
    let mut all = Vec::new();
    for length in [0, 1, 12, 47, 48, 49, 128, 129, 1000] {
        for (source, destination) in [(NTP, CLIENT), (CLIENT, NTP), (NTP, NTP), (CLIENT, 53)] {
            let payload: Vec<u8> = (0..length).map(|octet| octet as u8).collect();
            let datagram = udp(source, destination, &payload);
            let fate = if destination == 53 {
                Fate::Ordinary
            } else {
                Fate::Event
            };
            let mut add = |link: &str, frame, class| {
                let name = format!("{link}, {source} to {destination}, {length} octets");
                all.push(Golden {
                    name,
                    frame,
                    class,
                    fate,
                });
            };
            let (old, new) = (ipv4(17, 0, 0, &datagram), ipv6(&[], 17, &datagram));
            add("IPv4", ethernet(&[], IPV4, &old), Class::Ipv4Udp);
            add("IPv6", ethernet(&[], IPV6, &new), Class::Ipv6Udp);
            let tagged = ethernet(&[(SERVICE_VLAN, 4094), (VLAN, 1)], PPPOE, &session(6, &new));
            add("QinQ PPPoE IPv6", tagged, Class::Ipv6Udp);
            let mut padded = ethernet(&[(VLAN, 100)], IPV4, &old);
            padded.resize(padded.len().max(64), 0);
            add("VLAN IPv4 padded", padded, Class::Ipv4Udp);
        }
    }
    all
}

/// What contradicts itself, and what is not IP.
fn curiosities() -> Vec<Golden> {
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
