//! Roll-ups: sums by minute and by hour, of NTP exchanges by hour and by day, that outlive the raw rows.
//!
//! The unit is an hour of one agent: its minutes and its hour (or its hour, and the day of that from
//! the day's hours) are deleted and computed anew from the raw rows in one transaction, so that doing it twice changes nothing and a kill at any point loses
//! nothing. An hour is done once it is over for `rollup.lateness`, for all agents in turn; the
//! watermark (`rollup_progress`) moves with the rows. Smaller steps would not bring more: whoever asks
//! for newer times is answered from the raw rows. Rows that come later leave a mark
//! ([`super::late`]), and the job does the hour again ([`revise`]).
//!
//! Before a day of raw rows is dropped, everything in it is rolled up; the transaction that drops
//! it moves `retained.since`. From then on an hour before that bound is never computed anew: late
//! rows are *added* to its sums and deleted, in one statement. Which of the two an hour needs is
//! decided under a lock on the bound.
//!
//! Every transaction of a series locks in this order: its rows of `retained`, its row of
//! `rollup_progress`, marks, rows. So jobs of several servers take turns, and none meets a bound that
//! moves. Leadership ([`super::leadership`]) only saves the work of doing it twice.

mod bandwidth;
mod exchanges;
mod forward;
mod hold;
mod revise;
mod system;

use time::OffsetDateTime;

pub(crate) use bandwidth::bandwidth_sums;
pub(crate) use exchanges::exchanges_sql;
pub(super) use hold::{exclude, rolled_through};
pub(crate) use system::system_sql;

use self::{bandwidth::BANDWIDTH, exchanges::EXCHANGES, hold::Since, system::SYSTEM};
use super::{Series, Store, StoreError, attempt, late::Hour, partitions::Day};

/// Transactions of one round: then the lease is renewed and the clock read again.
const STEPS: usize = 500;

/// What a coarse row of a roll-up holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Span {
    Hour,
    /// Computed anew, from its hours, with each of them.
    Day,
}

/// A raw table with the two that outlive it.
#[derive(Debug)]
pub(super) struct Rollup {
    pub(super) raw: Series,
    /// By minute, or by hour.
    pub(super) fine: Series,
    /// By hour, or by day.
    pub(super) coarse: Series,
    coarse_span: Span,
    statements: Statements,
}

/// The SQL of a roll-up. Columns `bucket` of the roll-up tables are the begin of a minute, hour or day.
#[derive(Debug)]
struct Statements {
    /// Inserts one agent's fine rows of an hour from raw rows: $1 agent, $2 and $3 the hour, $4 from
    /// where on raw rows are read. What was there is deleted before.
    fine: &'static str,
    /// Inserts one agent's coarse row from its fine ones: $1 agent, $2 and $3 its hour or day.
    coarse: &'static str,
    /// Adds raw rows to fine and coarse ones and deletes them, in one statement: $1 agent, $2 and $3 the
    /// hour in which the rows begin, $4, $5 and $6 from when on fine, coarse and raw rows are whole.
    /// Gives the number of rows, and of those a part of which went back as a raw row at $6 or later.
    fold: &'static str,
    /// Copies what one agent's rows hold of the next day into it: $1 agent, $2 and $3 where such rows
    /// begin; $3 is midnight. `None` if a row never reaches over midnight.
    carry: Option<&'static str>,
}

/// What one round did to one series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RolledUp {
    /// The raw table.
    pub series: Series,
    /// Hours rolled up by their turn, for all agents.
    pub hours: u64,
    /// Hours of single agents rolled up again for late rows.
    pub revised: u64,
    /// Late raw rows added to sums whose raw rows are gone.
    pub folded: u64,
    /// Hours of single agents that still wait for it.
    pub marks: u64,
    /// Everything before this is rolled up.
    pub through: OffsetDateTime,
    /// There is more to do at once.
    pub more: bool,
}

impl Span {
    /// The hour, or its day.
    fn around(self, hour: Hour) -> (OffsetDateTime, OffsetDateTime) {
        match self {
            Self::Hour => (hour.start(), hour.end()),
            Self::Day => {
                let day = Day::of(hour.start());
                (day.start(), day.plus(1).start())
            }
        }
    }
}

impl Rollup {
    /// Every roll-up.
    pub(super) const ALL: &[Self] = &[BANDWIDTH, SYSTEM, EXCHANGES];

    /// The roll-up a table takes part in.
    pub(super) fn of(series: Series) -> Option<&'static Self> {
        let takes_part = |rollup: &&Self| rollup.tables().contains(&series);
        Self::ALL.iter().find(takes_part)
    }

    /// Raw, fine and coarse.
    pub(super) fn tables(&self) -> [Series; 3] {
        [self.raw, self.fine, self.coarse]
    }

    /// The statement that copies what rows of a day hold of the next.
    pub(super) fn carry(&self) -> Option<&'static str> {
        self.statements.carry
    }
}

impl Store {
    /// Rolls up what is over and what came late, at most so many steps; give the database's time.
    ///
    /// # Errors
    /// As [`Store::commit`]; what was done until then stays done.
    pub async fn roll_up_once(&self, now: OffsetDateTime) -> Result<Vec<RolledUp>, StoreError> {
        let mut done = Vec::new();
        for rollup in Rollup::ALL {
            let outcome = self.roll_up(rollup, now).await;
            if let Err(StoreError::Transient {
                missing_partition: true,
                ..
            }) = outcome
            {
                self.partitions.forget();
            }
            done.push(outcome?);
        }
        Ok(done)
    }

    /// The first hour that is not over for long enough.
    fn first_open_hour(&self, now: OffsetDateTime) -> Hour {
        Hour::of(now - self.ageing.rollup.lateness)
    }

    async fn roll_up(&self, rollup: &Rollup, now: OffsetDateTime) -> Result<RolledUp, StoreError> {
        let closed = self.first_open_hour(now);
        attempt(hold::prepare(&self.pool, rollup, closed)).await?;
        let mut done = RolledUp {
            series: rollup.raw,
            hours: 0,
            revised: 0,
            folded: 0,
            marks: 0,
            through: now,
            more: false,
        };
        let mut steps = STEPS;
        self.revise(rollup, now, &mut steps, &mut done).await?;
        while steps > 0 {
            steps -= 1;
            match attempt(self.forward(rollup, closed)).await? {
                forward::Step::Hour => done.hours += 1,
                forward::Step::Agents => {}
                forward::Step::Nothing => break,
            }
        }
        done.more = steps == 0;
        (done.through, done.marks) = hold::state(&self.pool, rollup).await?;
        Ok(done)
    }
}
