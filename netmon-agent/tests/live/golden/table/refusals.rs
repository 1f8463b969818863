//! ICMP errors: those about NTP are events.

use netmon_common::{counters::Class, loss::Loss};
use netmon_lab::frames::{ethernet, icmp, ipv4, ipv6, udp};

use super::{CLIENT, EXTRA, Fate, Golden, IPV4, IPV6, NTP};

pub fn refusals() -> Vec<Golden> {
    let request = udp(CLIENT, NTP, &[0x23; 48]);
    let response = udp(NTP, CLIENT, &[0x24; 48]);
    let lookup = udp(CLIENT, 53, &[1; 20]);
    let elsewhere = udp(CLIENT, EXTRA, &[0x23; 48]);
    let old = |message: &[u8]| ethernet(&[], IPV4, &ipv4(1, 0, 0, message));
    let new = |message: &[u8]| ethernet(&[], IPV6, &ipv6(&[], 58, message));
    let quote = |datagram: &[u8]| ipv4(17, 0, 0, datagram);
    let quote6 = |datagram: &[u8]| ipv6(&[], 17, datagram);
    let with_options = ipv4(17, 4, 0, &request);
    let later = {
        let mut packet = quote(&request);
        packet[7] = 1;
        packet
    };
    // The message ends before the quoted ports by IP's own length.
    let too_short = {
        let mut frame = old(&icmp(3, 3, &quote(&request)));
        frame[16..18].copy_from_slice(&50_u16.to_be_bytes());
        frame
    };
    let malformed = Fate::Lost(Loss::Malformed);
    let cases = [
        (
            "port unreachable",
            old(&icmp(3, 3, &quote(&request))),
            Class::Ipv4Icmp,
            Fate::Event,
        ),
        (
            "prohibited",
            old(&icmp(3, 13, &quote(&request))),
            Class::Ipv4Icmp,
            Fate::Event,
        ),
        (
            "eight octets quoted",
            old(&icmp(3, 3, &quote(&request)[..28])),
            Class::Ipv4Icmp,
            Fate::Event,
        ),
        (
            "a quoted response",
            old(&icmp(3, 3, &quote(&response))),
            Class::Ipv4Icmp,
            Fate::Event,
        ),
        (
            "quoted options",
            old(&icmp(3, 3, &with_options)),
            Class::Ipv4Icmp,
            Fate::Event,
        ),
        (
            "port unreachable of IPv6",
            new(&icmp(1, 4, &quote6(&request))),
            Class::Ipv6Icmp,
            Fate::Event,
        ),
        (
            "another port of NTP",
            old(&icmp(3, 3, &quote(&elsewhere))),
            Class::Ipv4Icmp,
            Fate::Event,
        ),
        (
            "DNS unreachable",
            old(&icmp(3, 3, &quote(&lookup))),
            Class::Ipv4Icmp,
            Fate::Ordinary,
        ),
        (
            "time exceeded",
            old(&icmp(11, 0, &quote(&request))),
            Class::Ipv4Icmp,
            Fate::Ordinary,
        ),
        (
            "time exceeded of IPv6",
            new(&icmp(3, 0, &quote6(&request))),
            Class::Ipv6Icmp,
            Fate::Ordinary,
        ),
        (
            "a quoted later fragment",
            old(&icmp(3, 3, &later)),
            Class::Ipv4Icmp,
            Fate::Ordinary,
        ),
        (
            "IPv6 quoted by IPv4",
            old(&icmp(3, 3, &quote6(&request))),
            Class::Ipv4Icmp,
            malformed,
        ),
        (
            "IPv4 quoted by IPv6",
            new(&icmp(1, 4, &quote(&request))),
            Class::Ipv6Icmp,
            malformed,
        ),
        (
            "a message too short for its ports",
            too_short,
            Class::Ipv4Icmp,
            malformed,
        ),
        (
            "seven octets quoted",
            old(&icmp(3, 3, &quote(&request)[..23])),
            Class::Ipv4Icmp,
            Fate::Lost(Loss::Truncated),
        ),
    ];
    cases
        .into_iter()
        .map(|(name, frame, class, fate)| Golden {
            name: format!("refusal: {name}"),
            frame,
            class,
            fate,
        })
        .collect()
}
