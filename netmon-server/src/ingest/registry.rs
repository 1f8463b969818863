//! One connection per agent: the newest.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use quinn::Connection;

use super::close;
use crate::{agent_id::AgentId, live::LiveBoard};

/// The connections that speak for their agents.
#[derive(Debug, Default)]
pub(super) struct Registry(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last_number: u64,
    connections: HashMap<AgentId, (u64, Connection)>,
}

impl Registry {
    /// Puts a connection in place of the agent's last one, which is closed. Gives its number, and
    /// whether there was one to replace.
    pub(super) fn enter(
        &self,
        agent: AgentId,
        connection: Connection,
        live: &LiveBoard,
    ) -> (u64, bool) {
        let mut state = self.lock();
        state.last_number += 1;
        let number = state.last_number;
        // Under the lock, so that the board sees connections in the order of their numbers.
        live.connect(agent, number);
        let replaced = state.connections.insert(agent, (number, connection));
        drop(state);
        let was_there = replaced.is_some();
        if let Some((_, older)) = replaced {
            older.close(close::REPLACED, b"replaced by a newer connection");
        }
        (number, was_there)
    }

    /// The connection ended.
    pub(super) fn leave(&self, agent: AgentId, number: u64, live: &LiveBoard) {
        let mut state = self.lock();
        if state
            .connections
            .get(&agent)
            .is_some_and(|(newest, _)| *newest == number)
        {
            state.connections.remove(&agent);
        }
        live.disconnect(agent, number);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
