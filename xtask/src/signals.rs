//! Being asked to stop: Ctrl-C, SIGTERM, a terminal that closes.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use anyhow::{Context as _, Result};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

static STOP: AtomicBool = AtomicBool::new(false);

/// From now on these signals end no process; [`stop_requested`] tells that one came.
///
/// # Errors
/// When the kernel refuses.
pub fn catch() -> Result<()> {
    let action = SigAction::new(
        SigHandler::Handler(note),
        SaFlags::SA_RESTART,
        SigSet::empty(),
    );
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        // SAFETY: the handler stores to an atomic and does nothing else.
        unsafe { sigaction(signal, &action) }.context("cannot catch signals")?;
    }
    Ok(())
}

/// Whether somebody wants this process to stop.
pub fn stop_requested() -> bool {
    STOP.load(Relaxed)
}

extern "C" fn note(_: libc::c_int) {
    STOP.store(true, Relaxed);
}
