//! What the agent does at each tick and event.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    sync::Arc,
    time::Duration,
};

use futures_util::future::select_all;
use netmon_common::wire::{Gap, GapCause, Live, SystemSample};
use tokio::sync::watch;

use super::{
    findings::Outlet,
    folds,
    merge::Merge,
    named::OpenError,
    namespace::{Closed, Namespace, Number, OWN, Shared},
    sightings::{self, Watcher},
};
use crate::{
    clock::{self, Moment, Now, StepDetector, TaiOffset},
    config::Config,
    interfaces::{Event, Netns, Table},
    metrics::{Drained, Metrics},
    ntp::{
        self, Dedupe, Monitoring, Observer, Packet, Terms, Throttle, Unpaired, Wishes, fold::Fold,
    },
    sensor::{RingFill, Sensor},
    spool::{Recovered, Spool},
    status::{Drains, Troubles},
    system::{self, Collected},
    watch::{Board, Sightings},
};

/// Most names of interfaces that are gone, for exchanges still under way.
const MAX_NAMES: usize = 4096;

/// The sensors and everything they feed.
pub struct Work {
    /// The first is the agent's own.
    pub(super) namespaces: Vec<Namespace>,
    pub(super) shared: Shared,
    pub(super) closed: Closed,
    /// Wanted namespaces that cannot be watched, and why not.
    pub(super) not_entered: BTreeMap<String, String>,
    pub(super) started: Now,
    pub(super) troubles: Troubles,
    pub(super) drains: Drains,
    merge: Merge<Packet>,
    dedupe: Dedupe,
    pub(super) observer: Observer,
    pub(super) monitoring: Monitoring,
    /// When the host's addresses were looked at.
    pub(super) looked_at_addresses_ns: Option<u64>,
    pub(super) unasked: Throttle,
    pub(super) fold: Fold,
    pub(super) sightings: Sightings,
    /// Which watch set is in force, if one may be.
    pub(super) board: Option<Arc<Board>>,
    steps: StepDetector,
    pub(super) reported_at_ns: u64,
    /// The newest reading of the host, as it is shown.
    pub(super) host: Option<SystemSample>,
    pub(super) live: watch::Sender<Live>,
}

impl Work {
    /// Nothing is watched yet. `wishes` are those of before.
    pub fn new(
        config: &Config,
        wishes: Wishes,
        (sensor, table): (Sensor, Table),
        (spool, recovered): (Spool, Recovered),
        live: watch::Sender<Live>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let limits = ntp::Limits {
            timeout: config.ntp.timeout,
            max_pending: config.ntp.max_pending,
            max_associations: config.ntp.max_associations,
        };
        let own = Namespace::new(OWN, None, Netns::own(), sensor, table, config);
        let capacity = own.ring.as_ref().map_or(0, RingFill::capacity_bytes);
        metrics.ring_capacity.set(capacity as i64);
        metrics.namespaces(&config.interfaces.namespaces);
        Self {
            namespaces: vec![own],
            shared: Shared {
                config: config.clone(),
                names: HashMap::new(),
                inherited: recovered.checkpoint,
                previous: recovered.previous,
                synchronisation: clock::synchronisation(),
                spool,
                metrics,
            },
            closed: Closed::default(),
            not_entered: BTreeMap::new(),
            started: clock::now(),
            troubles: Troubles::default(),
            drains: Drains::default(),
            merge: Merge::default(),
            dedupe: Dedupe::default(),
            observer: Observer::new(limits, clock::now().monotonic_ns),
            monitoring: Monitoring::new(
                Terms {
                    ports: config.ntp.ports,
                    timeout: config.ntp.timeout,
                },
                wishes,
            ),
            looked_at_addresses_ns: None,
            unasked: Throttle::new(clock::now().monotonic_ns),
            fold: folds::fold(config),
            sightings: sightings::sightings(config),
            board: None,
            steps: StepDetector::default(),
            reported_at_ns: clock::now().monotonic_ns,
            host: None,
            live,
        }
    }

    /// The watch set that is in force stands there.
    pub fn watching(&mut self, board: Option<Arc<Board>>) {
        self.board = board;
    }

    /// Waits until a ring is full to a good part.
    pub async fn readable(&self) -> io::Result<()> {
        let rings = self.namespaces.iter();
        let readable = rings.map(|namespace| Box::pin(namespace.sensor.readable()));
        select_all(readable).await.0
    }

    /// Whether addresses decide which interfaces are watched.
    pub fn minds_addresses(&self) -> bool {
        self.shared.config.interfaces.minds_addresses()
    }

    /// How many attachments of an earlier run nobody has taken over yet.
    pub fn inherited(&self) -> usize {
        self.shared.inherited.len()
    }

    /// Once the interfaces there are at the start are watched: says how the time since the run before
    /// is to be understood.
    pub fn account_for_absence(&mut self, adopted: bool) {
        let now = clock::now();
        let mut intake = self.shared.spool.lock();
        for (ifindex, attachment) in std::mem::take(&mut self.shared.inherited).into_keys() {
            intake.forget_attachment(ifindex, attachment);
        }
        let Some(previous) = self.shared.previous.filter(|_| !adopted) else {
            return;
        };
        let cause = if previous.clean {
            GapCause::Stopped
        } else {
            GapCause::Crashed
        };
        let gap = gap(previous.ended, now, cause);
        intake.push_gap(now, gap, self.shared.synchronisation);
    }

    /// Takes events from the ring buffer and pairs them, for one turn; returns whether more may
    /// wait. A flood must not keep everything else from its turn.
    pub fn drain(&mut self) -> bool {
        let more = self.drain_burst() | self.flow_events();
        for namespace in &mut self.namespaces {
            namespace.sensor.log_losses();
        }
        more
    }

    fn drain_burst(&mut self) -> bool {
        let now = clock::now();
        let tai = TaiOffset::measure();
        let rings = self.namespaces.iter().filter_map(|n| n.ring.as_ref());
        if let Some(fullest) = rings.map(RingFill::used_bytes).max() {
            self.shared.metrics.ring(fullest);
        }
        let Self {
            namespaces,
            shared,
            merge,
            dedupe,
            observer,
            unasked,
            fold,
            monitoring,
            ..
        } = self;
        let metrics = &shared.metrics;
        let gate = (&**metrics, &*monitoring);
        let mut intake = shared.spool.lock();
        let mut outlet = Outlet::new(now, shared, &mut intake, unasked, fold);
        // Once more: its interface may have been stopped while it waited here.
        let mut pair = |packet: Packet| match monitoring.admit(&packet) {
            Ok(()) => observer.observe(packet, &mut |found| outlet.take(found)),
            Err(cause) => metrics.unwanted(cause),
        };
        let copies = dedupe.copies();
        // One ring is in order by itself.
        let is_alone = namespaces.len() == 1 && merge.is_empty();
        let mut more = false;
        for namespace in namespaces {
            let number = namespace.number;
            if is_alone {
                let each = |packet| dedupe.observe(packet, &mut pair);
                more |= namespace.take_packets(tai, gate, each).0;
            } else if merge.may_take(number) {
                let each = |packet: Packet| merge.push(packet.hooked_at_ns, packet);
                let (has_more, last_ns) = namespace.take_packets(tai, gate, each);
                merge.took(number, last_ns.filter(|_| has_more));
                more |= has_more;
            } else {
                more = true;
            }
        }
        merge.pass(now.monotonic_ns, |packet| dedupe.observe(packet, &mut pair));
        if !more {
            // Nothing older than this moment is in a ring.
            dedupe.release(now.monotonic_ns, &mut pair);
        }
        drop(intake);
        for _ in copies..dedupe.copies() {
            metrics.unpaired(Unpaired::DuplicateCapture);
        }
        let took = Duration::from_nanos(clock::now().monotonic_ns - now.monotonic_ns);
        metrics.drained(Drained::Events, took);
        self.drains.observe(took);
        more
    }

    /// Reads all counters; expires requests; seals what is due.
    pub fn sample(&mut self) {
        let now = clock::now();
        self.look_at_addresses(now);
        let stepped = self.steps.observe(now);
        let Self {
            namespaces,
            shared,
            observer,
            unasked,
            fold,
            sightings,
            ..
        } = self;
        shared.synchronisation = clock::synchronisation();
        observer.set_synchronised(shared.synchronisation.synchronised);
        let Shared { metrics, spool, .. } = &*shared;
        let synchronisation = shared.synchronisation;
        if stepped {
            tracing::warn!("the wall clock was stepped");
            metrics.clock_steps.inc();
        }
        metrics.clock(synchronisation);
        if stepped {
            folds::finish(fold, shared, now);
        }
        folds::hand_over(fold, shared, now);
        sightings::hand_over(sightings, shared, now, stepped);
        let mut intake = spool.lock();
        if stepped {
            // Records of the old clock must not share a batch with those of the new one: a server
            // that finds one time impossible refuses its whole batch.
            intake.seal(now, synchronisation);
        }
        let began_ns = clock::now().monotonic_ns;
        for namespace in namespaces {
            for (ifindex, watched) in &mut namespace.watched {
                // A read that fails repeats the last totals: a sample of nothing, not a wrong one.
                let totals = namespace.sensor.totals(*ifindex).unwrap_or_else(|error| {
                    metrics.map_read_failed(&error);
                    watched.sampler.totals()
                });
                let sample = watched
                    .sampler
                    .sample(now, totals, watched.link_speed_bps, stepped);
                metrics.flags(sample.flags);
                metrics.interface(&watched.label, totals);
                if let Some(frame) = watched.frames.push(now, sample, totals) {
                    intake.push_bandwidth(now, frame, synchronisation);
                }
            }
        }
        let took = Duration::from_nanos(clock::now().monotonic_ns - began_ns);
        metrics.drained(Drained::Counters, took);
        if stepped {
            intake.seal(now, synchronisation);
        }
        let mut outlet = Outlet::new(now, shared, &mut intake, unasked, fold);
        observer.expire(now.monotonic_ns, &mut |found| outlet.take(found));
        intake.seal_if_due(now, synchronisation);
        drop(intake);
        metrics.spool(&spool.status());
        metrics.pairing(observer.tally(), observer.load());
    }

    /// Takes a reading of the host.
    pub fn system(&mut self, collected: Collected) {
        self.shared.metrics.system.update(&collected);
        self.host = Some(system::brief(&collected.sample));
        let mut intake = self.shared.spool.lock();
        intake.push_system(clock::now(), collected.sample, self.shared.synchronisation);
    }

    /// Watches a named namespace from now on.
    pub fn open(&mut self, namespace: Namespace, interfaces: Event) {
        let number = namespace.number;
        if let Some(name) = &namespace.name {
            tracing::info!(namespace = name, "watching this network namespace too");
            self.not_entered.remove(name);
            self.shared.metrics.namespace_watched(name, true);
        }
        self.namespaces.push(namespace);
        self.interfaces(number, interfaces);
    }

    /// Why a wanted namespace is not watched.
    pub fn not_opened(&mut self, name: String, error: &OpenError) {
        self.shared.metrics.namespace_failed(error.cause());
        let error = error.to_string();
        if self.not_entered.get(&name) != Some(&error) {
            tracing::warn!(namespace = name, error, "not watching this namespace");
            self.not_entered.insert(name, error);
        }
    }

    /// Lets go of a namespace: its interfaces end as if they had been removed, and what was counted
    /// in it is taken.
    pub fn close(&mut self, name: &str, number: Option<Number>) {
        self.not_entered.remove(name);
        let number = number.filter(|number| *number != OWN);
        let at = number.and_then(|n| self.namespaces.iter().position(|i| i.number == n));
        let Some(at) = at else { return };
        tracing::info!(namespace = name, "this network namespace is gone");
        let mut namespace = self.namespaces.remove(at);
        let Self {
            shared,
            closed,
            merge,
            monitoring,
            sightings,
            board,
            ..
        } = self;
        for ifindex in namespace.watched.keys().copied().collect::<Vec<_>>() {
            namespace.detach(ifindex, shared);
        }
        let metrics = &shared.metrics;
        let tai = TaiOffset::measure();
        // Nothing comes any more: as many turns as the ring has room for.
        while namespace
            .take_packets(tai, (metrics, monitoring), |packet: Packet| {
                merge.push(packet.hooked_at_ns, packet)
            })
            .0
        {}
        merge.took(namespace.number, None);
        namespace.finish_flows(metrics, &mut Watcher::new(sightings, board.as_deref()));
        closed.add(&namespace, metrics);
        metrics.namespace_watched(name, false);
        self.show_watched();
    }

    /// After any change of what is watched.
    pub(super) fn show_watched(&mut self) {
        self.arrange();
        let watched = self.namespaces.iter().map(|n| n.watched.len());
        let metrics = &self.shared.metrics;
        metrics
            .interfaces_watched
            .set(watched.sum::<usize>() as i64);
        if self.shared.names.len() > MAX_NAMES {
            let namespaces = &self.namespaces;
            self.shared.names.retain(|(number, ifindex), _| {
                let namespace = namespaces.iter().find(|n| n.number == *number);
                namespace.is_some_and(|n| n.watched.contains_key(ifindex))
            });
        }
    }

    /// Detaches everywhere, takes the last events and deltas, and seals the last batch.
    pub fn stop(&mut self) {
        for namespace in &mut self.namespaces {
            for ifindex in namespace.watched.keys().copied().collect::<Vec<_>>() {
                namespace.let_go(ifindex, &mut self.shared);
            }
        }
        while self.drain_burst() {}
        self.finish_flows();
        // What is left takes time, and these would be kept alive by the ways in.
        for namespace in self.namespaces.drain(1..) {
            self.closed.add(&namespace, &self.shared.metrics);
        }
        let mut held = Vec::new();
        let mut hold = |packet| held.push(packet);
        self.merge
            .flush(|packet| self.dedupe.observe(packet, &mut hold));
        self.dedupe.flush(&mut hold);
        let now = clock::now();
        let mut intake = self.shared.spool.lock();
        let (unasked, fold) = (&mut self.unasked, &mut self.fold);
        let mut outlet = Outlet::new(now, &self.shared, &mut intake, unasked, fold);
        for packet in held {
            let mut take = |found| outlet.take(found);
            match self.monitoring.admit(&packet) {
                Ok(()) => self.observer.observe(packet, &mut take),
                Err(cause) => self.shared.metrics.unwanted(cause),
            }
        }
        let mut take = |found| outlet.take(found);
        self.observer.expire(now.monotonic_ns, &mut take);
        self.observer.stop(&mut take);
        drop(intake);
        folds::finish(&mut self.fold, &self.shared, now);
        sightings::hand_over(&mut self.sightings, &self.shared, now, true);
        let mut intake = self.shared.spool.lock();
        intake.seal_last(now, self.shared.synchronisation);
    }
}

/// A time without measurements up to `now`.
pub(super) fn gap(from: Moment, now: Now, cause: GapCause) -> Gap {
    Gap {
        from_unix_ns: from.seen_from(now).unix_ns,
        to_unix_ns: now.unix_ns,
        cause: cause.into(),
    }
}
