//! One interface with the programs attached.

use netmon_common::wire::{self, LiveInterface, NtpState};

use crate::{
    bandwidth::{FrameBuilder, Sampler, Totals, counters_message},
    clock::{self, Now},
    config::Config,
    interfaces::Interface,
    sensor::Attachment,
};

/// What belongs to a watched interface.
#[derive(Debug)]
pub struct Watched {
    /// As rtnetlink last described it.
    pub interface: Interface,
    /// What it is called everywhere but in its own namespace.
    pub label: String,
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
        (interface, label, link_speed_bps): (Interface, String, Option<u64>),
        attachment: Attachment,
        sampler: Sampler,
        config: &Config,
        since: Now,
    ) -> Self {
        Self {
            since: clock::now(),
            reported: sampler.totals(),
            sampler,
            frames: frames(&label, interface.ifindex, &attachment, config, since),
            link_speed_bps,
            interface,
            label,
            attachment,
        }
    }

    /// Another name, speed or MTU.
    pub fn update(
        &mut self,
        (interface, label, link_speed_bps): (Interface, String, Option<u64>),
        config: &Config,
        now: Now,
    ) {
        self.link_speed_bps = link_speed_bps;
        if label != self.label {
            self.frames = frames(&label, interface.ifindex, &self.attachment, config, now);
        }
        self.label = label;
        self.interface = interface;
    }

    /// What passed since the last report, and what is done about NTP.
    pub fn live(&mut self, ntp: Option<NtpState>) -> LiveInterface {
        let totals = self.sampler.totals();
        let since =
            |now: netmon_common::counters::Counters, then| now.since(then).unwrap_or_default();
        let live = LiveInterface {
            name: self.label.clone(),
            ifindex: self.interface.ifindex,
            ingress: Some(counters_message(since(
                totals.ingress,
                self.reported.ingress,
            ))),
            egress: Some(counters_message(since(totals.egress, self.reported.egress))),
            ingress_total: Some(counters_message(totals.ingress)),
            egress_total: Some(counters_message(totals.egress)),
            attach_mode: self.attachment.mode().name().to_owned(),
            ntp,
        };
        self.reported = totals;
        live
    }

    /// The interface as the server stores it.
    pub fn message(&self, monitored: bool) -> wire::Interface {
        wire::Interface {
            ifindex: self.interface.ifindex,
            name: self.label.clone(),
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
    label: &str,
    ifindex: u32,
    attachment: &Attachment,
    config: &Config,
    since: Now,
) -> FrameBuilder {
    FrameBuilder::new(
        label.to_owned(),
        ifindex,
        attachment.id(),
        config.frame_interval,
        config.sample_interval,
        since,
    )
}
