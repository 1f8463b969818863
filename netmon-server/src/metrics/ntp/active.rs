//! How many different clients and servers there were lately, in a few kilobytes: HyperLogLog
//! (Flajolet et al., 2007) over two windows that take turns.

use std::{
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Bits of a hash that choose a register; the standard error is 1.04 / sqrt(2^12), 1.6 per cent.
const BITS: u32 = 12;
const REGISTERS: usize = 1 << BITS;

/// Clients and servers of the window that runs and of the one before.
#[derive(Debug)]
pub(super) struct Active {
    window: Duration,
    /// Keyed by chance: nobody can choose addresses that fall together.
    hash: RandomState,
    windows: Mutex<Windows>,
}

#[derive(Debug)]
struct Windows {
    began: Instant,
    current: Pair,
    before: Pair,
}

#[derive(Clone, Debug, Default)]
struct Pair {
    clients: Distinct,
    servers: Distinct,
}

/// For each register the longest run of leading zeros of the hashes that fell into it, and one.
#[derive(Clone, Debug)]
struct Distinct(Box<[u8; REGISTERS]>);

impl Active {
    pub(super) fn new(window: Duration) -> Self {
        let windows = Windows {
            began: Instant::now(),
            current: Pair::default(),
            before: Pair::default(),
        };
        Self {
            window,
            hash: RandomState::new(),
            windows: Mutex::new(windows),
        }
    }

    /// These dealt with each other, clients first.
    pub(super) fn seen(&self, pairs: impl Iterator<Item = (IpAddr, IpAddr)>) {
        let mut windows = self.turned();
        for (client, server) in pairs {
            windows.current.clients.add(self.hash.hash_one(client));
            windows.current.servers.add(self.hash.hash_one(server));
        }
    }

    /// Different clients, and servers, of both windows.
    pub(super) fn counts(&self) -> (i64, i64) {
        let windows = self.turned();
        let (a, b) = (&windows.current, &windows.before);
        (a.clients.count(&b.clients), a.servers.count(&b.servers))
    }

    fn turned(&self) -> std::sync::MutexGuard<'_, Windows> {
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let age = windows.began.elapsed();
        if age >= self.window {
            let current = std::mem::take(&mut windows.current);
            windows.before = match age < 2 * self.window {
                true => current,
                false => Pair::default(),
            };
            windows.began = Instant::now();
        }
        windows
    }
}

impl Default for Distinct {
    fn default() -> Self {
        Self(Box::new([0; REGISTERS]))
    }
}

impl Distinct {
    fn add(&mut self, hash: u64) {
        let register = (hash >> (u64::BITS - BITS)) as usize;
        let rank = (hash << BITS).leading_zeros().min(u64::BITS - BITS) + 1;
        // At most 53.
        self.0[register] = self.0[register].max(rank as u8);
    }

    /// How many there are in both together.
    fn count(&self, other: &Self) -> i64 {
        let m = REGISTERS as f64;
        let (mut sum, mut empty) = (0.0, 0);
        for (a, b) in self.0.iter().zip(other.0.iter()) {
            let rank = *a.max(b);
            sum += f64::powi(2.0, -i32::from(rank));
            empty += u32::from(rank == 0);
        }
        let estimate = 0.7213 / (1.0 + 1.079 / m) * m * m / sum;
        // Few: by the share of registers that nothing fell into (linear counting).
        let count = match estimate <= 2.5 * m && empty > 0 {
            true => m * (m / f64::from(empty)).ln(),
            false => estimate,
        };
        count.round() as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u32) -> IpAddr {
        IpAddr::from(number.to_be_bytes())
    }

    #[test]
    fn estimates_are_within_a_few_per_cent() {
        for expected in [0_u32, 1, 10, 1000, 10_000, 300_000] {
            let active = Active::new(Duration::from_secs(3600));
            for _ in 0..2 {
                active.seen((0..expected).map(|n| (address(n), address(n % 7))));
            }
            let (clients, servers) = active.counts();
            let error = (clients as f64 - f64::from(expected)).abs();
            // Six standard errors.
            assert!(
                error <= 0.1 * f64::from(expected),
                "{clients} of {expected}"
            );
            // Two of seven fall into the same register now and then.
            let missed = i64::from(expected.min(7)) - servers;
            assert!((0..=1).contains(&missed), "{servers} servers");
        }
    }

    #[test]
    fn who_is_not_seen_again_is_forgotten_after_two_windows() {
        let window = Duration::from_millis(50);
        let active = Active::new(window);
        active.seen([(address(1), address(2))].into_iter());
        assert_eq!(active.counts(), (1, 1));
        std::thread::sleep(2 * window);
        assert_eq!(active.counts(), (0, 0));
    }
}
