//! A wall clock that is wrong on request, so that a test can step the agent's clock and leave the
//! machine's own alone. Builds with optimisation have no such thing.

use std::{
    path::PathBuf,
    sync::{
        LazyLock,
        atomic::{AtomicI64, Ordering},
    },
};

static FILE: LazyLock<Option<PathBuf>> =
    LazyLock::new(|| std::env::var_os("NETMON_AGENT_CLOCK_SHIFT").map(PathBuf::from));

static LAST: AtomicI64 = AtomicI64::new(0);

/// What is added to the wall clock, ns: the number in the file that the environment variable
/// `NETMON_AGENT_CLOCK_SHIFT` names. A file that is not there, or is just being written, changes
/// nothing.
pub fn shift_ns() -> i64 {
    if !cfg!(debug_assertions) {
        return 0;
    }
    let text = FILE
        .as_ref()
        .and_then(|file| std::fs::read_to_string(file).ok());
    if let Some(shift) = text.and_then(|text| text.strip_suffix('\n')?.parse().ok()) {
        LAST.store(shift, Ordering::Relaxed);
    }
    LAST.load(Ordering::Relaxed)
}
