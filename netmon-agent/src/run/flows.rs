//! Flows: from the kernel's maps into the book.

use std::time::Duration;

use aya::maps::MapError;
use netmon_common::{counters::Direction, flow::UntrackedCounters};

use super::work::Work;
use crate::{
    clock,
    config::Config,
    flows::{Book, End, Limits, Record},
    metrics::Drained,
    status,
};

impl Work {
    pub(super) fn flow_book(config: &Config) -> Book {
        Book::new(Limits {
            max_entries: config.flows.max_entries as usize,
            idle_timeout: config.flows.idle_timeout,
            active_timeout: config.flows.active_timeout,
        })
    }

    /// Takes what the kernel saw of flows, and makes records of those that have ended.
    pub fn flows(&mut self) {
        if !self.sensor.has_flows() {
            return;
        }
        self.drain_flows();
        let now = clock::now();
        let Self {
            book,
            sensor,
            watched,
            metrics,
            ..
        } = self;
        book.finish(|ifindex| !watched.contains_key(&ifindex), made);
        book.expire(now.monotonic_ns, made);
        book.retain_interfaces(|ifindex| watched.contains_key(&ifindex));
        for (ifindex, watched) in watched {
            let untracked = |direction| sensor.untracked(*ifindex, direction);
            let both: Result<Vec<UntrackedCounters>, MapError> =
                Direction::ALL.into_iter().map(untracked).collect();
            match both.as_deref() {
                Ok(&[ingress, egress]) => metrics.flows.interface(
                    &watched.interface.name,
                    book.interface_total(*ifindex),
                    [ingress, egress],
                ),
                Ok(_) => {}
                Err(error) => metrics.map_read_failed(error),
            }
        }
    }

    /// Takes what the kernel has told of new flows; returns whether more may wait.
    pub(super) fn flow_events(&mut self) -> bool {
        let Self {
            sensor, metrics, ..
        } = self;
        sensor.drain_flow_events(|event| match event {
            Some(event) => {
                metrics.flows.event(&event);
                if event.watch().is_hit() {
                    tracing::debug!(?event, "a watched endpoint");
                }
            }
            None => metrics.invalid_events.inc(),
        })
    }

    /// The last of the flows, once nothing is attached any more.
    pub(super) fn finish_flows(&mut self) {
        if !self.sensor.has_flows() {
            return;
        }
        while self.flow_events() {}
        // What is in use becomes readable by the second call.
        self.drain_flows();
        self.drain_flows();
        self.book.finish(|_| true, made);
        let tally = self.book.tally();
        tracing::info!(born = tally.born, records = ?tally.records, "flows");
    }

    /// Flows for `netmon-agent status`.
    pub(super) fn shown_flows(&self) -> Option<status::Flows> {
        let untracked = |(ifindex, direction)| {
            let counters = self.sensor.untracked(ifindex, direction);
            counters.map_or(0, |counters| counters.total().packets)
        };
        let places = self
            .watched
            .keys()
            .flat_map(|ifindex| Direction::ALL.map(|direction| (*ifindex, direction)));
        self.sensor.has_flows().then(|| status::Flows {
            entries: self.book.len() as u64,
            capacity: u64::from(self.config.flows.max_entries) * 2,
            evicted: self.book.tally().records[End::Evicted as usize],
            untracked: places.map(untracked).sum(),
        })
    }

    fn drain_flows(&mut self) {
        let began_ns = clock::now().monotonic_ns;
        let Self {
            book,
            sensor,
            metrics,
            ..
        } = self;
        let drained = sensor.drain_flows(|key, seen| {
            book.observe(key, seen).into_iter().for_each(made);
        });
        match drained {
            Ok(fill) => metrics.flows.drained(fill, book.len(), &book.tally()),
            Err(error) => metrics.map_read_failed(&error),
        }
        match sensor.flow_events_lost() {
            Ok(lost) => metrics.flows.events_lost(lost),
            Err(error) => metrics.map_read_failed(&error),
        }
        let took_ns = clock::now().monotonic_ns.saturating_sub(began_ns);
        metrics.drained(Drained::Flows, Duration::from_nanos(took_ns));
    }
}

/// A record on its way.
fn made(record: Record) {
    tracing::trace!(?record, "flow");
}
