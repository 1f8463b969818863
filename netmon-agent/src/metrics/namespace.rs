//! Network namespaces beside the agent's own.

use super::Metrics;

impl Metrics {
    /// Those that are wanted: none is watched yet.
    pub fn namespaces(&self, names: &[String]) {
        for name in names {
            self.namespace_watched(name, false);
        }
    }

    /// Whether a wanted one is watched.
    pub fn namespace_watched(&self, name: &str, is_watched: bool) {
        let gauge = self.namespace_watched.with_label_values(&[name]);
        gauge.set(is_watched.into());
    }

    /// Counts an attempt that failed.
    pub fn namespace_failed(&self, cause: &str) {
        self.namespace_failures.with_label_values(&[cause]).inc();
    }
}
