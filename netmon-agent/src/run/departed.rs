//! Interfaces that are no longer watched, until their flows have left the kernel; and whether the
//! books of each balance.

use netmon_common::counters::{Counters, Direction};

use super::{flows::made, namespace::Namespace, sightings::Watcher};
use crate::metrics::Metrics;

/// The two generations of the kernel's maps are emptied in turn: after so many drains nothing of an
/// interface is left there.
pub const DRAINS: u8 = 2;

/// Such an interface.
#[derive(Debug)]
pub struct Departed {
    label: String,
    /// What passed it, and what of that belongs to no flow. `None`: it was not counted from zero on by
    /// this agent.
    counted: Option<[Counters; 2]>,
    drains: u8,
}

impl Namespace {
    /// Nothing is attached to an interface any more; its counters are still there.
    pub(super) fn depart(&mut self, ifindex: u32, label: String, is_counted_whole: bool) {
        if !self.sensor.has_flows() {
            return;
        }
        let counted = is_counted_whole.then(|| self.counted(ifindex)).flatten();
        let departed = Departed {
            label,
            counted,
            drains: 0,
        };
        self.departed.insert(ifindex, departed);
    }

    /// Before an interface is attached to: its index may have been another's, whose flows must not
    /// become its own.
    pub(super) fn clear_away(
        &mut self,
        ifindex: u32,
        metrics: &Metrics,
        watcher: &mut Watcher<'_>,
    ) {
        if !self.departed.contains_key(&ifindex) {
            return;
        }
        self.empty_flows(metrics, watcher);
        // Whatever the kernel may have refused.
        self.close_departed(ifindex, metrics);
    }

    /// One generation of the kernel's maps was emptied.
    pub(super) fn drained_departed(&mut self, metrics: &Metrics) {
        for departed in self.departed.values_mut() {
            departed.drains += 1;
        }
        let is_over = |(_, departed): &(&u32, &Departed)| departed.drains >= DRAINS;
        let over: Vec<u32> = self
            .departed
            .iter()
            .filter(is_over)
            .map(|(i, _)| *i)
            .collect();
        for ifindex in over {
            self.close_departed(ifindex, metrics);
        }
    }

    fn close_departed(&mut self, ifindex: u32, metrics: &Metrics) {
        let Some(departed) = self.departed.remove(&ifindex) else {
            return;
        };
        self.book.finish(|of| of == ifindex, made);
        let flows = self.book.forget_interface(ifindex);
        let Some([counted, untracked]) = departed.counted else {
            return;
        };
        if flows + untracked == counted {
            return;
        }
        let packets = (flows + untracked).packets.abs_diff(counted.packets);
        metrics.flows.unaccounted(packets.max(1));
        tracing::error!(
            interface = departed.label,
            ?counted,
            ?flows,
            ?untracked,
            "flows and what belongs to none are not what was counted: a mistake in netmon"
        );
    }

    fn counted(&self, ifindex: u32) -> Option<[Counters; 2]> {
        let totals = self.sensor.totals(ifindex).ok()?;
        let untracked = |direction| self.sensor.untracked(ifindex, direction);
        let untracked: Result<Vec<_>, _> = Direction::ALL.into_iter().map(untracked).collect();
        let untracked = untracked.ok()?.into_iter().map(|counters| counters.total());
        Some([totals.ingress + totals.egress, untracked.sum()])
    }
}
