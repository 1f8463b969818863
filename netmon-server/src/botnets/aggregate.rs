//! The full rebuild of a family's statistics: counted afresh from the nodes, compared with what the
//! writers kept, and put in place in one transaction.
//!
//! Writers go on meanwhile: what they change after the snapshot lies in deltas that it does not see,
//! and those stay.

mod counts;
mod live;
mod rebuild;
mod record;
mod round;

pub(super) use self::live::{counted_by_place, live};
pub use self::{
    counts::{Counts, Drift},
    rebuild::{RebuildError, Rebuilt, rebuild},
    record::{KEPT_RUNS, Trigger},
    round::{FamilyRun, Outcome, Round, run},
};
