//! Ports and payloads around which NTP is decided.

use netmon_common::counters::Class;
use netmon_lab::frames::{ethernet, ipv4, ipv6, udp};

use super::{
    CLIENT, EXTRA, Fate, Golden, IPV4, IPV6, NTP, PPPOE, SERVICE_VLAN, VLAN, links::session,
};

const PORTS: [(u16, u16); 7] = [
    (NTP, CLIENT),
    (CLIENT, NTP),
    (NTP, NTP),
    (EXTRA, CLIENT),
    (CLIENT, EXTRA),
    (EXTRA, NTP),
    (CLIENT, 53),
];

pub fn ports_and_payloads() -> Vec<Golden> {
    let mut all = Vec::new();
    for length in [0, 1, 12, 47, 48, 49, 128, 129, 1000] {
        for (source, destination) in PORTS {
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
