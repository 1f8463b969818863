//! Which watch set is in force, for whoever asks.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use netmon_common::watch::{Held, List};

/// A watch set, and what it is made of.
#[derive(Clone, Debug, Default)]
pub struct InForce {
    /// All entries.
    pub all: Arc<List>,
    /// Entries of the agent's own file.
    pub own: usize,
    /// The server's list.
    pub served: Held,
    /// Entries of the server's list that found no room; they are not in `all`.
    pub left_out: usize,
    /// How often the set has changed; 0: none was ever in force.
    pub generation: u64,
}

/// The newest [`InForce`], shared.
#[derive(Debug, Default)]
pub struct Board(Mutex<InForce>);

impl Board {
    /// As it is now.
    pub fn now(&self) -> InForce {
        self.lock().clone()
    }

    /// How often the set has changed.
    pub(super) fn generation(&self) -> u64 {
        self.lock().generation
    }

    /// Another set is in force.
    pub(super) fn set(&self, next: InForce) {
        *self.lock() = next;
    }

    fn lock(&self) -> MutexGuard<'_, InForce> {
        // Whoever panicked has left a whole value.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
