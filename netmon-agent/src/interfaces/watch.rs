//! rtnetlink: a full list when asked, and every change as it happens.

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
};

use futures_util::{StreamExt as _, TryStreamExt as _, stream::BoxStream};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressMessage},
    link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage},
};
use nix::sys::socket::{setsockopt, sockopt};
use rtnetlink::{MulticastGroup, new_multicast_connection, packet_core::NetlinkPayload};
use tokio::task::AbortHandle;

use super::{Address, Interface};
use crate::sensor::LinkKind;

/// Room for a thousand changes while the agent attaches: each takes the kernel a grace period.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;

/// Something happened to an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It exists, with these properties.
    Present(Interface),
    /// It is gone.
    Gone(u32),
    /// It has this address.
    Address(Address),
    /// It no longer has this address.
    AddressGone(Address),
    /// The socket overran: ask for all.
    Missed,
    /// These are all there are.
    Dump {
        /// Interfaces.
        interfaces: Vec<Interface>,
        /// Their addresses, where somebody minds.
        addresses: Vec<Address>,
    },
}

enum Notice {
    Message(RouteNetlinkMessage),
    Missed,
}

/// rtnetlink does not answer.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The socket cannot be made.
    #[error("cannot open a netlink socket: {0}")]
    Socket(#[from] io::Error),
    /// The list cannot be read.
    #[error("cannot list the interfaces: {0}")]
    List(#[from] rtnetlink::Error),
    /// The connection has ended.
    #[error("the netlink connection has ended")]
    Ended,
}

/// A connection to rtnetlink in the network namespace of the thread that has opened it. The socket
/// keeps the namespace alive.
pub struct Watch {
    connection: AbortHandle,
    handle: rtnetlink::Handle,
    messages: BoxStream<'static, Notice>,
    with_addresses: bool,
}

impl Watch {
    /// Subscribes to changes of links and, if wanted, of their addresses. Needs a runtime.
    pub fn open(with_addresses: bool) -> Result<Self, WatchError> {
        let groups = [
            MulticastGroup::Link,
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv6Ifaddr,
        ];
        let groups = if with_addresses {
            &groups[..]
        } else {
            &groups[..1]
        };
        let (mut connection, handle, messages) = new_multicast_connection(groups)?;
        // SAFETY: the connection keeps its socket open for the whole call.
        let socket = unsafe { BorrowedFd::borrow_raw(connection.socket_mut().as_raw_fd()) };
        // Beyond net.core.rmem_max, which CAP_NET_ADMIN allows; without it the default must do.
        let _ = setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER_BYTES);
        let connection = tokio::spawn(connection).abort_handle();
        let messages = messages.filter_map(async |(message, _)| match message.payload {
            NetlinkPayload::InnerMessage(message) => Some(Notice::Message(message)),
            NetlinkPayload::Overrun(_) => Some(Notice::Missed),
            _ => None,
        });
        Ok(Self {
            connection,
            handle,
            messages: messages.boxed(),
            with_addresses,
        })
    }

    /// All interfaces there are.
    pub fn dump(&self) -> impl Future<Output = Result<Event, WatchError>> + Send + use<> {
        let (handle, with_addresses) = (self.handle.clone(), self.with_addresses);
        async move {
            let links: Vec<LinkMessage> = handle.link().get().execute().try_collect().await?;
            let addresses: Vec<AddressMessage> = if with_addresses {
                handle.address().get().execute().try_collect().await?
            } else {
                Vec::new()
            };
            Ok(Event::Dump {
                interfaces: links.iter().filter_map(interface).collect(),
                addresses: addresses.iter().filter_map(address).collect(),
            })
        }
    }

    /// The next change.
    pub async fn next(&mut self) -> Result<Event, WatchError> {
        loop {
            let message = match self.messages.next().await.ok_or(WatchError::Ended)? {
                Notice::Message(message) => message,
                Notice::Missed => return Ok(Event::Missed),
            };
            match message {
                RouteNetlinkMessage::NewLink(link) => {
                    if let Some(interface) = interface(&link) {
                        return Ok(Event::Present(interface));
                    }
                }
                // Leaving a bridge is told as a deletion too, in the bridge's family.
                RouteNetlinkMessage::DelLink(link)
                    if link.header.interface_family == AddressFamily::Unspec =>
                {
                    return Ok(Event::Gone(link.header.index));
                }
                RouteNetlinkMessage::NewAddress(message) => {
                    if let Some(address) = address(&message) {
                        return Ok(Event::Address(address));
                    }
                }
                RouteNetlinkMessage::DelAddress(message) => {
                    if let Some(address) = address(&message) {
                        return Ok(Event::AddressGone(address));
                    }
                }
                _ => {}
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // By itself it would end when it next has something to do.
        self.connection.abort();
    }
}

/// The interface that a message describes whole. `None`: a message about its place in a bridge
/// (family `AF_BRIDGE`), or one with a wireless event only.
fn interface(link: &LinkMessage) -> Option<Interface> {
    if link.header.interface_family != AddressFamily::Unspec {
        return None;
    }
    let mut interface = Interface {
        ifindex: link.header.index,
        name: String::new(),
        mac: Vec::new(),
        mtu: 0,
        up: link.header.flags.contains(LinkFlags::Up),
        carrier: link.header.flags.contains(LinkFlags::LowerUp),
        kind: kind(link.header.link_layer_type),
        is_virtual: link.header.flags.contains(LinkFlags::Loopback),
    };
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::IfName(name) => interface.name.clone_from(name),
            LinkAttribute::Address(mac) => interface.mac.clone_from(mac),
            LinkAttribute::Mtu(mtu) => interface.mtu = *mtu,
            LinkAttribute::LinkInfo(infos) => {
                interface.is_virtual |= infos.iter().any(is_software);
            }
            _ => {}
        }
    }
    let whole = link
        .attributes
        .iter()
        .any(|a| matches!(a, LinkAttribute::Mtu(_)));
    (whole && !interface.name.is_empty()).then_some(interface)
}

/// The interface's own address. On a link with a peer `IFA_ADDRESS` is the peer's.
fn address(message: &AddressMessage) -> Option<Address> {
    let local = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            AddressAttribute::Local(address) => Some(*address),
            _ => None,
        });
    let any = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        });
    Some(Address {
        ifindex: message.header.index,
        address: local.or(any)?,
        prefix_length: message.header.prefix_len,
    })
}

/// Of the kinds without a header, those that Linux knows; whatever else there is comes with one.
fn kind(link_layer: LinkLayerType) -> LinkKind {
    match link_layer {
        LinkLayerType::None
        | LinkLayerType::Ppp
        | LinkLayerType::Rawip
        | LinkLayerType::Tunnel
        | LinkLayerType::Tunnel6
        | LinkLayerType::Sit
        | LinkLayerType::Ipgre => LinkKind::Bare,
        _ => LinkKind::Ethernet,
    }
}

/// Kinds whose link speed is made up. A bond or a VLAN has the speed of what it stands on.
fn is_software(info: &LinkInfo) -> bool {
    matches!(info, LinkInfo::Kind(kind) if !matches!(kind, InfoKind::Bond | InfoKind::Vlan))
}
