//! Interfaces that appear, change and go.

use std::collections::HashSet;

use netmon_common::wire::{self, BandwidthFrame, GapCause};

use super::{
    namespace::{Namespace, Number, Shared},
    sightings::Watcher,
    watched::Watched,
    work::{Work, gap},
};
use crate::{
    bandwidth::{FrameBuilder, Sampler, Totals},
    clock::{self, Now},
    config::Config,
    interfaces::{Change, Event, Interface, NAMESPACE_MARK, is_sendable, link_speed_bps},
    metrics::Metrics,
    sensor::{AttachError, Attachment, Sensor},
    status::Failure,
};

/// The longest interval of a sample that covers a time without an agent: the column of the database
/// holds half an hour. What is longer began at an unknown time.
const MAX_AWAY_NS: u64 = 30 * 60 * 1_000_000_000;

impl Work {
    /// Brings the watched set of a namespace in line with what rtnetlink says of it.
    pub fn interfaces(&mut self, number: Number, event: Event) {
        let found = self.namespaces.iter_mut().find(|n| n.number == number);
        // Else it is gone, and this was on its way.
        if let Some(namespace) = found {
            let mut watcher = Watcher::new(&mut self.sightings, self.board.as_deref());
            namespace.interfaces(event, &mut self.shared, &mut watcher);
            self.show_watched();
        }
    }

    /// Puts back classic filters that somebody has removed.
    pub fn mend(&mut self) {
        for namespace in &mut self.namespaces {
            namespace.mend(&self.shared.metrics);
        }
    }
}

impl Namespace {
    fn interfaces(&mut self, event: Event, shared: &mut Shared, watcher: &mut Watcher<'_>) {
        let changes = self.table.observe(event);
        for change in changes {
            match change {
                Change::Start(interface) => {
                    self.clear_away(interface.ifindex, &shared.metrics, watcher);
                    self.start(interface, shared);
                }
                Change::Stop(ifindex) => self.detach(ifindex, shared),
                Change::Update(interface) => self.update(interface, shared),
            }
        }
        let wanted: HashSet<u32> = self.table.wanted().map(|i| i.ifindex).collect();
        self.failed.retain(|ifindex, _| wanted.contains(ifindex));
        // What an earlier agent pinned and this one does not want.
        self.sensor
            .release(|ifindex| self.watched.contains_key(&ifindex));
    }

    fn start(&mut self, interface: Interface, shared: &mut Shared) {
        if let Err(error) = self.check_name(&interface.name, &shared.config) {
            self.not_attached(&interface, "name", error, &shared.metrics);
            return;
        }
        if let Some(attachment) = self.sensor.adopt(interface.ifindex, interface.kind) {
            let (sampler, since) = self.take_over(&interface, attachment.id(), shared);
            self.watch(interface, attachment, sampler, since, shared);
            return;
        }
        let ifindex = interface.ifindex;
        // Before the first packet can be counted, so that no interval is too short for its sample.
        let now = clock::now();
        if let Err(error) = self.sensor.insert_counters(ifindex) {
            tracing::warn!(interface = interface.name, %error, "no room to count this interface");
            let error = error.to_string();
            self.not_attached(&interface, "counters_full", error, &shared.metrics);
            self.sensor.remove_counters(ifindex);
            self.table.forget(ifindex);
            return;
        }
        let attachment = Sensor::next_attachment();
        if shared.config.sensor.pin && self.is_own() {
            // From the first packet on, whoever comes next must know where the totals began.
            shared.spool.begin_attachment(ifindex, attachment);
        }
        match self.attach(&interface, attachment) {
            Ok(attachment) => self.watch(interface, attachment, Sampler::new(now), now, shared),
            Err(error) => {
                tracing::warn!(%error, namespace = self.name, "not watching");
                let (cause, error) = (error.cause(), error.to_string());
                self.not_attached(&interface, cause, error, &shared.metrics);
                // One of the programs may have run for a while.
                self.depart(ifindex, self.label(&interface.name), false);
                self.sensor.remove_counters(ifindex);
                self.table.forget(ifindex);
            }
        }
    }

    fn attach(&mut self, interface: &Interface, number: u32) -> Result<Attachment, AttachError> {
        let (name, sensor) = (&interface.name, &mut self.sensor);
        let attach = || sensor.attach(name, interface.ifindex, interface.kind, number);
        self.netns.inside(attach).unwrap_or_else(|error| {
            Err(AttachError::Refused {
                interface: name.clone(),
                source: Box::new(error),
            })
        })
    }

    /// Two interfaces of one name would be one to a server.
    fn check_name(&self, name: &str, config: &Config) -> Result<(), String> {
        let label = self.label(name);
        if !is_sendable(&label) {
            return Err(format!("{label} is longer than a server takes"));
        }
        let of_a_namespace = |(_, namespace): (&str, &str)| {
            let named = &config.interfaces.namespaces;
            self.is_own() && named.iter().any(|known| known == namespace)
        };
        if name.rsplit_once(NAMESPACE_MARK).is_some_and(of_a_namespace) {
            return Err(format!("{name} is what an interface elsewhere is called"));
        }
        Ok(())
    }

    fn mend(&mut self, metrics: &Metrics) {
        let Self {
            netns,
            sensor,
            watched,
            ..
        } = self;
        let look = || {
            for watched in watched.values_mut() {
                mend(sensor, watched, metrics);
            }
        };
        if let Err(error) = netns.inside(look) {
            tracing::warn!(%error, namespace = self.name, "filters not looked at");
        }
    }

    /// Counts a failure and remembers it until it is over.
    fn not_attached(
        &mut self,
        interface: &Interface,
        cause: &'static str,
        error: String,
        metrics: &Metrics,
    ) {
        metrics.attach_failure(cause);
        let failure = Failure {
            interface: self.label(&interface.name),
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
        shared: &mut Shared,
    ) {
        let ifindex = interface.ifindex;
        let label = self.label(&interface.name);
        tracing::info!(
            interface = label,
            ifindex,
            mode = attachment.mode().name(),
            "watching"
        );
        self.failed.remove(&ifindex);
        let mode = attachment.mode().name();
        shared.metrics.attach_mode(&label, mode);
        shared.names.insert((self.number, ifindex), label.clone());
        let speed_bps = self.speed_bps(&interface);
        let watched = Watched::new(
            (interface, label, speed_bps),
            attachment,
            sampler,
            &shared.config,
            since,
        );
        shared.push_interface(clock::now(), watched.message(true));
        self.watched.insert(ifindex, watched);
    }

    /// bit/s. The speed of a software interface is a fiction that traffic may well exceed.
    fn speed_bps(&self, interface: &Interface) -> Option<u64> {
        if interface.is_virtual {
            return None;
        }
        let asked = self.netns.inside(|| link_speed_bps(&interface.name));
        asked.ok().flatten()
    }

    /// Where an earlier agent's records of these counters end: from there this one goes on.
    fn take_over(
        &self,
        interface: &Interface,
        attachment: u32,
        shared: &mut Shared,
    ) -> (Sampler, Now) {
        let now = clock::now();
        let ifindex = interface.ifindex;
        if let Some((totals, ended)) = shared.inherited.remove(&(ifindex, attachment)) {
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
        if let Some(previous) = shared.previous {
            let gap = gap(previous.ended, now, GapCause::StateLost);
            let mut spool = shared.spool.lock();
            spool.push_gap(now, gap, shared.synchronisation);
        }
        let totals = self.totals(ifindex, Totals::default(), &shared.metrics);
        (Sampler::resume(now, totals), now)
    }

    fn update(&mut self, interface: Interface, shared: &mut Shared) {
        let now = clock::now();
        let ifindex = interface.ifindex;
        let label = self.label(&interface.name);
        shared.names.insert((self.number, ifindex), label.clone());
        let renamed = |watched: &Watched| watched.label != label;
        if self.watched.get(&ifindex).is_some_and(renamed) {
            self.finish_name(ifindex, &label, shared);
        }
        let speed_bps = self.speed_bps(&interface);
        if let Some(watched) = self.watched.get_mut(&ifindex) {
            watched.update((interface, label, speed_bps), &shared.config, now);
            let mode = watched.attachment.mode().name();
            shared.metrics.attach_mode(&watched.label, mode);
            shared.push_interface(now, watched.message(true));
        }
    }

    /// Whatever passed up to now belongs to the old name.
    fn finish_name(&mut self, ifindex: u32, new_name: &str, shared: &Shared) {
        let Some(last) = self.watched.get(&ifindex).map(|w| w.sampler.totals()) else {
            return;
        };
        let totals = self.totals(ifindex, last, &shared.metrics);
        let now = clock::now();
        let Some(watched) = self.watched.get_mut(&ifindex) else {
            return;
        };
        let old_name = watched.label.clone();
        tracing::info!(from = old_name, to = new_name, "renamed");
        let sample = watched
            .sampler
            .sample(now, totals, watched.link_speed_bps, false);
        let full = watched.frames.push(now, sample, totals);
        let frames = full.into_iter().chain(watched.frames.finish(now, totals));
        shared.push_frames(now, frames);
        // Two interfaces that swap names: the old one is somebody else's by now.
        let taken = |(index, other): (&u32, &Watched)| *index != ifindex && other.label == old_name;
        let message = self.watched[&ifindex].message(false);
        if !self.watched.iter().any(taken) {
            shared.push_interface(now, message);
            shared.metrics.forget_interface(&old_name);
        }
    }

    /// Ends the watch of an interface when the agent stops. Pinned programs go on counting: what is
    /// read now is where the next agent begins.
    pub(super) fn let_go(&mut self, ifindex: u32, shared: &mut Shared) {
        if !self
            .watched
            .get(&ifindex)
            .is_some_and(|w| w.attachment.is_pinned())
        {
            return self.detach(ifindex, shared);
        }
        let Some(watched) = self.watched.remove(&ifindex) else {
            return;
        };
        let Watched {
            sampler,
            frames,
            link_speed_bps,
            ..
        } = watched;
        self.finish(ifindex, (sampler, frames, link_speed_bps), shared);
    }

    /// Detaches first and reads the counters then, so that the last sample is the whole truth.
    pub(super) fn detach(&mut self, ifindex: u32, shared: &mut Shared) {
        let Some(watched) = self.watched.remove(&ifindex) else {
            return;
        };
        let message = watched.message(false);
        let Watched {
            label,
            attachment,
            sampler,
            frames,
            link_speed_bps,
            ..
        } = watched;
        tracing::info!(interface = label, ifindex, "no longer watching");
        let (number, is_adopted) = (attachment.id(), attachment.is_adopted());
        let sensor = &mut self.sensor;
        // Filters are removed where they are.
        if let Err(error) = self.netns.inside(|| sensor.detach(attachment)) {
            tracing::warn!(interface = label, %error, "filters may be left");
        }
        let now = self.finish(ifindex, (sampler, frames, link_speed_bps), shared);
        shared.spool.lock().forget_attachment(ifindex, number);
        shared.push_interface(now, message);
        shared.metrics.forget_interface(&label);
        self.depart(ifindex, label, !is_adopted);
        self.sensor.remove_counters(ifindex);
    }

    /// The last sample and the last frame.
    fn finish(
        &self,
        ifindex: u32,
        (mut sampler, mut frames, link_speed_bps): (Sampler, FrameBuilder, Option<u64>),
        shared: &Shared,
    ) -> Now {
        let now = clock::now();
        let totals = self.totals(ifindex, sampler.totals(), &shared.metrics);
        let sample = sampler.sample(now, totals, link_speed_bps, false);
        shared.metrics.flags(sample.flags);
        let full = frames.push(now, sample, totals);
        shared.push_frames(now, full.into_iter().chain(frames.finish(now, totals)));
        now
    }

    /// The kernel's totals, or the last known ones if they cannot be read.
    fn totals(&self, ifindex: u32, last: Totals, metrics: &Metrics) -> Totals {
        self.sensor.totals(ifindex).unwrap_or_else(|error| {
            metrics.map_read_failed(&error);
            last
        })
    }
}

impl Shared {
    fn push_interface(&self, now: Now, message: wire::Interface) {
        let mut spool = self.spool.lock();
        spool.push_interface(now, message, self.synchronisation);
    }

    fn push_frames(&self, now: Now, frames: impl IntoIterator<Item = BandwidthFrame>) {
        let mut spool = self.spool.lock();
        for frame in frames {
            spool.push_bandwidth(now, frame, self.synchronisation);
        }
    }
}

fn mend(sensor: &mut Sensor, watched: &mut Watched, metrics: &Metrics) {
    let Watched {
        interface,
        label,
        attachment,
        ..
    } = watched;
    if !attachment.is_torn() {
        return;
    }
    tracing::warn!(
        interface = label,
        "somebody has removed the agent's filters: putting them back"
    );
    metrics.attach_failure("removed");
    if let Err(error) = sensor.mend(attachment, &interface.name, interface.kind) {
        tracing::warn!(%error, "not counting");
        metrics.attach_failure(error.cause());
    }
}
