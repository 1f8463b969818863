//! Ingress by XDP, for interfaces whose operator asks for it.

use aya::programs::{Xdp, XdpMode, links::FdLink};

use super::errno;
use crate::sensor::{AttachMode, LinkKind, Sensor};

/// The program for Ethernet; links without a header have none.
pub(in crate::sensor) const XDP_PROGRAM: &str = "netmon_xdp_ingress";

type Error = Box<dyn std::error::Error + Send + Sync>;

impl Sensor {
    /// The link, if XDP is wanted here and the driver can. Otherwise the interface is watched like
    /// any other, and a warning says why.
    pub(super) fn attach_xdp(
        &mut self,
        interface: &str,
        ifindex: u32,
        kind: LinkKind,
    ) -> Option<(AttachMode, FdLink)> {
        if !self.hooks.wants_xdp(interface) {
            return None;
        }
        if kind != LinkKind::Ethernet {
            tracing::warn!(interface, "no XDP on links without an Ethernet header");
            return None;
        }
        let native = match self.link_xdp(ifindex, XdpMode::Driver) {
            Ok(link) => return Some((AttachMode::XdpNative, link)),
            Err(error) => error,
        };
        if self.hooks.xdp_generic {
            match self.link_xdp(ifindex, XdpMode::Skb) {
                Ok(link) => return Some((AttachMode::XdpGeneric, link)),
                Err(generic) => tracing::warn!(
                    interface,
                    native = %reason(&native),
                    generic = %reason(&generic),
                    "no XDP, not even generic; counting without"
                ),
            }
        } else {
            tracing::warn!(
                interface,
                native = %reason(&native),
                "no native XDP; counting without (sensor.xdp_generic = true takes generic XDP)"
            );
        }
        None
    }

    fn link_xdp(&mut self, ifindex: u32, mode: XdpMode) -> Result<FdLink, Error> {
        self.has_xdp()?;
        let program = self.ebpf.program_mut(XDP_PROGRAM);
        let program = <&mut Xdp>::try_from(program.ok_or("no such program")?)?;
        let id = program.attach_to_if_index(ifindex, mode)?;
        // Without links (before Linux 5.9) it would stay when the agent dies: dropped, it goes.
        Ok(FdLink::try_from(program.take_link(id)?)?)
    }
}

fn reason(error: &Error) -> String {
    match error.downcast_ref().and_then(errno) {
        Some(libc::EOPNOTSUPP) => "the driver has none".to_owned(),
        Some(libc::EBUSY | libc::EEXIST) => "another XDP program is there".to_owned(),
        _ => error.to_string(),
    }
}
