//! Sightings of the server's watched addresses: from flows into the spool.

use std::sync::Arc;

use netmon_common::{
    flow::{FlowEvent, FlowKey, FlowValue},
    watch::{Held, List},
};

use super::namespace::{Number, Shared};
use crate::{
    clock::{self, Now},
    config::Config,
    watch::{Board, Sightings},
};

/// Most flows of watched addresses that are remembered: some megabytes.
const MAX_FLOWS: usize = 65_536;

/// Nothing seen yet.
pub fn sightings(config: &Config) -> Sightings {
    Sightings::new(MAX_FLOWS, config.flows.idle_timeout)
}

/// Shows flows to [`Sightings`] for one turn.
pub struct Watcher<'a> {
    sightings: &'a mut Sightings,
    board: Option<&'a Board>,
    /// Looked up when a watched flow comes: most turns have none.
    served: Option<(Now, Arc<List>)>,
}

impl<'a> Watcher<'a> {
    /// For one turn.
    pub fn new(sightings: &'a mut Sightings, board: Option<&'a Board>) -> Self {
        Self {
            sightings,
            board,
            served: None,
        }
    }

    /// The kernel told of a flow.
    pub fn begun(&mut self, namespace: Number, event: &FlowEvent) {
        if event.watch().is_hit()
            && let Some((now, list)) = self.served()
        {
            self.sightings.begun(now, namespace, event, &list);
        }
    }

    /// What the kernel saw of a flow since it was last asked.
    pub fn drained(&mut self, namespace: Number, key: FlowKey, seen: &FlowValue) {
        if seen.watch != 0
            && let Some((now, list)) = self.served()
        {
            self.sightings.drained(now, namespace, (key, seen), &list);
        }
    }

    /// The server's list, unless it is empty.
    fn served(&mut self) -> Option<(Now, Arc<List>)> {
        let board = self.board?;
        let (now, list) = self.served.get_or_insert_with(|| {
            let Held { list, .. } = board.now().served;
            (clock::now(), list)
        });
        (!list.is_empty()).then(|| (*now, Arc::clone(list)))
    }
}

/// Hands over what is due, or everything.
pub fn hand_over(sightings: &mut Sightings, shared: &Shared, now: Now, all: bool) {
    let metrics = &shared.metrics;
    if sightings.waiting() > 0 {
        let is_taken = !metrics.contacts.refuses_sightings();
        let mut count = 0;
        let mut intake = shared.spool.lock();
        sightings.due(now, all, |sighting| {
            count += 1;
            if is_taken {
                intake.push_sighting(now, sighting, shared.synchronisation);
            }
        });
        drop(intake);
        metrics.flows.sightings(count, is_taken);
    }
    metrics.flows.sighted(sightings.flows(), &sightings.tally());
}
