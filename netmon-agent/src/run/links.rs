//! Interfaces that appear, change and go.

use super::{watched::Watched, work::Work};
use crate::{
    bandwidth::Totals,
    clock,
    interfaces::{Change, Event, Interface},
};

/// Names of interfaces that are gone are kept for exchanges still under way, up to this many.
const MAX_NAMES: usize = 4096;

impl Work {
    /// Brings the watched set in line with what rtnetlink says.
    pub fn interfaces(&mut self, event: Event) {
        for change in self.table.observe(event) {
            match change {
                Change::Start(interface) => self.start(interface),
                Change::Stop(ifindex) => self.detach(ifindex),
                Change::Update(interface) => self.update(interface),
            }
        }
        self.metrics
            .interfaces_watched
            .set(self.watched.len() as i64);
    }

    fn start(&mut self, interface: Interface) {
        let ifindex = interface.ifindex;
        // Before the first packet can be counted, so that no interval is too short for its sample.
        let now = clock::now();
        if let Err(error) = self.sensor.insert_counters(ifindex) {
            tracing::warn!(interface = interface.name, %error, "no room to count this interface");
            self.metrics.attach_failure("counters_full");
            self.sensor.remove_counters(ifindex);
            self.table.forget(ifindex);
            return;
        }
        match self.sensor.attach(&interface.name, ifindex, interface.kind) {
            Ok(attachment) => {
                tracing::info!(
                    interface = interface.name,
                    ifindex,
                    mode = attachment.mode().name(),
                    "watching"
                );
                self.remember_name(&interface);
                let watched = Watched::new(interface, attachment, &self.config, now);
                let message = watched.message(true);
                self.outbox
                    .lock()
                    .push_interface(now, message, self.synchronisation);
                self.watched.insert(ifindex, watched);
            }
            Err(error) => {
                tracing::warn!(%error, "not watching");
                self.metrics.attach_failure(error.cause());
                self.sensor.remove_counters(ifindex);
                self.table.forget(ifindex);
            }
        }
    }

    fn remember_name(&mut self, interface: &Interface) {
        if self.names.len() >= MAX_NAMES {
            self.names
                .retain(|ifindex, _| self.watched.contains_key(ifindex));
        }
        self.names.insert(interface.ifindex, interface.name.clone());
    }

    fn update(&mut self, interface: Interface) {
        let now = clock::now();
        let ifindex = interface.ifindex;
        self.remember_name(&interface);
        let renamed = |watched: &Watched| watched.interface.name != interface.name;
        if self.watched.get(&ifindex).is_some_and(renamed) {
            self.finish_name(ifindex, &interface.name);
        }
        if let Some(watched) = self.watched.get_mut(&ifindex) {
            watched.update(interface, &self.config, now);
            let message = watched.message(true);
            let mut outbox = self.outbox.lock();
            outbox.push_interface(now, message, self.synchronisation);
        }
    }

    /// Whatever passed up to now belongs to the old name.
    fn finish_name(&mut self, ifindex: u32, new_name: &str) {
        let Some(last) = self.watched.get(&ifindex).map(|w| w.sampler.totals()) else {
            return;
        };
        let totals = self.totals(ifindex, last);
        let now = clock::now();
        let Some(watched) = self.watched.get_mut(&ifindex) else {
            return;
        };
        let old_name = watched.interface.name.clone();
        tracing::info!(from = old_name, to = new_name, "renamed");
        let sample = watched
            .sampler
            .sample(now, totals, watched.link_speed_bps, false);
        let full = watched.frames.push(now, sample, totals);
        let frames = full.into_iter().chain(watched.frames.finish(now, totals));
        let mut outbox = self.outbox.lock();
        for frame in frames {
            outbox.push_bandwidth(now, frame, self.synchronisation);
        }
        // Two interfaces that swap names: the old one is somebody else's by now.
        let taken = |(index, other): (&u32, &Watched)| {
            *index != ifindex && other.interface.name == old_name
        };
        let message = self.watched[&ifindex].message(false);
        if !self.watched.iter().any(taken) {
            outbox.push_interface(now, message, self.synchronisation);
            self.metrics.forget_interface(&old_name);
        }
    }

    /// Detaches first and reads the counters then, so that the last sample is the whole truth.
    pub(super) fn detach(&mut self, ifindex: u32) {
        let Some(watched) = self.watched.remove(&ifindex) else {
            return;
        };
        tracing::info!(
            interface = watched.interface.name,
            ifindex,
            "no longer watching"
        );
        let message = watched.message(false);
        let Watched {
            interface,
            attachment,
            mut sampler,
            mut frames,
            link_speed_bps,
            ..
        } = watched;
        drop(attachment);
        let now = clock::now();
        let totals = self.totals(ifindex, sampler.totals());
        let sample = sampler.sample(now, totals, link_speed_bps, false);
        self.metrics.flags(sample.flags);
        let mut outbox = self.outbox.lock();
        let full = frames.push(now, sample, totals);
        for frame in full.into_iter().chain(frames.finish(now, totals)) {
            outbox.push_bandwidth(now, frame, self.synchronisation);
        }
        outbox.push_interface(now, message, self.synchronisation);
        drop(outbox);
        self.sensor.remove_counters(ifindex);
        self.metrics.forget_interface(&interface.name);
    }

    /// The kernel's totals, or the last known ones if they cannot be read.
    fn totals(&self, ifindex: u32, last: Totals) -> Totals {
        self.sensor.totals(ifindex).unwrap_or_else(|error| {
            self.metrics.map_read_failed(&error);
            last
        })
    }
}
