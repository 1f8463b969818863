//! What the observer of NTP finds, on its way to the spool and to metrics.

use super::namespace::Shared;
use crate::{
    clock::Now,
    ntp::{
        Found, Outcome, Scope, Throttle,
        fold::{Fold, Record},
    },
    spool::Intake,
};

/// Takes findings.
pub struct Outlet<'a> {
    now: Now,
    shared: &'a Shared,
    intake: &'a mut Intake,
    unasked: &'a mut Throttle,
    fold: &'a mut Fold,
}

impl<'a> Outlet<'a> {
    /// For one turn.
    pub fn new(
        now: Now,
        shared: &'a Shared,
        intake: &'a mut Intake,
        unasked: &'a mut Throttle,
        fold: &'a mut Fold,
    ) -> Self {
        Self {
            now,
            shared,
            intake,
            unasked,
            fold,
        }
    }

    /// Counts a finding and makes a record of it, unless it is one too many of those that anybody
    /// can bring about.
    pub fn take(&mut self, found: Found) {
        let Shared {
            metrics,
            synchronisation,
            ..
        } = self.shared;
        let is_extra = match &found {
            Found::Exchange(finding) => {
                metrics.finding(finding);
                finding.exchange.kind.is_extra()
            }
            Found::Dialogue(dialogue) => {
                metrics.dialogue(dialogue);
                dialogue.outcome() == Outcome::Unasked
            }
        };
        if is_extra && !self.unasked.allow(self.now.monotonic_ns) {
            metrics.unasked_not_stored.inc();
            return;
        }
        match found {
            Found::Exchange(finding) => {
                let (now, shared, intake) = (self.now, self.shared, &mut *self.intake);
                let mut store = |record| store(record, now, shared, intake);
                self.fold.add(finding, now, &mut store);
            }
            Found::Dialogue(dialogue) => {
                let message = dialogue.message(name(self.shared, dialogue.scope));
                self.intake
                    .push_control(self.now, message, *synchronisation);
            }
        }
    }
}

/// Makes a record of an exchange, or of several that were counted together.
pub fn store(record: Record, now: Now, shared: &Shared, intake: &mut Intake) {
    let clock = shared.synchronisation;
    match record {
        Record::Exchange(finding) => {
            let message = finding.message(name(shared, finding.exchange.scope));
            intake.push_exchange(now, message, clock);
        }
        Record::Fold(folded) => {
            let message = folded.message(name(shared, folded.newest.exchange.scope));
            intake.push_fold(now, message, clock);
        }
    }
}

fn name(shared: &Shared, scope: Scope) -> &str {
    let name = shared.names.get(&(scope.namespace, scope.ifindex));
    name.map_or("?", String::as_str)
}
