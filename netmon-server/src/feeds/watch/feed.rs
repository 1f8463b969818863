//! What is usual for a feed, and what is not.

use serde::Serialize;
use time::{Duration, OffsetDateTime};
use utoipa::ToSchema;

/// Uploads that tell whether lines are usual.
const UPLOADS: usize = 5;

/// Intervals that tell what is regular.
const INTERVALS: usize = 20;

/// Fewer intervals tell nothing.
const LEAST_INTERVALS: usize = 3;

/// So many times the usual interval is too long.
const PATIENCE: i64 = 3;

/// No feed is late earlier.
const LEAST: Duration = Duration::HOUR;

/// How a feed stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = BotnetFeedState)]
pub enum State {
    /// Too few logs came to tell what is usual.
    New,
    /// It comes as it did.
    Regular,
    /// No line of its last log was accepted, unlike of those before.
    Empty,
    /// It stays away for three times as long as it usually does.
    Late,
}

/// What is warned of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Warning {
    /// A log without a line that was accepted.
    Empty,
    /// No log.
    Late,
}

impl State {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::New, Self::Regular, Self::Empty, Self::Late];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Regular => "regular",
            Self::Empty => "empty",
            Self::Late => "late",
        }
    }

    pub(super) fn from_name(name: &str) -> Self {
        let found = Self::ALL.into_iter().find(|state| state.name() == name);
        found.unwrap_or(Self::New)
    }
}

/// The logs that one source sent of one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feed {
    /// Logs since the first.
    pub uploads: i64,
    /// When the first came to its end.
    pub first_upload_at: OffsetDateTime,
    /// When the last did.
    pub last_upload_at: OffsetDateTime,
    /// When the last did of which lines were accepted.
    pub last_accepted_at: Option<OffsetDateTime>,
    /// Lines accepted of the last logs, the newest last.
    pub accepted: Vec<i64>,
    /// Seconds between the last logs, the newest last.
    pub intervals_s: Vec<i64>,
    /// How it stands.
    pub state: State,
    /// Since when.
    pub state_since: OffsetDateTime,
}

impl Feed {
    /// Its first log came to its end.
    pub fn first(now: OffsetDateTime, accepted: u64) -> Self {
        Self {
            uploads: 1,
            first_upload_at: now,
            last_upload_at: now,
            last_accepted_at: (accepted > 0).then_some(now),
            accepted: vec![bigint(accepted)],
            intervals_s: Vec::new(),
            state: State::New,
            state_since: now,
        }
    }

    /// Another log came to its end; gives what is to be warned of.
    pub fn finished(&mut self, now: OffsetDateTime, accepted: u64) -> Option<Warning> {
        let usual = self.accepted.len() == UPLOADS && self.accepted.iter().any(|lines| *lines > 0);
        self.uploads += 1;
        // Two servers' clocks may differ.
        let interval = (now - self.last_upload_at).whole_seconds().max(0);
        push(&mut self.intervals_s, interval, INTERVALS);
        push(&mut self.accepted, bigint(accepted), UPLOADS);
        self.last_upload_at = self.last_upload_at.max(now);
        if accepted > 0 {
            self.last_accepted_at = Some(self.last_upload_at);
        }
        let is_empty = accepted == 0 && (usual || self.state == State::Empty);
        let state = if is_empty {
            State::Empty
        } else if self.intervals_s.len() < LEAST_INTERVALS {
            State::New
        } else {
            State::Regular
        };
        // Once, not with every log that is empty.
        let begins = is_empty && self.state != State::Empty;
        self.become_state(state, now);
        begins.then_some(Warning::Empty)
    }

    /// What is to be warned of when nothing came until now; the feed becomes late.
    pub fn stays_away(&mut self, now: OffsetDateTime) -> Option<Warning> {
        let patience = self.patience()?;
        if self.state == State::Late || now - self.last_upload_at <= patience {
            return None;
        }
        self.become_state(State::Late, now);
        Some(Warning::Late)
    }

    /// Seconds between two logs, usually; none: too few came to tell.
    pub fn median_interval(&self) -> Option<i64> {
        if self.intervals_s.len() < LEAST_INTERVALS {
            return None;
        }
        let mut intervals = self.intervals_s.clone();
        intervals.sort_unstable();
        Some(intervals[intervals.len() / 2])
    }

    fn patience(&self) -> Option<Duration> {
        let seconds = self.median_interval()?.saturating_mul(PATIENCE);
        Some(Duration::seconds(seconds).max(LEAST))
    }

    fn become_state(&mut self, state: State, now: OffsetDateTime) {
        if self.state != state {
            self.state = state;
            self.state_since = now;
        }
    }
}

fn push(last: &mut Vec<i64>, value: i64, most: usize) {
    last.push(value);
    if last.len() > most {
        last.remove(0);
    }
}

fn bigint(lines: u64) -> i64 {
    i64::try_from(lines).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const BEGIN: OffsetDateTime = datetime!(2026-11-20 0:00 UTC);

    fn feed(accepted: &[u64], interval: Duration) -> (Feed, OffsetDateTime) {
        let mut now = BEGIN;
        let mut feed = Feed::first(now, accepted[0]);
        for lines in &accepted[1..] {
            now += interval;
            assert_eq!(feed.finished(now, *lines), None);
        }
        (feed, now)
    }

    #[test]
    fn a_log_that_is_empty_unlike_those_before_is_warned_of_once() {
        let (mut regular, now) = feed(&[10, 10, 10, 10, 10], Duration::HOUR);
        assert_eq!(regular.state, State::Regular);
        assert_eq!(
            regular.finished(now + Duration::HOUR, 0),
            Some(Warning::Empty)
        );
        assert_eq!(regular.state, State::Empty);
        for hour in 2..20 {
            assert_eq!(regular.finished(now + Duration::HOUR * hour, 0), None);
            assert_eq!(regular.state, State::Empty);
        }
        assert_eq!(regular.state_since, now + Duration::HOUR);
        assert_eq!(regular.last_accepted_at, Some(now));
        assert_eq!(regular.finished(now + Duration::HOUR * 20, 1), None);
        assert_eq!(regular.state, State::Regular);
        // Five empty ones and more before: this one line was unusual.
        assert_eq!(
            regular.finished(now + Duration::HOUR * 21, 0),
            Some(Warning::Empty)
        );
    }

    #[test]
    fn a_feed_that_was_always_empty_or_is_new_is_not_warned_of() {
        let (empty, _) = feed(&[0; 10], Duration::HOUR);
        assert_eq!(empty.state, State::Regular);
        let (new, _) = feed(&[5, 5, 5, 0], Duration::HOUR);
        assert_eq!(new.state, State::Regular);
        let (new, _) = feed(&[5, 5], Duration::HOUR);
        assert_eq!(new.state, State::New);
    }

    #[test]
    fn a_feed_that_stays_away_is_late_after_three_of_its_intervals() {
        let (mut daily, now) = feed(&[5; 5], Duration::DAY);
        assert_eq!(daily.median_interval(), Some(86_400));
        assert_eq!(daily.stays_away(now + Duration::DAY * 3), None);
        let late = now + Duration::DAY * 3 + Duration::SECOND;
        assert_eq!(daily.stays_away(late), Some(Warning::Late));
        assert_eq!(daily.stays_away(late + Duration::DAY), None);
        assert_eq!((daily.state, daily.state_since), (State::Late, late));
        assert_eq!(daily.finished(late + Duration::DAY, 5), None);
        assert_eq!(daily.state, State::Regular);
    }

    #[test]
    fn a_feed_is_not_late_within_an_hour_nor_before_it_is_regular() {
        let (mut quick, now) = feed(&[5; 30], Duration::MINUTE);
        assert_eq!(quick.intervals_s.len(), INTERVALS);
        assert_eq!(quick.stays_away(now + Duration::HOUR), None);
        assert_eq!(
            quick.stays_away(now + Duration::minutes(61)),
            Some(Warning::Late)
        );
        let (mut new, now) = feed(&[5; 3], Duration::MINUTE);
        assert_eq!(new.stays_away(now + Duration::DAY * 365), None);
    }

    #[test]
    fn a_clock_that_goes_back_makes_no_interval() {
        let (mut feed, now) = feed(&[5; 3], Duration::HOUR);
        feed.finished(now - Duration::DAY, 5);
        assert_eq!(feed.intervals_s, [3600, 3600, 0]);
        assert_eq!(feed.last_upload_at, now);
    }
}
