//! The golden packets: every header alone and combined, with what must become of them.

mod curiosities;
mod links;
mod networks;
mod ports;
mod refusals;

use netmon_common::{counters::Class, loss::Loss, ntp::NtpPorts};
use netmon_lab::frames::{ethernet, gre, icmp, ipv4, ipv6, tcp, udp, vxlan};

use self::{
    curiosities::curiosities,
    links::LINKS,
    networks::{NETWORKS, Network, Reach},
    ports::ports_and_payloads,
    refusals::refusals,
};

const NTP: u16 = 123;
/// Another port of NTP's servers.
const EXTRA: u16 = 1123;
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

/// The ports on which the table's fates are what they are.
pub fn ports() -> NtpPorts {
    NtpPorts::new([NTP, EXTRA]).expect("two ports are few enough")
}

pub fn packets() -> Vec<Golden> {
    let mut all = combinations();
    all.extend(ports_and_payloads());
    all.extend(curiosities());
    all.extend(refusals());
    all
}

/// What a network layer carries: name, protocol number over IPv4 and IPv6, octets.
fn transports() -> Vec<(&'static str, [u8; 2], Vec<u8>)> {
    let request = ipv4(17, 0, 0, &udp(CLIENT, NTP, &[0x23; 48]));
    let request6 = ipv6(&[], 17, &udp(CLIENT, NTP, &[0x23; 48]));
    let framed = ethernet(&[(VLAN, 5)], IPV4, &request);
    vec![
        ("NTP", [17, 17], udp(CLIENT, NTP, &[0x23; 48])),
        ("NTP elsewhere", [17, 17], udp(EXTRA, CLIENT, &[0x24; 48])),
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

/// Whether the network layer is the one whose ICMP this is.
fn is_refusal(version: u8, transport: &str) -> bool {
    match version {
        4 => transport == "unreachable about NTP over IPv4",
        _ => transport == "unreachable about NTP over IPv6",
    }
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
        Reach::Whole if matches!(transport, "NTP" | "NTP elsewhere") => (class, Fate::Event),
        Reach::Whole if is_refusal(network.version, transport) => (class, Fate::Event),
        Reach::Whole => (class, Fate::Ordinary),
        Reach::LaterFragment if protocol == 17 => (class, Fate::Lost(Loss::LaterFragment)),
        Reach::LaterFragment => (class, Fate::Ordinary),
        Reach::LaterFragmentOfExtensions => (Class::Ipv6Other, Fate::Lost(Loss::LaterFragment)),
        Reach::TooDeep => (Class::Ipv6Other, Fate::Lost(Loss::ExtensionChain)),
    }
}
