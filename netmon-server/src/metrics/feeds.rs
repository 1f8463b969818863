//! Who sends logs of botnets, and whether they still do.

use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};

use super::{REGISTERED, labels, register};
use crate::feeds::watch::{State, Warning};

/// Feeds and what was warned of. Clones count in the same place.
#[derive(Clone, Debug)]
pub struct Feeds {
    feeds: IntGaugeVec,
    warnings: IntCounterVec,
}

/// Counts that nobody asks for: those of a command.
impl Default for Feeds {
    fn default() -> Self {
        Self::new(&Registry::new())
    }
}

impl Feeds {
    pub(super) fn new(registry: &Registry) -> Self {
        let feeds = Opts::new(
            "netmon_server_botnet_feeds",
            "Sources of logs of botnets, each with each of its families, by how they stand.",
        );
        let feeds = register(
            registry,
            IntGaugeVec::new(feeds, &["state"]).expect(REGISTERED),
        );
        for state in State::ALL {
            feeds.with_label_values(&[state.name()]).set(0);
        }
        let warnings = labels::vector(
            registry,
            "netmon_server_botnet_feed_warnings_total",
            "Warnings: a feed that yields nothing all of a sudden (empty), or stays away (late).",
            "cause",
            &["empty", "late"],
        );
        Self { feeds, warnings }
    }

    /// How the feeds stand.
    pub fn show(&self, states: &[State]) {
        for state in State::ALL {
            let feeds = states.iter().filter(|of| **of == state).count();
            self.feeds
                .with_label_values(&[state.name()])
                .set(i64::try_from(feeds).unwrap_or(i64::MAX));
        }
    }

    /// A warning was given.
    pub fn warned(&self, warning: Warning) {
        let cause = match warning {
            Warning::Empty => "empty",
            Warning::Late => "late",
        };
        self.warnings.with_label_values(&[cause]).inc();
    }
}
