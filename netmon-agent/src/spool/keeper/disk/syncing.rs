//! Making what was written last.

use std::time::Duration;

use super::{Disk, SegmentFile, SegmentKey, SyncPolicy};
use crate::clock::Now;

impl Disk {
    /// A segment is complete, and not synced yet.
    pub(super) fn will_sync(&mut self, key: SegmentKey, file: SegmentFile) {
        // An open file keeps its blocks, deleted or not.
        if self.sync != SyncPolicy::Never {
            self.unsynced.push((key, file));
        }
    }

    /// When files must be synced.
    pub fn next_sync(&self, now: Now) -> Option<Duration> {
        let since_ns = self.unsynced_since_ns?;
        let waited = Duration::from_nanos(now.monotonic_ns.saturating_sub(since_ns));
        match self.sync {
            SyncPolicy::Always => Some(Duration::ZERO),
            SyncPolicy::Within(span) => Some(span.saturating_sub(waited)),
            SyncPolicy::Never => None,
        }
    }

    /// Syncs if it is time.
    pub fn sync_if_due(&mut self, now: Now) {
        if self.next_sync(now) == Some(Duration::ZERO) {
            self.sync();
        }
    }

    /// Makes everything written last.
    pub fn sync(&mut self) {
        self.unsynced_since_ns = None;
        if self.sync == SyncPolicy::Never {
            return;
        }
        let mut failed = None;
        for (_, file) in std::mem::take(&mut self.unsynced) {
            failed = file.sync().err().or(failed);
        }
        for active in self.active.iter_mut().flatten().filter(|a| !a.is_synced) {
            failed = active.file.sync().err().or(failed);
            active.is_synced = true;
        }
        if std::mem::take(&mut self.names_unsynced) {
            failed = self.directory.sync().err().or(failed);
        }
        // The kernel says this once and takes the pages for clean: asking again means nothing.
        if let Some(error) = failed {
            self.write_errors += 1;
            tracing::warn!(%error, "the spool's disk failed to keep what it had taken");
        }
    }
}
