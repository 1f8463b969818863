//! rtnetlink: a full list when asked, and every change as it happens.

use std::io;

use futures_util::{StreamExt as _, TryStreamExt as _, stream::BoxStream};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage},
};
use rtnetlink::{MulticastGroup, new_multicast_connection, packet_core::NetlinkPayload};

use super::Interface;
use crate::sensor::LinkKind;

/// Something happened to an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It exists, with these properties.
    Present(Interface),
    /// It is gone.
    Gone(u32),
    /// These are all there are.
    Dump(Vec<Interface>),
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

/// A connection to rtnetlink in the process's network namespace.
pub struct Watch {
    handle: rtnetlink::Handle,
    messages: BoxStream<'static, RouteNetlinkMessage>,
}

impl Watch {
    /// Subscribes to link changes. Needs a runtime.
    pub fn open() -> Result<Self, WatchError> {
        let (connection, handle, messages) = new_multicast_connection(&[MulticastGroup::Link])?;
        tokio::spawn(connection);
        let messages = messages.filter_map(async |(message, _)| match message.payload {
            NetlinkPayload::InnerMessage(message) => Some(message),
            _ => None,
        });
        Ok(Self {
            handle,
            messages: messages.boxed(),
        })
    }

    /// All interfaces there are.
    pub async fn dump(&self) -> Result<Event, WatchError> {
        let links: Vec<LinkMessage> = self.handle.link().get().execute().try_collect().await?;
        Ok(Event::Dump(links.iter().filter_map(interface).collect()))
    }

    /// The next change.
    pub async fn next(&mut self) -> Result<Event, WatchError> {
        loop {
            match self.messages.next().await.ok_or(WatchError::Ended)? {
                RouteNetlinkMessage::NewLink(link) => {
                    if let Some(interface) = interface(&link) {
                        return Ok(Event::Present(interface));
                    }
                }
                RouteNetlinkMessage::DelLink(link) => return Ok(Event::Gone(link.header.index)),
                _ => {}
            }
        }
    }
}

fn interface(link: &LinkMessage) -> Option<Interface> {
    let mut interface = Interface {
        ifindex: link.header.index,
        name: String::new(),
        mac: Vec::new(),
        mtu: 0,
        up: link.header.flags.contains(LinkFlags::Up),
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
    (!interface.name.is_empty()).then_some(interface)
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
