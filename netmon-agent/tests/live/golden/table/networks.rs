//! Network layers of the golden packets.

use netmon_lab::frames::{ipv4, ipv6};

/// A kind of network layer around a transport.
pub struct Network {
    pub name: &'static str,
    pub version: u8,
    /// What it does to the transport behind it.
    pub reach: Reach,
    pub build: fn(protocol: u8, payload: &[u8]) -> Vec<u8>,
}

/// How far the parser gets.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Reach {
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

pub const NETWORKS: [Network; 19] = [
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
