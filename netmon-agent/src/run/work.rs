//! What the agent does at each tick and event.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use netmon_common::wire::{Gap, GapCause, Live, SystemSample};
use tokio::sync::watch;

use super::watched::Watched;
use crate::{
    bandwidth::Totals,
    clock::{self, Moment, Now, StepDetector, Synchronisation, TaiOffset},
    config::Config,
    flows::Book,
    interfaces::Table,
    metrics::{Drained, Metrics},
    ntp::{self, Dedupe, Exchange, Match, Packet, Pairing, Throttle, Unpaired},
    sensor::{RingFill, Sensor},
    spool::{Previous, Recovered, Spool},
    status::{Drains, Failure, Troubles},
    system::{self, Collected},
};

/// The sensor and everything it feeds.
pub struct Work {
    pub(super) config: Config,
    pub(super) sensor: Sensor,
    pub(super) table: Table,
    pub(super) watched: BTreeMap<u32, Watched>,
    pub(super) names: HashMap<u32, String>,
    /// By (interface index, attachment): what an earlier agent recorded last of counters that are
    /// pinned, and the wall clock at that moment, ns.
    pub(super) inherited: HashMap<(u32, u32), (Totals, Moment)>,
    /// The run before, if it measured anything.
    pub(super) previous: Option<Previous>,
    pub(super) started: Now,
    /// Wanted interfaces the programs could not be attached to.
    pub(super) failed: BTreeMap<u32, Failure>,
    pub(super) troubles: Troubles,
    pub(super) drains: Drains,
    pub(super) ring: Option<RingFill>,
    dedupe: Dedupe,
    pairing: Pairing,
    unasked: Throttle,
    steps: StepDetector,
    pub(super) synchronisation: Synchronisation,
    reported_at_ns: u64,
    /// The newest reading of the host, as it is shown.
    host: Option<SystemSample>,
    pub(super) spool: Spool,
    pub(super) book: Book,
    live: watch::Sender<Live>,
    pub(super) metrics: Arc<Metrics>,
}

impl Work {
    /// Nothing is watched yet.
    pub fn new(
        config: &Config,
        sensor: Sensor,
        table: Table,
        (spool, recovered): (Spool, Recovered),
        live: watch::Sender<Live>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let limits = ntp::Limits {
            timeout: config.ntp.timeout,
            max_pending: config.ntp.max_pending,
        };
        let ring = sensor.ring_fill();
        let ring = ring
            .inspect_err(|error| tracing::warn!(%error, "cannot see how full the ring is"))
            .ok();
        let capacity = ring.as_ref().map_or(0, RingFill::capacity_bytes);
        metrics.ring_capacity.set(capacity as i64);
        Self {
            config: config.clone(),
            started: clock::now(),
            failed: BTreeMap::new(),
            troubles: Troubles::default(),
            drains: Drains::default(),
            ring,
            dedupe: Dedupe::default(),
            sensor,
            table,
            watched: BTreeMap::new(),
            names: HashMap::new(),
            inherited: recovered.checkpoint,
            previous: recovered.previous,
            pairing: Pairing::new(limits, clock::now().monotonic_ns),
            unasked: Throttle::new(clock::now().monotonic_ns),
            steps: StepDetector::default(),
            synchronisation: clock::synchronisation(),
            reported_at_ns: clock::now().monotonic_ns,
            host: None,
            book: Self::flow_book(config),
            spool,
            live,
            metrics,
        }
    }

    /// For waiting on the ring buffer.
    pub fn sensor(&self) -> &Sensor {
        &self.sensor
    }

    /// Whether addresses decide which interfaces are watched.
    pub fn minds_addresses(&self) -> bool {
        self.config.interfaces.minds_addresses()
    }

    /// How many attachments of an earlier run nobody has taken over yet.
    pub fn inherited(&self) -> usize {
        self.inherited.len()
    }

    /// Once the interfaces there are at the start are watched: says how the time since the run before
    /// is to be understood.
    pub fn account_for_absence(&mut self, adopted: bool) {
        let now = clock::now();
        let mut intake = self.spool.lock();
        for (ifindex, attachment) in std::mem::take(&mut self.inherited).into_keys() {
            intake.forget_attachment(ifindex, attachment);
        }
        let Some(previous) = self.previous.filter(|_| !adopted) else {
            return;
        };
        let cause = if previous.clean {
            GapCause::Stopped
        } else {
            GapCause::Crashed
        };
        let gap = gap(previous.ended, now, cause);
        intake.push_gap(now, gap, self.synchronisation);
    }

    /// Takes events from the ring buffer and pairs them, for one turn; returns whether more may
    /// wait. A flood must not keep everything else from its turn.
    pub fn drain(&mut self) -> bool {
        let more = self.drain_burst() | self.flow_events();
        self.sensor.flush_kernel_log();
        more
    }

    fn drain_burst(&mut self) -> bool {
        let now = clock::now();
        let tai = TaiOffset::measure();
        if let Some(ring) = &self.ring {
            self.metrics.ring(ring.used_bytes());
        }
        let Self {
            sensor,
            dedupe,
            pairing,
            unasked,
            metrics,
            names,
            synchronisation,
            ..
        } = self;
        let shared = self.spool.clone();
        let mut intake = shared.lock();
        let mut pair = |packet: Packet| {
            // Requests that timed out before this packet come first.
            let at_ns = packet.captured_at_ns;
            let mut found = Vec::new();
            pairing.expire(at_ns, |exchange| found.push(exchange));
            found.extend(pairing.observe(packet));
            for exchange in found {
                if exchange.request.is_none() && !unasked.allow(at_ns) {
                    metrics.exchange(exchange.kind);
                    metrics.unasked_not_stored.inc();
                    continue;
                }
                let message = record(&exchange, names, *synchronisation, metrics);
                intake.push_exchange(now, message, *synchronisation);
            }
        };
        let copies = dedupe.copies();
        let more = sensor.drain(|event| {
            let Some(event) = event else {
                metrics.invalid_events.inc();
                return;
            };
            metrics.ntp_packets.inc();
            match Packet::decode(&event, tai) {
                Ok(packet) => dedupe.observe(packet, &mut pair),
                Err(cause) => metrics.unpaired(cause),
            }
        });
        if !more {
            // Nothing older than this moment is in the ring.
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
        let stepped = self.steps.observe(now);
        if stepped {
            tracing::warn!("the wall clock was stepped");
            self.metrics.clock_steps.inc();
        }
        self.synchronisation = clock::synchronisation();
        self.metrics.clock(self.synchronisation);
        let mut intake = self.spool.lock();
        if stepped {
            // Records of the old clock must not share a batch with those of the new one: a server
            // that finds one time impossible refuses its whole batch.
            intake.seal(now, self.synchronisation);
        }
        let began_ns = clock::now().monotonic_ns;
        for (ifindex, watched) in &mut self.watched {
            // A read that fails repeats the last totals: a sample of nothing, not a wrong one.
            let totals = self.sensor.totals(*ifindex).unwrap_or_else(|error| {
                self.metrics.map_read_failed(&error);
                watched.sampler.totals()
            });
            let sample = watched
                .sampler
                .sample(now, totals, watched.link_speed_bps, stepped);
            self.metrics.flags(sample.flags);
            self.metrics.interface(&watched.interface.name, totals);
            if let Some(frame) = watched.frames.push(now, sample, totals) {
                intake.push_bandwidth(now, frame, self.synchronisation);
            }
        }
        let took = Duration::from_nanos(clock::now().monotonic_ns - began_ns);
        self.metrics.drained(Drained::Counters, took);
        if stepped {
            intake.seal(now, self.synchronisation);
        }
        let (names, metrics, synchronisation) = (&self.names, &self.metrics, self.synchronisation);
        self.pairing.expire(now.monotonic_ns, |exchange| {
            let message = record(&exchange, names, synchronisation, metrics);
            intake.push_exchange(now, message, synchronisation);
        });
        intake.seal_if_due(now, self.synchronisation);
        drop(intake);
        self.metrics.spool(&self.spool.status());
        self.metrics
            .pairing(self.pairing.tally(), self.pairing.remembered());
    }

    /// Takes a reading of the host.
    pub fn system(&mut self, collected: Collected) {
        self.metrics.system.update(&collected);
        self.host = Some(system::brief(&collected.sample));
        let mut intake = self.spool.lock();
        intake.push_system(clock::now(), collected.sample, self.synchronisation);
    }

    /// Publishes the newest values.
    pub fn report(&mut self) {
        let now = clock::now();
        let losses = self.sensor.losses().unwrap_or_else(|error| {
            self.metrics.map_read_failed(&error);
            self.metrics.last_losses()
        });
        self.metrics.losses(&losses);
        for (ifindex, watched) in &self.watched {
            match self.sensor.splits(*ifindex) {
                Ok(splits) => self.metrics.splits(&watched.interface.name, &splits),
                Err(error) => self.metrics.map_read_failed(&error),
            }
        }
        self.metrics.programs(&self.sensor.program_times());
        self.troubles
            .observe(now, &losses, &self.spool.status(), &self.metrics);
        self.metrics
            .map_entries
            .set(self.sensor.map_entries() as i64);
        let (outbox_batches, outbox_bytes) = self.spool.status().waiting;
        let answered = [Match::Basic, Match::Superseded, Match::Late];
        let live = Live {
            at_unix_ns: now.unix_ns,
            interfaces: self.watched.values_mut().map(Watched::live).collect(),
            ntp_packets: self.metrics.ntp_packets.get(),
            ntp_exchanges: self.metrics.exchanges_of(&answered),
            ntp_unanswered: self.metrics.exchanges_of(&[Match::Unanswered]),
            losses: losses
                .iter()
                .map(|(loss, n)| (loss.name().to_owned(), *n))
                .collect(),
            outbox_batches,
            outbox_bytes,
            interval_us: now.monotonic_ns.saturating_sub(self.reported_at_ns) / 1000,
            system: self.host.clone().map(Box::new),
        };
        self.reported_at_ns = now.monotonic_ns;
        self.live.send_replace(live);
    }

    /// Detaches everywhere, takes the last events and deltas, and seals the last batch.
    pub fn stop(&mut self) {
        for ifindex in self.watched.keys().copied().collect::<Vec<_>>() {
            self.let_go(ifindex);
        }
        while self.drain_burst() {}
        self.finish_flows();
        let mut held = Vec::new();
        self.dedupe.flush(&mut |packet| held.push(packet));
        let now = clock::now();
        let (names, metrics, synchronisation) = (&self.names, &self.metrics, self.synchronisation);
        let mut intake = self.spool.lock();
        let mut push = |exchange: Exchange| {
            let message = record(&exchange, names, synchronisation, metrics);
            intake.push_exchange(now, message, synchronisation);
        };
        for packet in held {
            if let Some(exchange) = self.pairing.observe(packet) {
                push(exchange);
            }
        }
        self.pairing.expire(now.monotonic_ns, &mut push);
        self.pairing.stop(&mut push);
        intake.seal_last(now, synchronisation);
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

/// Counts an exchange and turns it into its message.
fn record(
    exchange: &Exchange,
    names: &HashMap<u32, String>,
    synchronisation: Synchronisation,
    metrics: &Metrics,
) -> netmon_common::wire::NtpExchange {
    metrics.exchange(exchange.kind);
    let name = names
        .get(&exchange.scope.ifindex)
        .map_or("?", String::as_str);
    exchange.message(name, synchronisation.synchronised)
}
