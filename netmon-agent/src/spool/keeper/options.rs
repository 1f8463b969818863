//! What the spool can be told.

use std::{path::PathBuf, time::Duration};

use crate::spool::book::Caps;

/// When what was written must have reached the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncPolicy {
    /// Before a batch is sent.
    Always,
    /// So long after it was written, at most.
    Within(Duration),
    /// Whenever the kernel likes.
    Never,
}

/// Settings of the spool.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where segments lie; `None`: in memory only.
    pub directory: Option<PathBuf>,
    /// Bounds.
    pub caps: Caps,
    /// When files are synced.
    pub sync: SyncPolicy,
}

impl Options {
    /// Memory only.
    pub fn in_memory(caps: Caps) -> Self {
        Self {
            directory: None,
            caps,
            sync: SyncPolicy::Never,
        }
    }
}
