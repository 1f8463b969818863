//! Which interfaces exist, and which of them are watched.

mod filter;
mod link_speed;
mod netns;
mod reconcile;
mod watch;

pub use filter::Filter;
pub use link_speed::link_speed_bps;
pub use netns::{Netns, NetnsId, netns_names};
pub use reconcile::{Change, Table};
pub use watch::{Event, Watch, WatchError};

use std::net::IpAddr;

use crate::sensor::LinkKind;

/// Longest name that a server takes, octets.
const MAX_LABEL_BYTES: usize = 45;

/// Stands between the name of an interface and that of its namespace.
pub const NAMESPACE_MARK: char = '@';

/// What an interface is called outside of its namespace: `eth0@blue`, or its own name where the
/// agent runs.
pub fn label(name: &str, namespace: Option<&str>) -> String {
    match namespace {
        Some(namespace) => format!("{name}{NAMESPACE_MARK}{namespace}"),
        None => name.to_owned(),
    }
}

/// Whether a server would take the name: it refuses whole batches for one that is too long.
pub fn is_sendable(label: &str) -> bool {
    label.len() <= MAX_LABEL_BYTES
}

/// An interface as rtnetlink describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The kernel's index: the identity while the interface lives.
    pub ifindex: u32,
    /// The name, at most 15 octets.
    pub name: String,
    /// Link-layer address; empty if there is none.
    pub mac: Vec<u8>,
    /// Maximum transmission unit, octets.
    pub mtu: u32,
    /// Whether it is administratively up.
    pub up: bool,
    /// Whether the link is up, so that its speed is known.
    pub carrier: bool,
    /// What its frames start with.
    pub kind: LinkKind,
    /// Whether it exists in software only, so that its link speed is a fiction.
    pub is_virtual: bool,
}

/// An address of an interface. The kernel knows one address with several prefix lengths apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// The interface's index.
    pub ifindex: u32,
    /// The interface's own address, also where the link has a peer.
    pub address: IpAddr,
    /// Bits of its network's prefix.
    pub prefix_length: u8,
}
