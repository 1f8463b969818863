//! Handing over folded exchanges: not too many at once, and all of them at the end.

use std::{thread, time::Duration};

use super::{findings::store, namespace::Shared};
use crate::{
    clock::{self, Now},
    config::Config,
    ntp::fold::{Fold, Settings},
};

/// Of the last folds so many at once: some megabytes, less than waits for a slow disk.
const A_PART: usize = 8192;

/// A request that waited for the whole time-out is reported unanswered a little later.
const GRACE: Duration = Duration::from_secs(2);

/// How long the spool's thread gets to take a part of the last folds.
const PATIENCE: Duration = Duration::from_secs(1);

/// Nothing yet.
pub fn fold(config: &Config) -> Fold {
    let ntp = &config.ntp;
    let settings = Settings {
        detail: ntp.detail,
        above: ntp.fold_above,
        window: ntp.fold_window,
        grace: ntp.timeout + GRACE,
        max_folds: ntp.max_folds,
    };
    Fold::new(settings, clock::now().monotonic_ns)
}

/// Hands over what is due.
pub fn hand_over(fold: &mut Fold, shared: &Shared, now: Now) {
    fold.set_server_stores_folds(shared.metrics.contacts.stores_folds());
    let mut intake = shared.spool.lock();
    fold.due(now, &mut |record| store(record, now, shared, &mut intake));
    drop(intake);
    shared.metrics.folds.update(fold);
}

/// Hands over everything there is, as fast as the spool takes it.
pub fn finish(fold: &mut Fold, shared: &Shared, now: Now) {
    loop {
        let mut intake = shared.spool.lock();
        let mut take = |record| store(record, now, shared, &mut intake);
        let is_all = fold.finish(A_PART, &mut take);
        drop(intake);
        if is_all {
            break;
        }
        let pause = Duration::from_millis(1);
        for _ in 0..PATIENCE.as_millis() {
            if !shared.spool.lock().has_sealed() {
                break;
            }
            thread::sleep(pause);
        }
    }
    shared.metrics.folds.update(fold);
}
