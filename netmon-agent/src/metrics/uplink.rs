//! The connection to a server.

use super::Metrics;
use crate::{clock, uplink::RebindCause};

impl Metrics {
    /// The server has said what it has stored.
    pub fn acknowledged(&self) {
        self.contacts.acknowledged();
        self.acknowledged.set(clock::now().unix_ns / 1_000_000_000);
    }

    /// Counts a connection that moved to a fresh socket.
    pub fn rebound(&self, cause: RebindCause) {
        self.rebinds.with_label_values(&[cause.name()]).inc();
    }

    /// Counts a certificate that was found while connected, and whether a connection with it came
    /// about.
    pub fn certificate_loaded(&self, good: bool) {
        let result = if good { "used" } else { "failed" };
        self.certificate_loads.with_label_values(&[result]).inc();
    }
}
