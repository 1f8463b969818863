//! Flows: from the kernel's maps into the book.

use std::time::Duration;

use aya::maps::MapError;
use netmon_common::{counters::Direction, flow::UntrackedCounters};

use super::{
    departed::DRAINS,
    namespace::{Namespace, add_tally},
    sightings::{self, Watcher},
    work::Work,
};
use crate::{
    clock::{self, Now},
    config::Config,
    flows::{Book, End, Limits, Record, Tally},
    metrics::{Drained, Metrics},
    sensor::FlowFill,
    status,
};

/// Sightings of more addresses than this are handed over before their time.
const MAX_WAITING: usize = 16_384;

/// An empty book for one namespace.
pub fn book(config: &Config) -> Book {
    Book::new(Limits {
        max_entries: config.flows.max_entries as usize,
        idle_timeout: config.flows.idle_timeout,
        active_timeout: config.flows.active_timeout,
    })
}

impl Work {
    /// Takes what the kernel saw of flows, and makes records of those that have ended.
    pub fn flows(&mut self) {
        if !self.shared.config.flows.enabled {
            return;
        }
        self.drain_flows();
        let now = clock::now();
        self.sightings.expire(now);
        for namespace in &mut self.namespaces {
            namespace.settle_flows(now, &self.shared.metrics);
        }
    }

    /// Takes what the kernel has told of new flows; returns whether more may wait.
    pub(super) fn flow_events(&mut self) -> bool {
        let Self {
            namespaces,
            shared,
            sightings,
            board,
            ..
        } = self;
        let mut watcher = Watcher::new(sightings, board.as_deref());
        let mut more = false;
        for namespace in namespaces {
            more |= namespace.flow_events(&shared.metrics, &mut watcher);
        }
        if sightings.waiting() > MAX_WAITING {
            sightings::hand_over(sightings, shared, clock::now(), false);
        }
        more
    }

    /// The last of the flows, once nothing is attached any more.
    pub(super) fn finish_flows(&mut self) {
        if !self.shared.config.flows.enabled {
            return;
        }
        let mut watcher = Watcher::new(&mut self.sightings, self.board.as_deref());
        for namespace in &mut self.namespaces {
            namespace.finish_flows(&self.shared.metrics, &mut watcher);
        }
        let tally = self.flow_tally();
        tracing::info!(born = tally.born, records = ?tally.records, "flows");
    }

    /// Flows for `netmon-agent status`.
    pub(super) fn shown_flows(&self) -> Option<status::Flows> {
        let entries = self.namespaces.iter().map(|n| n.book.len() as u64);
        let of_each = u64::from(self.shared.config.flows.max_entries) * 2;
        self.shared.config.flows.enabled.then(|| status::Flows {
            entries: entries.sum(),
            capacity: of_each * self.namespaces.len() as u64,
            evicted: self.flow_tally().records[End::Evicted as usize],
            untracked: self.namespaces.iter().map(Namespace::untracked).sum(),
        })
    }

    fn drain_flows(&mut self) {
        let began_ns = clock::now().monotonic_ns;
        let metrics = &self.shared.metrics;
        // Of each family's maps the fullest.
        let mut fill = FlowFill::default();
        let mut lost = Ok(self.closed.flow_events_lost);
        let mut watcher = Watcher::new(&mut self.sightings, self.board.as_deref());
        for namespace in &mut self.namespaces {
            match namespace.drain_flows(metrics, &mut watcher) {
                Ok(filled) => {
                    fill.v4 = fill.v4.max(filled.v4);
                    fill.v6 = fill.v6.max(filled.v6);
                }
                Err(error) => metrics.map_read_failed(&error),
            }
            lost = lost.and_then(|sum| Ok(sum + namespace.sensor.flow_events_lost()?));
        }
        let remembered = self.namespaces.iter().map(|n| n.book.len()).sum();
        metrics.flows.drained(fill, remembered, &self.flow_tally());
        match lost {
            Ok(lost) => metrics.flows.events_lost(lost),
            Err(error) => metrics.map_read_failed(&error),
        }
        let took_ns = clock::now().monotonic_ns.saturating_sub(began_ns);
        metrics.drained(Drained::Flows, Duration::from_nanos(took_ns));
    }

    /// Of all namespaces there are and were.
    fn flow_tally(&self) -> Tally {
        let mut sum = self.closed.flows;
        for namespace in &self.namespaces {
            add_tally(&mut sum, &namespace.book.tally());
        }
        sum
    }
}

impl Namespace {
    fn settle_flows(&mut self, now: Now, metrics: &Metrics) {
        let Self {
            book,
            sensor,
            watched,
            ..
        } = self;
        book.expire(now.monotonic_ns, made);
        for (ifindex, watched) in watched {
            let untracked = |direction| sensor.untracked(*ifindex, direction);
            let both: Result<Vec<UntrackedCounters>, MapError> =
                Direction::ALL.into_iter().map(untracked).collect();
            match both.as_deref() {
                Ok(&[ingress, egress]) => metrics.flows.interface(
                    &watched.label,
                    book.interface_total(*ifindex),
                    [ingress, egress],
                ),
                Ok(_) => {}
                Err(error) => metrics.map_read_failed(error),
            }
        }
    }

    fn flow_events(&mut self, metrics: &Metrics, watcher: &mut Watcher<'_>) -> bool {
        let number = self.number;
        self.sensor.drain_flow_events(|event| match event {
            Some(event) => {
                metrics.flows.event(&event);
                if event.watch().is_hit() {
                    tracing::debug!(?event, "a watched endpoint");
                }
                watcher.begun(number, &event);
            }
            None => metrics.invalid_events.inc(),
        })
    }

    /// The last of its flows, once nothing is attached in it any more.
    pub(super) fn finish_flows(&mut self, metrics: &Metrics, watcher: &mut Watcher<'_>) {
        self.empty_flows(metrics, watcher);
        self.book.finish(|_| true, made);
    }

    /// Takes everything that the kernel knows of flows.
    pub(super) fn empty_flows(&mut self, metrics: &Metrics, watcher: &mut Watcher<'_>) {
        while self.flow_events(metrics, watcher) {}
        // What is in use becomes readable by the second.
        for _ in 0..DRAINS {
            if let Err(error) = self.drain_flows(metrics, watcher) {
                metrics.map_read_failed(&error);
            }
        }
    }

    fn drain_flows(
        &mut self,
        metrics: &Metrics,
        watcher: &mut Watcher<'_>,
    ) -> Result<FlowFill, MapError> {
        let Self {
            book,
            sensor,
            number,
            ..
        } = self;
        let fill = sensor.drain_flows(|key, seen| {
            book.observe(key, seen).into_iter().for_each(made);
            watcher.drained(*number, key, seen);
        })?;
        self.drained_departed(metrics);
        Ok(fill)
    }

    fn untracked(&self) -> u64 {
        let untracked = |(ifindex, direction)| {
            let counters = self.sensor.untracked(ifindex, direction);
            counters.map_or(0, |counters| counters.total().packets)
        };
        let places = self
            .watched
            .keys()
            .flat_map(|ifindex| Direction::ALL.map(|direction| (*ifindex, direction)));
        places.map(untracked).sum()
    }
}

/// A record on its way.
pub(super) fn made(record: Record) {
    tracing::trace!(?record, "flow");
}
