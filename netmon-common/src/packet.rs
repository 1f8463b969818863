//! The one packet parser: kernel programs, tests, fuzzing and replay run this source.
//!
//! It is generic over [`Reader`], so that it works on a socket buffer in the kernel and on a slice
//! everywhere else, and it never reads what it has not asked for: a frame cut anywhere gives a
//! [`Packet`](parse) or a [`Loss`](crate::loss::Loss), never garbage.
//!
//! ```text
//! Link::parse ── IpHeader::parse ─┬─ udp_on_port   the kernel's way to NTP
//!  (tags, PPPoE)   (extensions,   ├─ Class::of     what the packet counts as
//!                   fragments)    └─ parse ─┬─ quoted   what an ICMP error is about
//!                                           └─ inner    what a tunnel carries
//! ```

mod class;
mod ethernet;
mod five_tuple;
mod headers;
mod icmp;
mod ip;
mod parse;
mod pppoe;
mod reader;
mod refused;
mod transport;
mod tunnel;
mod udp;

pub use ethernet::{Link, VLAN_IDENTIFIER};
pub use five_tuple::FiveTuple;
pub use headers::{headers_end, headers_length};
pub use icmp::quoted;
pub use ip::{
    Addresses, Fragment, IPV4_ADDRESSES, IPV4_FRAGMENT_BITS, IPV4_LENGTH, IPV4_WITHOUT_OPTIONS,
    IPV6_ADDRESSES, IPV6_LENGTH, IpHeader,
};
pub use parse::{Network, Packet, parse};
pub use reader::{Reader, Slice};
pub use refused::{UNREACHABLE, UNREACHABLE_V6};
pub use transport::{ICMP_LENGTH, TCP_LENGTH, Transport, tcp_flag};
pub use tunnel::inner;
pub use udp::{Datagram, PortSet, UDP_LENGTH, udp_on_port};

/// EtherTypes (IEEE 802 numbers).
pub mod ethertype {
    /// IPv4.
    pub const IPV4: u16 = 0x0800;
    /// IPv6.
    pub const IPV6: u16 = 0x86dd;
    /// IEEE 802.1Q customer tag.
    pub const VLAN: u16 = 0x8100;
    /// IEEE 802.1ad service tag.
    pub const SERVICE_VLAN: u16 = 0x88a8;
    /// The service tag as Cisco sent it before 802.1ad.
    pub const OLD_SERVICE_VLAN: u16 = 0x9100;
    /// PPPoE once a session is up (RFC 2516).
    pub const PPPOE_SESSION: u16 = 0x8864;
    /// Ethernet within GRE (RFC 7637 names it so).
    pub const BRIDGED_ETHERNET: u16 = 0x6558;
}

/// IP protocol numbers.
pub mod protocol {
    /// ICMP for IPv4.
    pub const ICMP: u8 = 1;
    /// IPv4 within IP (RFC 2003).
    pub const IPV4: u8 = 4;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// IPv6 within IP (RFC 2473, RFC 4213).
    pub const IPV6: u8 = 41;
    /// GRE (RFC 2784).
    pub const GRE: u8 = 47;
    /// ICMP for IPv6.
    pub const ICMPV6: u8 = 58;
}

/// Octets of an Ethernet header without a tag.
pub const ETHERNET_LENGTH: usize = 14;
