//! What the observer of NTP finds, on its way to the spool and to metrics.

use super::namespace::Shared;
use crate::{
    clock::Now,
    ntp::{Found, Outcome, Scope, Throttle},
    spool::Intake,
};

/// Takes findings.
pub struct Outlet<'a> {
    now: Now,
    shared: &'a Shared,
    intake: &'a mut Intake,
    unasked: &'a mut Throttle,
}

impl<'a> Outlet<'a> {
    /// For one turn.
    pub fn new(
        now: Now,
        shared: &'a Shared,
        intake: &'a mut Intake,
        unasked: &'a mut Throttle,
    ) -> Self {
        Self {
            now,
            shared,
            intake,
            unasked,
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
                let message = finding.message(self.name(finding.exchange.scope));
                self.intake
                    .push_exchange(self.now, message, *synchronisation);
            }
            Found::Dialogue(dialogue) => {
                let message = dialogue.message(self.name(dialogue.scope));
                self.intake
                    .push_control(self.now, message, *synchronisation);
            }
        }
    }

    fn name(&self, scope: Scope) -> &'a str {
        let names = &self.shared.names;
        let name = names.get(&(scope.namespace, scope.ifindex));
        name.map_or("?", String::as_str)
    }
}
