//! A network namespace with everything that belongs to it alone: programs and maps of its own, since
//! an index means an interface within one namespace only.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
};

use netmon_common::loss::Loss;

use super::{departed::Departed, watched::Watched};
use crate::{
    bandwidth::Totals,
    clock::{Moment, Synchronisation, TaiOffset},
    config::Config,
    flows::{Book, Tally},
    interfaces::{Netns, Table, label},
    metrics::Metrics,
    ntp::{Monitoring, Packet},
    sensor::{ProgramTime, RingFill, Sensor, WatchMaps},
    spool::{Previous, Spool},
    status::Failure,
};

/// Names a namespace while it is watched; never used again.
pub type Number = u32;

/// The namespace the agent runs in.
pub const OWN: Number = 0;

/// One namespace.
pub struct Namespace {
    pub number: Number,
    /// `None`: the agent's own.
    pub name: Option<String>,
    /// The way in.
    pub netns: Netns,
    pub sensor: Sensor,
    pub table: Table,
    pub watched: BTreeMap<u32, Watched>,
    /// Wanted interfaces the programs could not be attached to.
    pub failed: BTreeMap<u32, Failure>,
    pub ring: Option<RingFill>,
    pub book: Book,
    /// By index: interfaces whose flows may still be in the kernel.
    pub departed: BTreeMap<u32, Departed>,
    /// While it is there, the watch list is kept up to date in it.
    pub watch_list: Option<Arc<Mutex<WatchMaps>>>,
}

/// What the interfaces of all namespaces write to.
pub struct Shared {
    pub config: Config,
    pub spool: Spool,
    pub metrics: Arc<Metrics>,
    pub synchronisation: Synchronisation,
    /// By namespace and index.
    pub names: HashMap<(Number, u32), String>,
    /// By (interface index, attachment): what an earlier agent recorded last of counters that are
    /// pinned, and the wall clock at that moment, ns.
    pub inherited: HashMap<(u32, u32), (Totals, Moment)>,
    /// The run before, if it measured anything.
    pub previous: Option<Previous>,
}

/// What namespaces had counted that are gone: totals never go back.
#[derive(Debug)]
pub struct Closed {
    pub losses: [(Loss, u64); Loss::ALL.len()],
    pub flows: Tally,
    pub flow_events_lost: u64,
    pub programs: Vec<ProgramTime>,
}

impl Namespace {
    /// Nothing is watched yet.
    pub fn new(
        number: Number,
        name: Option<String>,
        netns: Netns,
        sensor: Sensor,
        table: Table,
        config: &Config,
    ) -> Self {
        let ring = sensor.ring_fill();
        let ring = ring
            .inspect_err(|error| tracing::warn!(%error, "cannot see how full the ring is"))
            .ok();
        Self {
            number,
            name,
            netns,
            sensor,
            table,
            watched: BTreeMap::new(),
            failed: BTreeMap::new(),
            ring,
            book: super::flows::book(config),
            departed: BTreeMap::new(),
            watch_list: None,
        }
    }

    /// What an interface in it is called outside.
    pub fn label(&self, interface: &str) -> String {
        label(interface, self.name.as_deref())
    }

    /// Whether the agent runs in it.
    pub fn is_own(&self) -> bool {
        self.number == OWN
    }

    /// Takes NTP events from its ring, for one turn: whether more wait, and when the last of these was
    /// captured. What nobody wants to know of is counted only.
    pub fn take_packets(
        &mut self,
        tai: TaiOffset,
        (metrics, monitoring): (&Metrics, &Monitoring),
        mut each: impl FnMut(Packet),
    ) -> (bool, Option<u64>) {
        let number = self.number;
        let ports = *self.sensor.ntp_ports();
        let mut last_ns = None;
        let more = self.sensor.drain(|event| {
            let Some(event) = event else {
                metrics.invalid_events.inc();
                return;
            };
            metrics.ntp_packets.inc();
            last_ns = Some(event.captured_at_ns);
            match Packet::decode(&event, tai, &ports) {
                Ok(mut packet) => {
                    packet.scope.namespace = number;
                    match monitoring.admit(&packet) {
                        Ok(()) => each(packet),
                        Err(cause) => metrics.unwanted(cause),
                    }
                }
                Err(cause) => metrics.unpaired(cause),
            }
        });
        (more, last_ns)
    }

    /// Programs and what they took, with the namespace in their names.
    pub fn program_times(&self) -> Vec<ProgramTime> {
        let named = |program: ProgramTime| ProgramTime {
            name: self.label(&program.name),
            ..program
        };
        let times = self.sensor.program_times();
        times.into_iter().map(named).collect()
    }
}

impl Closed {
    /// A namespace with nothing attached in it any more.
    pub fn add(&mut self, namespace: &Namespace, metrics: &Metrics) {
        let sensor = &namespace.sensor;
        match sensor.losses() {
            Ok(losses) => {
                for ((_, total), (_, count)) in self.losses.iter_mut().zip(losses) {
                    *total += count;
                }
            }
            Err(error) => metrics.map_read_failed(&error),
        }
        match sensor.flow_events_lost() {
            Ok(lost) => self.flow_events_lost += lost,
            Err(error) => metrics.map_read_failed(&error),
        }
        add_tally(&mut self.flows, &namespace.book.tally());
        add_programs(&mut self.programs, sensor.program_times());
    }
}

/// Adds up what flows have come to.
pub fn add_tally(sum: &mut Tally, part: &Tally) {
    sum.born += part.born;
    for (total, count) in sum.records.iter_mut().zip(part.records) {
        *total += count;
    }
    sum.recorded += part.recorded;
}

/// Adds up what programs took, by their names.
pub fn add_programs(sums: &mut Vec<ProgramTime>, parts: Vec<ProgramTime>) {
    for part in parts {
        match sums.iter_mut().find(|sum| sum.name == part.name) {
            Some(sum) => {
                sum.runs += part.runs;
                sum.time += part.time;
            }
            None => sums.push(part),
        }
    }
}

impl Default for Closed {
    fn default() -> Self {
        Self {
            losses: Loss::ALL.map(|loss| (loss, 0)),
            flows: Tally::default(),
            flow_events_lost: 0,
            programs: Vec::new(),
        }
    }
}
