//! The one packet parser: kernel programs, tests, fuzzing and replay run this source.
//!
//! It is generic over [`Reader`], so that it works on a socket buffer in the kernel and on a slice
//! everywhere else, and it never reads what it has not asked for: a frame cut anywhere gives a
//! [`Loss`], never garbage.

mod ethernet;
mod headers;
mod ip;
mod reader;
mod udp;

pub use ethernet::Link;
pub use headers::headers_length;
pub use ip::{Addresses, Transport};
pub use reader::{Reader, Slice};
pub use udp::{Datagram, udp_on_port};

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
}

/// IP protocol numbers.
pub mod protocol {
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
}

/// Octets of an Ethernet header without a tag.
pub const ETHERNET_LENGTH: usize = 14;
