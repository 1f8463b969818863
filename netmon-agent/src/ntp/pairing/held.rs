//! Responses that fit nothing yet: where packets overtake each other, their requests come a moment
//! later.

use std::collections::{HashMap, VecDeque};

use super::Path;
use crate::ntp::{Exchange, Packet, Time};

/// For longer nothing is overtaken.
const HOLD_NS: u64 = 100_000_000;
/// Most responses held; beyond it the oldest is given up early.
const MAX_HELD: usize = 1024;

/// Findings without a request, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Held {
    waiting: VecDeque<(Path, Exchange)>,
    paths: HashMap<Path, usize>,
}

impl Held {
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Holds one; returns the one that has to go for it.
    pub(super) fn push(&mut self, unfit: Exchange) -> Option<Exchange> {
        let path = Path {
            scope: unfit.scope,
            client: unfit.client,
            server: unfit.server,
        };
        let overdue = (self.waiting.len() >= MAX_HELD)
            .then(|| self.pop())
            .flatten();
        *self.paths.entry(path).or_default() += 1;
        self.waiting.push_back((path, unfit));
        overdue
    }

    /// Takes out the first response on a path that `fits`.
    pub(super) fn take_answer(
        &mut self,
        path: &Path,
        fits: impl Fn(&Packet<Time>) -> bool,
    ) -> Option<Packet<Time>> {
        if !self.paths.contains_key(path) {
            return None;
        }
        let index = self.waiting.iter().position(|(other, unfit)| {
            other == path && unfit.response.as_ref().is_some_and(&fits)
        })?;
        let (_, unfit) = self.waiting.remove(index)?;
        self.gone(path);
        unfit.response
    }

    /// Takes out what is held on paths that do not stay.
    pub(super) fn withdraw(&mut self, stays: impl Fn(&Path) -> bool) -> Vec<Exchange> {
        let (gone, waiting) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition::<Vec<_>, _>(|(path, _)| !stays(path));
        self.waiting = waiting.into();
        for (path, _) in &gone {
            self.gone(path);
        }
        gone.into_iter().map(|(_, unfit)| unfit).collect()
    }

    /// The next that was held for long enough.
    pub(super) fn next_due(&mut self, now_ns: u64) -> Option<Exchange> {
        let (_, first) = self.waiting.front()?;
        let seen_at_ns = first
            .response
            .as_ref()
            .map_or(0, |packet| packet.captured_at_ns);
        if seen_at_ns.saturating_add(HOLD_NS) <= now_ns {
            self.pop()
        } else {
            None
        }
    }

    fn pop(&mut self) -> Option<Exchange> {
        let (path, unfit) = self.waiting.pop_front()?;
        self.gone(&path);
        Some(unfit)
    }

    fn gone(&mut self, path: &Path) {
        if let Some(count) = self.paths.get_mut(path) {
            *count -= 1;
            if *count == 0 {
                self.paths.remove(path);
            }
        }
    }
}
