//! Which server is next, and after what pause.
//!
//! The agent stays with the server it has found. It goes on to the next address when the connection
//! ends or does not come about, and after the last one to the first; it does not return to an
//! earlier address by itself, so that a fleet which had to move moves once.

use std::time::Duration;

use super::backoff::{Backoff, jitter};
use crate::config;

/// A connection that lasted so long was worth having: the next one starts with short pauses.
const STEADY: Duration = Duration::from_secs(10);

/// Why the agent looks for a server again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parting {
    /// The server said that it shuts down.
    Drained,
    /// The connection, which had lasted so long, was lost or closed for another reason.
    Lost(Duration),
    /// No connection came about.
    Failed,
}

/// The way through the addresses.
#[derive(Debug)]
pub struct Itinerary {
    addresses: usize,
    current: usize,
    /// Attempts in a row that did not become a connection.
    failures: u32,
    backoff: Backoff,
    spread: Duration,
}

impl Itinerary {
    /// Starts at the first address.
    pub fn new(config: &config::Server) -> Self {
        Self {
            addresses: config.addresses.len().max(1),
            current: 0,
            failures: 0,
            backoff: Backoff::new(config.retry_interval, config.max_retry_interval),
            spread: config.reconnect_spread,
        }
    }

    /// The index of the address to try.
    pub fn current(&self) -> usize {
        self.current
    }

    /// Attempts in a row that did not become a connection.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Goes on to the next address; gives the pause before it.
    pub fn next(&mut self, parting: Parting) -> Duration {
        self.current = (self.current + 1) % self.addresses;
        match parting {
            Parting::Failed => {
                self.failures += 1;
                // The other addresses get their turn before any pause.
                if !(self.failures as usize).is_multiple_of(self.addresses) {
                    return Duration::ZERO;
                }
                self.backoff.next_pause()
            }
            // A server that lets us in and throws us out again is no better than one that fails.
            Parting::Lost(lasted) if lasted < STEADY => {
                self.failures = 0;
                self.backoff.next_pause()
            }
            Parting::Lost(_) | Parting::Drained => {
                self.failures = 0;
                self.backoff.reset();
                jitter(self.spread)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn config(addresses: usize) -> config::Server {
        let mut server = config::Config::default().server;
        server.addresses = vec!["192.0.2.1:8082".to_owned(); addresses];
        server
    }

    #[test]
    fn every_address_is_tried_before_any_pause() {
        let mut itinerary = Itinerary::new(&config(3));
        let mut visited = Vec::new();
        let mut paused = Vec::new();
        for _ in 0..6 {
            visited.push(itinerary.current());
            paused.push(itinerary.next(Parting::Failed) > Duration::ZERO);
        }
        assert_eq!(visited, [0, 1, 2, 0, 1, 2]);
        assert_eq!(paused, [false, false, true, false, false, true]);
        assert_eq!(itinerary.failures(), 6);
    }

    #[test]
    fn a_server_that_shuts_down_is_left_for_the_next_without_a_growing_pause() {
        let config = config(2);
        let mut itinerary = Itinerary::new(&config);
        for visit in 0..100 {
            assert_eq!(itinerary.current(), visit % 2);
            assert!(itinerary.next(Parting::Drained) <= config.reconnect_spread);
        }
    }

    #[test]
    fn a_server_that_throws_the_agent_out_again_and_again_is_asked_ever_more_rarely() {
        let config = config(1);
        let mut itinerary = Itinerary::new(&config);
        let total = (0..50).map(|_| itinerary.next(Parting::Lost(SECOND)));
        // Half of the longest pause on average, after the first few.
        assert!(total.sum::<Duration>() > 10 * config.max_retry_interval);
        assert!(itinerary.next(Parting::Lost(STEADY)) <= config.reconnect_spread);
    }

    /// When each agent of a fleet is back whose only server went at 0 and returned at `returns`: an
    /// attempt in between costs the time-out of a handshake.
    fn returns_of_a_fleet(agents: usize, returns: Duration) -> Vec<Duration> {
        let config = config(1);
        let one = |_| {
            let mut itinerary = Itinerary::new(&config);
            let mut now = itinerary.next(Parting::Lost(STEADY));
            while now < returns {
                now += super::super::dial::HANDSHAKE_TIMEOUT;
                now += itinerary.next(Parting::Failed);
            }
            now - returns
        };
        (0..agents).map(one).collect()
    }

    #[test]
    fn a_thousand_agents_are_back_within_thirty_seconds_and_not_at_once() {
        for down in [0, 5, 60, 3600] {
            let mut returns = returns_of_a_fleet(1000, down * SECOND);
            returns.sort();
            assert!(returns[999] <= 30 * SECOND, "{down} s: {:?}", returns[999]);
            let most = (0..30)
                .map(|s| returns.iter().filter(|r| r.as_secs() == s).count())
                .max();
            assert!(most < Some(450), "{down} s: {most:?} in one second");
        }
    }
}
