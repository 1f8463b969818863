//! Interfaces that appear, change and go.

use std::collections::HashSet;

use netmon_common::wire::GapCause;

use super::{
    watched::Watched,
    work::{Work, gap},
};
use crate::{
    bandwidth::{Sampler, Totals},
    clock::{self, Now},
    interfaces::{Change, Event, Interface},
    sensor::{Attachment, Sensor},
    status::Failure,
};

/// Names of interfaces that are gone are kept for exchanges still under way, up to this many.
const MAX_NAMES: usize = 4096;

/// The longest interval of a sample that covers a time without an agent: the column of the database
/// holds half an hour. What is longer began at an unknown time.
const MAX_AWAY_NS: u64 = 30 * 60 * 1_000_000_000;

impl Work {
    /// Brings the watched set in line with what rtnetlink says.
    pub fn interfaces(&mut self, event: Event) {
        let changes = self.table.observe(event);
        for change in changes {
            match change {
                Change::Start(interface) => self.start(interface),
                Change::Stop(ifindex) => self.detach(ifindex),
                Change::Update(interface) => self.update(interface),
            }
        }
        let wanted: HashSet<u32> = self.table.wanted().map(|i| i.ifindex).collect();
        self.failed.retain(|ifindex, _| wanted.contains(ifindex));
        self.metrics
            .interfaces_watched
            .set(self.watched.len() as i64);
        // What an earlier agent pinned and this one does not want.
        self.sensor
            .release(|ifindex| self.watched.contains_key(&ifindex));
    }

    fn start(&mut self, interface: Interface) {
        if let Some(attachment) = self.sensor.adopt(interface.ifindex, interface.kind) {
            let (sampler, since) = self.take_over(&interface, attachment.id());
            self.watch(interface, attachment, sampler, since);
            return;
        }
        let ifindex = interface.ifindex;
        // Before the first packet can be counted, so that no interval is too short for its sample.
        let now = clock::now();
        if let Err(error) = self.sensor.insert_counters(ifindex) {
            tracing::warn!(interface = interface.name, %error, "no room to count this interface");
            self.not_attached(&interface, "counters_full", error.to_string());
            self.sensor.remove_counters(ifindex);
            self.table.forget(ifindex);
            return;
        }
        let attachment = Sensor::next_attachment();
        if self.config.sensor.pin {
            // From the first packet on, whoever comes next must know where the totals began.
            self.spool.begin_attachment(ifindex, attachment);
        }
        let name = &interface.name;
        match self
            .sensor
            .attach(name, ifindex, interface.kind, attachment)
        {
            Ok(attachment) => self.watch(interface, attachment, Sampler::new(now), now),
            Err(error) => {
                tracing::warn!(%error, "not watching");
                self.not_attached(&interface, error.cause(), error.to_string());
                self.sensor.remove_counters(ifindex);
                self.table.forget(ifindex);
            }
        }
    }

    /// Puts back classic filters that somebody has removed.
    pub fn mend(&mut self) {
        for Watched {
            interface,
            attachment,
            ..
        } in self.watched.values_mut()
        {
            if !attachment.is_torn() {
                continue;
            }
            tracing::warn!(
                interface = interface.name,
                "somebody has removed the agent's filters: putting them back"
            );
            self.metrics.attach_failure("removed");
            if let Err(error) = self
                .sensor
                .mend(attachment, &interface.name, interface.kind)
            {
                tracing::warn!(%error, "not counting");
                self.metrics.attach_failure(error.cause());
            }
        }
    }

    /// Counts a failure and remembers it until it is over.
    fn not_attached(&mut self, interface: &Interface, cause: &'static str, error: String) {
        self.metrics.attach_failure(cause);
        let failure = Failure {
            interface: interface.name.clone(),
            ifindex: interface.ifindex,
            cause: cause.to_owned(),
            error,
        };
        self.failed.insert(interface.ifindex, failure);
    }

    fn watch(
        &mut self,
        interface: Interface,
        attachment: Attachment,
        sampler: Sampler,
        since: Now,
    ) {
        let ifindex = interface.ifindex;
        tracing::info!(
            interface = interface.name,
            ifindex,
            mode = attachment.mode().name(),
            "watching"
        );
        self.failed.remove(&ifindex);
        self.metrics
            .attach_mode(&interface.name, attachment.mode().name());
        self.remember_name(&interface);
        let watched = Watched::new(interface, attachment, sampler, &self.config, since);
        let message = watched.message(true);
        self.spool
            .lock()
            .push_interface(clock::now(), message, self.synchronisation);
        self.watched.insert(ifindex, watched);
    }

    /// Where an earlier agent's records of these counters end: from there this one goes on.
    fn take_over(&mut self, interface: &Interface, attachment: u32) -> (Sampler, Now) {
        let now = clock::now();
        let ifindex = interface.ifindex;
        if let Some((totals, ended)) = self.inherited.remove(&(ifindex, attachment)) {
            let ended = ended.seen_from(now);
            let away_ns = now.monotonic_ns - ended.monotonic_ns;
            let before_ns = away_ns.saturating_sub(MAX_AWAY_NS);
            let since = Now {
                monotonic_ns: ended.monotonic_ns + before_ns,
                unix_ns: ended.unix_ns + before_ns as i64,
            };
            tracing::info!(
                interface = interface.name,
                "counting went on without an agent"
            );
            return (Sampler::resume(since, totals), since);
        }
        tracing::warn!(
            interface = interface.name,
            "counting went on, but the spool does not say from where: what passed is not known"
        );
        if let Some(previous) = self.previous {
            let gap = gap(previous.ended, now, GapCause::StateLost);
            let mut spool = self.spool.lock();
            spool.push_gap(now, gap, self.synchronisation);
        }
        let totals = self.totals(ifindex, Totals::default());
        (Sampler::resume(now, totals), now)
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
            self.metrics
                .attach_mode(&watched.interface.name, watched.attachment.mode().name());
            let mut spool = self.spool.lock();
            spool.push_interface(now, message, self.synchronisation);
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
        let mut spool = self.spool.lock();
        for frame in frames {
            spool.push_bandwidth(now, frame, self.synchronisation);
        }
        // Two interfaces that swap names: the old one is somebody else's by now.
        let taken = |(index, other): (&u32, &Watched)| {
            *index != ifindex && other.interface.name == old_name
        };
        let message = self.watched[&ifindex].message(false);
        if !self.watched.iter().any(taken) {
            spool.push_interface(now, message, self.synchronisation);
            self.metrics.forget_interface(&old_name);
        }
    }

    /// Ends the watch of an interface when the agent stops. Pinned programs go on counting: what is
    /// read now is where the next agent begins.
    pub(super) fn let_go(&mut self, ifindex: u32) {
        if !self
            .watched
            .get(&ifindex)
            .is_some_and(|w| w.attachment.is_pinned())
        {
            return self.detach(ifindex);
        }
        let Some(Watched {
            mut sampler,
            mut frames,
            link_speed_bps,
            ..
        }) = self.watched.remove(&ifindex)
        else {
            return;
        };
        let now = clock::now();
        let totals = self.totals(ifindex, sampler.totals());
        let sample = sampler.sample(now, totals, link_speed_bps, false);
        self.metrics.flags(sample.flags);
        let mut spool = self.spool.lock();
        let full = frames.push(now, sample, totals);
        for frame in full.into_iter().chain(frames.finish(now, totals)) {
            spool.push_bandwidth(now, frame, self.synchronisation);
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
        let number = attachment.id();
        self.sensor.detach(attachment);
        let now = clock::now();
        let totals = self.totals(ifindex, sampler.totals());
        let sample = sampler.sample(now, totals, link_speed_bps, false);
        self.metrics.flags(sample.flags);
        let mut spool = self.spool.lock();
        let full = frames.push(now, sample, totals);
        for frame in full.into_iter().chain(frames.finish(now, totals)) {
            spool.push_bandwidth(now, frame, self.synchronisation);
        }
        spool.forget_attachment(ifindex, number);
        spool.push_interface(now, message, self.synchronisation);
        drop(spool);
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
