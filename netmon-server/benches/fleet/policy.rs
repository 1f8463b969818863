//! When a simulated agent tries again: the real agent's rules and defaults
//! (netmon-agent/src/uplink/itinerary.rs and dial.rs) for one server address.

use std::time::Duration;

/// A connection that lasted so long was worth having.
const STEADY: Duration = Duration::from_secs(10);

/// The settings by which an agent comes back.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// After a server that said goodbye, or a steady connection: any time up to this.
    pub spread: Duration,
    /// First pause after an attempt that failed; doubles …
    pub first: Duration,
    /// … up to this.
    pub longest: Duration,
    /// What one attempt may take.
    pub attempt: Duration,
}

impl Default for Policy {
    /// An agent without a configuration file.
    fn default() -> Self {
        Self {
            spread: Duration::from_secs(3),
            first: Duration::from_secs(1),
            longest: Duration::from_secs(20),
            attempt: Duration::from_secs(4),
        }
    }
}

/// Why an agent looks for the server again.
#[derive(Clone, Copy, Debug)]
pub enum Parting {
    /// The server said that it shuts down.
    Drained,
    /// The connection, which had lasted so long, was lost.
    Lost(Duration),
    /// No connection came about.
    Failed,
}

/// The pauses of one agent.
#[derive(Debug)]
pub struct Pauses {
    policy: Policy,
    current: Duration,
}

impl Pauses {
    pub fn new(policy: Policy) -> Self {
        let current = policy.first;
        Self { policy, current }
    }

    /// How long to wait before the next attempt: full jitter.
    pub fn after(&mut self, parting: Parting) -> Duration {
        let longest = match parting {
            Parting::Lost(lasted) if lasted < STEADY => self.grow(),
            Parting::Failed => self.grow(),
            Parting::Lost(_) | Parting::Drained => {
                self.current = self.policy.first;
                self.policy.spread
            }
        };
        longest.mul_f64(rand::random_range(0.0..=1.0))
    }

    fn grow(&mut self) -> Duration {
        let now = self.current;
        self.current = (now * 2).min(self.policy.longest);
        now
    }
}
