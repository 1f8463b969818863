//! One interface with the programs attached.

use netmon_common::wire::{self, LiveInterface};

use crate::{
    bandwidth::{FrameBuilder, Sampler, Totals, counters_message},
    clock::{self, Now},
    config::Config,
    interfaces::{Interface, link_speed_bps},
    sensor::Attachment,
};

/// What belongs to a watched interface.
#[derive(Debug)]
pub struct Watched {
    /// As rtnetlink last described it.
    pub interface: Interface,
    /// Dropping it detaches.
    pub attachment: Attachment,
    /// From totals to samples.
    pub sampler: Sampler,
    /// From samples to frames.
    pub frames: FrameBuilder,
    /// bit/s, if the link says.
    pub link_speed_bps: Option<u64>,
    /// When this agent began to watch.
    pub since: Now,
    /// What the last report said.
    pub reported: Totals,
}

impl Watched {
    /// Goes on from where the sampler stands, at `since`.
    pub fn new(
        interface: Interface,
        attachment: Attachment,
        sampler: Sampler,
        config: &Config,
        since: Now,
    ) -> Self {
        Self {
            since: clock::now(),
            reported: sampler.totals(),
            sampler,
            frames: frames(&interface, &attachment, config, since),
            link_speed_bps: speed(&interface),
            interface,
            attachment,
        }
    }

    /// Another name, speed or MTU.
    pub fn update(&mut self, interface: Interface, config: &Config, now: Now) {
        self.link_speed_bps = speed(&interface);
        if interface.name != self.interface.name {
            self.frames = frames(&interface, &self.attachment, config, now);
        }
        self.interface = interface;
    }

    /// What passed since the last report.
    pub fn live(&mut self) -> LiveInterface {
        let totals = self.sampler.totals();
        let since =
            |now: netmon_common::counters::Counters, then| now.since(then).unwrap_or_default();
        let live = LiveInterface {
            name: self.interface.name.clone(),
            ifindex: self.interface.ifindex,
            ingress: Some(counters_message(since(
                totals.ingress,
                self.reported.ingress,
            ))),
            egress: Some(counters_message(since(totals.egress, self.reported.egress))),
            ingress_total: Some(counters_message(totals.ingress)),
            egress_total: Some(counters_message(totals.egress)),
            attach_mode: self.attachment.mode().name().to_owned(),
        };
        self.reported = totals;
        live
    }

    /// The interface as the server stores it.
    pub fn message(&self, monitored: bool) -> wire::Interface {
        wire::Interface {
            ifindex: self.interface.ifindex,
            name: self.interface.name.clone(),
            mac: if self.interface.mac.len() == 6 {
                self.interface.mac.clone()
            } else {
                vec![]
            },
            mtu: self.interface.mtu,
            link_speed_bps: self.link_speed_bps.unwrap_or(0),
            monitored,
        }
    }
}

fn frames(
    interface: &Interface,
    attachment: &Attachment,
    config: &Config,
    since: Now,
) -> FrameBuilder {
    FrameBuilder::new(
        interface.name.clone(),
        interface.ifindex,
        attachment.id(),
        config.frame_interval,
        config.sample_interval,
        since,
    )
}

/// The speed of a software interface is a fiction that traffic may well exceed.
fn speed(interface: &Interface) -> Option<u64> {
    if interface.is_virtual {
        None
    } else {
        link_speed_bps(&interface.name)
    }
}
