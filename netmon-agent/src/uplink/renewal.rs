//! Certificates do not last: a new one is taken up while the agent is connected, and one that is
//! about to expire is told of in time.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{
    Identity,
    identity::{Fingerprint, Loaded},
};
use crate::{clock, metrics::Metrics};

/// From so many seconds before the expiry on it is told of.
const NOTICE_S: i64 = 30 * 86_400;

/// How often that is said.
const REPEAT: Duration = Duration::from_secs(86_400);

/// The certificate that a connection uses.
#[derive(Clone, Copy, Debug)]
pub(super) struct InUse {
    /// Of the files it was read from.
    pub(super) fingerprint: Fingerprint,
    /// Seconds since 1970.
    pub(super) expires_unix_s: i64,
}

impl From<&Loaded> for InUse {
    fn from(loaded: &Loaded) -> Self {
        Self {
            fingerprint: loaded.fingerprint,
            expires_unix_s: loaded.expires_unix_s,
        }
    }
}

/// Waits until other files than those in use are there and can be read; calls `between` before each
/// look.
///
/// Files that cannot be used leave the connection as it is; they are looked at again once they
/// have changed.
pub(super) async fn awaited(
    identity: &Identity,
    in_use: Fingerprint,
    every: Duration,
    mut between: impl FnMut(),
    metrics: &Metrics,
) -> Loaded {
    let mut seen = in_use;
    loop {
        sleep(every).await;
        between();
        let found = identity.fingerprint();
        if found == seen {
            continue;
        }
        seen = found;
        match identity.load() {
            Ok(loaded) => {
                tracing::info!("a new certificate is there: connecting with it");
                return loaded;
            }
            Err(error) => {
                metrics.certificate_loaded(false);
                tracing::error!(%error, "the new certificate is not usable; the one in use stays");
            }
        }
    }
}

/// Says now and then that the certificate is about to expire.
#[derive(Debug, Default)]
pub struct Expiry {
    said: Option<Instant>,
}

impl Expiry {
    /// Looks at the certificate in use.
    pub fn look(&mut self, expires_unix_s: i64) {
        let left_s = expires_unix_s - clock::now().unix_ns.div_euclid(1_000_000_000);
        if self.is_due(left_s, Instant::now()) {
            tracing::warn!(
                hours_left = left_s.div_euclid(3600),
                "the certificate expires soon: `netmon-server renew-agent` makes a new one"
            );
        }
    }

    fn is_due(&mut self, left_s: i64, now: Instant) -> bool {
        let due = left_s < NOTICE_S && self.said.is_none_or(|said| now - said >= REPEAT);
        if due {
            self.said = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expiry_is_told_of_once_a_day_in_the_last_month() {
        let (mut expiry, start) = (Expiry::default(), Instant::now());
        assert!(!expiry.is_due(NOTICE_S, start));
        assert!(expiry.is_due(NOTICE_S - 1, start));
        assert!(!expiry.is_due(0, start + REPEAT / 2));
        assert!(expiry.is_due(-1, start + REPEAT));
    }
}
