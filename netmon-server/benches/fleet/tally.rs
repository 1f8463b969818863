//! What a fleet counts while it runs; shared by all its agents.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// Counters of one fleet.
#[derive(Debug, Default)]
pub struct Tally {
    /// Batches acknowledged, and the rows of series and the samples in them.
    pub batches: AtomicU64,
    pub rows: AtomicU64,
    pub samples: AtomicU64,
    /// Batches sent again on another connection.
    pub again: AtomicU64,
    /// Batches the server refused.
    pub refused: AtomicU64,
    /// Agents that are connected.
    pub connected: AtomicU64,
    latencies: Mutex<Vec<Duration>>,
    comings: Mutex<Comings>,
}

/// Connections: attempts, and welcomes by agent.
#[derive(Debug, Default)]
pub struct Comings {
    pub attempts: Vec<Instant>,
    pub welcomes: BTreeMap<usize, Instant>,
    /// Why attempts failed, and how often.
    pub failures: BTreeMap<String, u64>,
}

/// Times from send to acknowledgement.
#[derive(Clone, Copy, Debug, Default)]
pub struct Latency {
    pub p50: Duration,
    pub p99: Duration,
    pub max: Duration,
    pub count: usize,
}

impl Tally {
    /// Notes the times of newly acknowledged batches.
    pub fn took(&self, times: impl Iterator<Item = Duration>) {
        lock(&self.latencies).extend(times);
    }

    /// The times noted since the last call.
    pub fn latency(&self) -> Latency {
        let mut times = std::mem::take(&mut *lock(&self.latencies));
        times.sort_unstable();
        let at = |share: f64| {
            let index = (times.len() as f64 * share) as usize;
            let last = times.len().saturating_sub(1);
            times.get(index.min(last)).copied().unwrap_or_default()
        };
        Latency {
            p50: at(0.5),
            p99: at(0.99),
            max: at(1.0),
            count: times.len(),
        }
    }

    /// The connections so far.
    pub fn comings(&self) -> MutexGuard<'_, Comings> {
        lock(&self.comings)
    }

    /// Batches, rows and samples acknowledged so far.
    pub fn stored(&self) -> [u64; 3] {
        [&self.batches, &self.rows, &self.samples].map(|counter| counter.load(Relaxed))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
