//! The server's watch list, as it is told piece by piece.

use netmon_common::{
    watch::{Assembly, Held, UpdateError},
    wire::{WatchState, WatchUpdate},
};
use tokio::sync::watch;

use crate::metrics::Metrics;

/// The list that was told last, for the keeper of the watch set.
pub struct WatchList(watch::Sender<Held>);

impl WatchList {
    /// Goes on from a list that was told before.
    pub fn new(held: watch::Sender<Held>) -> Self {
        Self(held)
    }

    /// What the server is told of it.
    pub fn state(&self) -> WatchState {
        self.0.borrow().state()
    }
}

/// The updates of one connection.
pub(super) struct Updates<'a> {
    list: Option<&'a WatchList>,
    assembly: Assembly,
    held: Held,
}

impl<'a> Updates<'a> {
    pub(super) fn new(list: Option<&'a WatchList>) -> Self {
        let held = list.map(|list| list.0.borrow().clone());
        Self {
            list,
            assembly: Assembly::default(),
            held: held.unwrap_or_default(),
        }
    }

    /// Takes a piece, and passes the list on that it completes.
    ///
    /// # Errors
    /// When the server goes out from another list than the one held.
    pub(super) fn take(
        &mut self,
        piece: &WatchUpdate,
        metrics: &Metrics,
    ) -> Result<(), UpdateError> {
        let Some(list) = self.list else {
            return Ok(());
        };
        match self.assembly.take(&self.held, piece) {
            Ok(None) => Ok(()),
            Ok(Some(next)) => {
                let is_whole = piece.from.is_empty();
                metrics
                    .flows
                    .watch_updated(if is_whole { "whole" } else { "difference" });
                self.held = next.clone();
                list.0.send_replace(next);
                Ok(())
            }
            Err(error) => {
                metrics.flows.watch_updated("failed");
                tracing::error!(%error, "the watch list before stays in force");
                match error {
                    UpdateError::OtherList | UpdateError::Mixed => Err(error),
                    // The same would come again on another connection.
                    UpdateError::Malformed | UpdateError::TooLong | UpdateError::Differs => Ok(()),
                }
            }
        }
    }
}
