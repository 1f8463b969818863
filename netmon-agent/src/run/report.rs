//! The newest values, as metrics and for the server's live board.

use aya::maps::MapError;
use netmon_common::{
    loss::Loss,
    wire::{Live, WatchState},
};

use super::{namespace::add_programs, work::Work};
use crate::{
    clock,
    ntp::{Match, Tap},
    sensor::ProgramTime,
    watch::Board,
};

impl Work {
    /// Publishes the newest values.
    pub fn report(&mut self) {
        let now = clock::now();
        let losses = self.losses().unwrap_or_else(|error| {
            self.shared.metrics.map_read_failed(&error);
            self.shared.metrics.last_losses()
        });
        let metrics = &self.shared.metrics;
        metrics.losses(&losses);
        for namespace in &self.namespaces {
            for (ifindex, watched) in &namespace.watched {
                match namespace.sensor.splits(*ifindex) {
                    Ok(splits) => metrics.splits(&watched.label, &splits),
                    Err(error) => metrics.map_read_failed(&error),
                }
            }
        }
        metrics.programs(&self.program_times());
        let spool = self.shared.spool.status();
        self.troubles.observe(now, &losses, &spool, metrics);
        let entries = self.namespaces.iter().map(|n| n.sensor.map_entries());
        metrics.map_entries.set(entries.sum::<usize>() as i64);
        let (outbox_batches, outbox_bytes) = spool.waiting;
        let answered = Match::ALL.into_iter().filter(|kind| kind.is_answered());
        let monitoring = &self.monitoring;
        let config = &self.shared.config;
        let takes_list = config.watch.server && config.flows.enabled;
        let watched = self.namespaces.iter_mut().flat_map(|namespace| {
            let number = namespace.number;
            let watched = namespace.watched.iter_mut();
            watched.map(move |(ifindex, watched)| {
                let tap = Tap {
                    namespace: number,
                    ifindex: *ifindex,
                };
                watched.live(monitoring.message(tap))
            })
        });
        let live = Live {
            at_unix_ns: now.unix_ns,
            interfaces: watched.collect(),
            ntp_packets: metrics.ntp_packets.get(),
            ntp_exchanges: metrics.exchanges_of(answered),
            ntp_unanswered: metrics.exchanges_of([Match::Unanswered]),
            losses: losses
                .iter()
                .map(|(loss, n)| (loss.name().to_owned(), *n))
                .collect(),
            outbox_batches,
            outbox_bytes,
            interval_us: now.monotonic_ns.saturating_sub(self.reported_at_ns) / 1000,
            system: self.host.clone().map(Box::new),
            watch: self
                .board
                .as_deref()
                .filter(|_| takes_list)
                .map(watch_state),
        };
        self.reported_at_ns = now.monotonic_ns;
        self.live.send_replace(live);
    }

    /// Of all namespaces there are and were.
    fn losses(&self) -> Result<[(Loss, u64); Loss::ALL.len()], MapError> {
        let mut sum = self.closed.losses;
        for namespace in &self.namespaces {
            for ((_, total), (_, count)) in sum.iter_mut().zip(namespace.sensor.losses()?) {
                *total += count;
            }
        }
        Ok(sum)
    }

    /// Of all namespaces there are and were, each program once.
    fn program_times(&self) -> Vec<ProgramTime> {
        let mut sums = self.closed.programs.clone();
        for namespace in &self.namespaces {
            add_programs(&mut sums, namespace.sensor.program_times());
        }
        sums
    }
}

/// The watch list that is in force, for the server that told of it.
fn watch_state(board: &Board) -> WatchState {
    let in_force = board.now();
    WatchState {
        own_entries: in_force.own as u64,
        left_out: in_force.left_out as u64,
        ..in_force.served.state()
    }
}
