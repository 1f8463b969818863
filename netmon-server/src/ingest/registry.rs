//! One connection per agent: the newest; and few that have not said who they are yet.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Mutex, MutexGuard, PoisonError},
};

use quinn::Connection;
use tokio::sync::watch;

use super::close;
use crate::{agent_id::AgentId, live::LiveBoard};

/// The connections that speak for their agents.
#[derive(Debug, Default)]
pub(super) struct Registry(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last_number: u64,
    connections: HashMap<AgentId, Entered>,
    /// Connections without a Hello, by agent; only of agents that have some.
    silent: HashMap<AgentId, usize>,
}

/// A connection that speaks for its agent.
#[derive(Debug)]
struct Entered {
    number: u64,
    connection: Connection,
    /// The newest change of what is wished of the agent, as far as it is known here.
    wished: watch::Sender<u64>,
}

/// The place of a connection that has taken over.
#[derive(Debug)]
pub(super) struct Place {
    /// Newer connections have larger ones.
    pub(super) number: u64,
    /// Whether it took the place of another one.
    pub(super) replaced: bool,
    /// Says when something else is wished of the agent.
    pub(super) wished: watch::Receiver<u64>,
}

/// A connection that has not said Hello, counted until dropped.
#[derive(Debug)]
pub(super) struct Silent<'a> {
    registry: &'a Registry,
    agent: AgentId,
}

impl Registry {
    /// Counts a connection until its Hello; `None` when the agent has `limit` of them already.
    ///
    /// They stand beside the one that speaks for the agent: whoever only tries out a certificate
    /// must not end the work of the agent that runs.
    pub(super) fn admit(&self, agent: AgentId, limit: usize) -> Option<Silent<'_>> {
        let mut state = self.lock();
        let count = state.silent.get(&agent).copied().unwrap_or_default();
        if count >= limit {
            return None;
        }
        state.silent.insert(agent, count + 1);
        Some(Silent {
            registry: self,
            agent,
        })
    }

    /// Puts a connection in place of the agent's last one, which is closed.
    pub(super) fn enter(&self, agent: AgentId, connection: Connection, live: &LiveBoard) -> Place {
        let mut state = self.lock();
        state.last_number += 1;
        let number = state.last_number;
        // Under the lock, so that the board sees connections in the order of their numbers.
        live.connect(agent, number);
        let (sender, wished) = watch::channel(0);
        let entered = Entered {
            number,
            connection,
            wished: sender,
        };
        let replaced = state.connections.insert(agent, entered);
        drop(state);
        let was_there = replaced.is_some();
        if let Some(older) = replaced {
            let reason = b"replaced by a newer connection";
            older.connection.close(close::REPLACED, reason);
        }
        Place {
            number,
            replaced: was_there,
            wished,
        }
    }

    /// Something else is wished of an agent, by the change of this number.
    pub(super) fn wished(&self, agent: AgentId, revision: u64) {
        if let Some(entered) = self.lock().connections.get(&agent) {
            entered.wished.send_if_modified(|known| {
                // Other than, not newer: a database may come back from an older backup.
                let changed = *known != revision;
                *known = revision;
                changed
            });
        }
    }

    /// How many agents are connected.
    pub(super) fn agents(&self) -> usize {
        self.lock().connections.len()
    }

    /// The connection ended.
    pub(super) fn leave(&self, agent: AgentId, number: u64, live: &LiveBoard) {
        let mut state = self.lock();
        if state
            .connections
            .get(&agent)
            .is_some_and(|newest| newest.number == number)
        {
            state.connections.remove(&agent);
        }
        live.disconnect(agent, number);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Silent<'_> {
    fn drop(&mut self) {
        let mut state = self.registry.lock();
        if let Entry::Occupied(mut count) = state.silent.entry(self.agent) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_has_few_connections_without_a_hello_and_other_agents_have_theirs() {
        let (registry, agent) = (Registry::default(), AgentId::random());
        let first = registry.admit(agent, 2).unwrap();
        let second = registry.admit(agent, 2).unwrap();
        assert!(registry.admit(agent, 2).is_none());
        assert!(registry.admit(AgentId::random(), 2).is_some());
        drop(first);
        let third = registry.admit(agent, 2).unwrap();
        drop((second, third));
        assert!(registry.lock().silent.is_empty());
    }
}
