//! How long many requests took.

use std::time::Duration;

/// Times of requests.
#[derive(Clone, Debug, Default)]
pub struct Times(Vec<Duration>);

impl Times {
    pub fn add(&mut self, time: Duration) {
        self.0.push(time);
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Milliseconds that such a share of them took at most.
    pub fn ms(&self, share: f64) -> f64 {
        let mut times = self.0.clone();
        times.sort_unstable();
        let index = (times.len() as f64 * share) as usize;
        let last = times.len().saturating_sub(1);
        let time = times.get(index.min(last)).copied().unwrap_or_default();
        time.as_secs_f64() * 1e3
    }
}

impl Extend<Duration> for Times {
    fn extend<T: IntoIterator<Item = Duration>>(&mut self, times: T) {
        self.0.extend(times);
    }
}
