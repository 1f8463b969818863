//! Waiting for something to become true, with an end.

use std::{
    env,
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

/// How many times as long every wait may take: set where an emulated processor does the work.
pub const FACTOR: &str = "NETMON_TEST_PATIENCE";

/// A time-out as long as this machine needs: [`FACTOR`] times as long where that is set.
#[must_use]
pub fn patient(timeout: Duration) -> Duration {
    static TIMES: OnceLock<u32> = OnceLock::new();
    let from_environment = || env::var(FACTOR).ok()?.parse().ok();
    timeout * *TIMES.get_or_init(|| from_environment().unwrap_or(1))
}

/// Asks `probe` every few milliseconds until it returns something.
///
/// # Errors
/// When `timeout`, made [`patient`], has passed; the message names `what` was waited for.
pub fn wait_until<T>(
    timeout: Duration,
    what: &str,
    mut probe: impl FnMut() -> Option<T>,
) -> Result<T> {
    let timeout = patient(timeout);
    let deadline = Instant::now() + timeout;
    let mut pause = Duration::from_millis(2);
    loop {
        if let Some(found) = probe() {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            bail!("waited {timeout:?} in vain for {what}");
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_true_ends_the_wait() {
        let mut asked = 0;
        let answer = wait_until(Duration::from_secs(5), "the third question", || {
            asked += 1;
            (asked == 3).then_some(asked)
        });
        assert_eq!(answer.unwrap(), 3);
    }

    #[test]
    fn what_never_comes_is_named() {
        let error = wait_until(Duration::from_millis(5), "snow in July", || None::<()>);
        assert_eq!(
            error.unwrap_err().to_string(),
            "waited 5ms in vain for snow in July"
        );
    }
}
