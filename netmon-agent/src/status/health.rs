//! What is wrong with an agent: pure judgement of its figures.

use std::time::Duration;

use netmon_common::loss::Loss;

use super::Report;
use crate::{clock::Now, metrics::Metrics, spool};

/// A loss is a problem for so long after it happened.
const RECENT: Duration = Duration::from_secs(60);

/// A certificate is a problem from so long before it expires.
const CERTIFICATE_S: i64 = 7 * 86_400;

/// How long turns took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Drains {
    turns: u64,
    total: Duration,
    longest: Duration,
}

impl Drains {
    /// Adds one.
    pub fn observe(&mut self, took: Duration) {
        self.turns += 1;
        self.total += took;
        self.longest = self.longest.max(took);
    }

    /// For the report.
    pub fn report(&self) -> super::Drain {
        super::Drain {
            turns: self.turns,
            mean_ns: ns(self.total) / self.turns.max(1),
            longest_ns: ns(self.longest),
        }
    }
}

fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A total that stands still while all is well.
#[derive(Clone, Copy, Debug, Default)]
struct Total {
    value: u64,
    rose_at_ns: Option<u64>,
}

impl Total {
    fn observe(&mut self, now: Now, value: u64) {
        if value > self.value {
            self.rose_at_ns = Some(now.monotonic_ns);
        }
        self.value = value;
    }

    fn rose_lately(&self, now: Now) -> bool {
        self.rose_at_ns.is_some_and(|at_ns| {
            Duration::from_nanos(now.monotonic_ns.saturating_sub(at_ns)) < RECENT
        })
    }
}

/// What has gone wrong in the last minute.
#[derive(Clone, Copy, Debug, Default)]
pub struct Troubles {
    events_lost: Total,
    given_up: Total,
    refused: Total,
    write_errors: Total,
    unread_maps: Total,
}

impl Troubles {
    /// Takes the newest totals.
    pub fn observe(
        &mut self,
        now: Now,
        losses: &[(Loss, u64)],
        spool: &spool::Status,
        metrics: &Metrics,
    ) {
        // The other losses are of packets that no agent could have read.
        let ours = |loss: &Loss| matches!(loss, Loss::RingFull | Loss::Unreadable);
        let events_lost = losses.iter().filter(|(loss, _)| ours(loss)).map(|l| l.1);
        self.events_lost.observe(now, events_lost.sum());
        self.given_up
            .observe(now, spool.tally.omitted.iter().flatten().sum());
        self.refused.observe(now, spool.tally.refused.iter().sum());
        self.write_errors.observe(now, spool.write_errors);
        self.unread_maps.observe(now, metrics.map_read_failures());
    }

    /// Everything that is wrong, a sentence each.
    pub fn problems(
        &self,
        now: Now,
        report: &Report,
        certificate_expires_unix_s: i64,
    ) -> Vec<String> {
        let mut problems = Vec::new();
        let server = &report.server;
        if !server.connected {
            problems.push(match (&server.address, &server.last_error) {
                (Some(address), Some(error)) => {
                    format!("no server is connected; {address}: {error}")
                }
                _ => "no server is connected yet".to_owned(),
            });
        }
        if report.interfaces.is_empty() && !report.ending {
            problems.push("no interface is watched".to_owned());
        }
        for failure in &report.not_attached {
            problems.push(format!(
                "{} is not watched: {}",
                failure.interface, failure.error
            ));
        }
        let namespaces = report.namespaces.iter();
        problems.extend(namespaces.filter_map(|namespace| namespace.error.clone()));
        let mut recent = |total: &Total, sentence: &str| {
            if total.rose_lately(now) {
                problems.push(format!(
                    "in the last minute {sentence} ({} in all)",
                    total.value
                ));
            }
        };
        recent(&self.events_lost, "NTP packets were lost for want of room");
        recent(&self.given_up, "batches were given up");
        recent(&self.refused, "batches were refused by the server");
        recent(&self.write_errors, "the spool's disk refused writes");
        recent(
            &self.unread_maps,
            "maps of the kernel programs could not be read",
        );
        let left_s = certificate_expires_unix_s - now.unix_ns / 1_000_000_000;
        if certificate_expires_unix_s != 0 && left_s < CERTIFICATE_S {
            problems.push(if left_s < 0 {
                "the agent's certificate has expired".to_owned()
            } else {
                format!("the agent's certificate expires in {} hours", left_s / 3600)
            });
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_s(seconds: u64) -> Now {
        Now {
            monotonic_ns: seconds * 1_000_000_000,
            unix_ns: 0,
        }
    }

    #[test]
    fn a_loss_is_a_problem_for_a_minute() {
        let mut total = Total::default();
        total.observe(at_s(1), 0);
        assert!(!total.rose_lately(at_s(1)));
        total.observe(at_s(2), 3);
        total.observe(at_s(3), 3);
        assert!(total.rose_lately(at_s(61)));
        assert!(!total.rose_lately(at_s(62)));
    }

    #[test]
    fn losses_that_nobody_could_have_prevented_are_no_problem() {
        let mut troubles = Troubles::default();
        let (status, metrics) = (spool::Status::default(), Metrics::new());
        troubles.observe(at_s(1), &[(Loss::LaterFragment, 5)], &status, &metrics);
        assert!(!troubles.events_lost.rose_lately(at_s(1)));
        troubles.observe(at_s(2), &[(Loss::RingFull, 5)], &status, &metrics);
        assert!(troubles.events_lost.rose_lately(at_s(2)));
    }

    #[test]
    fn the_longest_turn_is_remembered() {
        let mut drains = Drains::default();
        for microseconds in [10, 50, 30] {
            drains.observe(Duration::from_micros(microseconds));
        }
        let report = drains.report();
        assert_eq!(
            (report.turns, report.mean_ns, report.longest_ns),
            (3, 30_000, 50_000)
        );
    }
}
