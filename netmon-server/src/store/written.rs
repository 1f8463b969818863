//! What the tables that are updated in place are known to say, so that batches do not say it again.
//!
//! Every frame tells that its interface and its agent live. Written each time, these two rows would
//! cost more than the frame. They are written when they say something new: at once for what is new
//! of itself, and for the mere passing of time at most once in a while.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use time::OffsetDateTime;

use super::interfaces::Interface;

/// How far the stored `last_seen` of an interface may lag: a minute …
const INTERFACE_LAG_US: i64 = 60_000_000;

/// … or this part of how far from now it is, also ahead of a clock that is right: a backlog of hours
/// passes within seconds, and each group of it would write every interface.
const INTERFACE_LAG_OF_DISTANCE: u64 = 16;

/// How far that of an agent may.
const AGENT_LAG: time::Duration = time::Duration::seconds(10);

/// Interfaces remembered over all agents; beyond, all are forgotten and learnt anew.
const MAX_INTERFACES: usize = 1 << 20;

/// What transactions that committed have written.
#[derive(Debug, Default)]
pub(super) struct Written(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    agents: HashMap<i64, Agent>,
    interfaces: usize,
}

#[derive(Debug, Default)]
struct Agent {
    seen_at: Option<OffsetDateTime>,
    interfaces: HashMap<Box<str>, Seen>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    ifindex: i64,
    first_us: i64,
    last_us: i64,
}

impl Written {
    /// Leaves the interfaces of which something is new.
    pub(super) fn retain_news(&self, interfaces: &mut Vec<Interface<'_>>, now: OffsetDateTime) {
        let now_us = (now.unix_timestamp_nanos() / 1000) as i64;
        let state = self.lock();
        interfaces.retain(|interface| {
            let known = state
                .agents
                .get(&interface.agent)
                .and_then(|agent| agent.interfaces.get(interface.name));
            known.is_none_or(|known| is_news(interface, known, now_us))
        });
    }

    /// Leaves the agents that are due to be noted as seen now.
    pub(super) fn retain_due(&self, agents: &mut Vec<i64>, now: OffsetDateTime) {
        let state = self.lock();
        agents.retain(|agent| {
            let seen_at = state.agents.get(agent).and_then(|agent| agent.seen_at);
            // A clock set back must not silence an agent.
            seen_at.is_none_or(|at| (now - at).abs() >= AGENT_LAG)
        });
    }

    /// A transaction that wrote these has committed.
    pub(super) fn remember(
        &self,
        interfaces: &[Interface<'_>],
        agents: &[i64],
        now: OffsetDateTime,
    ) {
        let mut state = self.lock();
        if state.interfaces > MAX_INTERFACES {
            *state = State::default();
        }
        for agent in agents {
            state.agents.entry(*agent).or_default().seen_at = Some(now);
        }
        for interface in interfaces {
            let known = &mut state.agents.entry(interface.agent).or_default().interfaces;
            let seen = Seen {
                ifindex: interface.ifindex,
                first_us: interface.first_us,
                last_us: interface.last_us,
            };
            if let Some(known) = known.get_mut(interface.name) {
                known.ifindex = seen.ifindex;
                known.first_us = known.first_us.min(seen.first_us);
                known.last_us = known.last_us.max(seen.last_us);
            } else {
                known.insert(interface.name.into(), seen);
                state.interfaces += 1;
            }
        }
    }

    /// The database may be another one now, an older backup for example.
    pub(super) fn forget(&self) {
        *self.lock() = State::default();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_news(interface: &Interface<'_>, known: &Seen, now_us: i64) -> bool {
    let distance_us = now_us.abs_diff(interface.last_us);
    let part_us = (distance_us / INTERFACE_LAG_OF_DISTANCE) as i64;
    let lag_us = part_us.max(INTERFACE_LAG_US);
    interface.is_described()
        || (interface.ifindex != known.ifindex && interface.last_us >= known.last_us)
        || interface.first_us < known.first_us
        || interface.last_us >= known.last_us.saturating_add(lag_us)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{interfaces, rows::Rows};

    #[test]
    fn the_farther_from_now_the_seldomer_is_an_interface_written() {
        const HOUR_US: i64 = 3_600_000_000;
        const NOW_US: i64 = 1_000 * HOUR_US;
        // How far the newest sighting is from now, and after how long it is news.
        for (distance_us, lag_us) in [
            (0, INTERFACE_LAG_US),
            (-16 * HOUR_US, HOUR_US),
            (16 * HOUR_US, HOUR_US),
        ] {
            let last_us = NOW_US + distance_us;
            let mut rows = Rows::default();
            interfaces::seen(&mut rows, "eth0", 2, last_us);
            let seen = interfaces::fold(&rows.names, vec![(1, &rows.interfaces[0])]);
            let known = |before_us: i64| Seen {
                ifindex: 2,
                first_us: 0,
                last_us: last_us - before_us,
            };
            assert!(is_news(&seen[0], &known(lag_us), NOW_US), "{distance_us}");
            assert!(
                !is_news(&seen[0], &known(lag_us - 1), NOW_US),
                "{distance_us}"
            );
        }
    }
}
