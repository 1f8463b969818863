//! Batches on their way to the server: numbered, kept on disk until the server has stored them, and
//! counted by cause where they cannot be kept.
//!
//! `intake`, `book`, `segment`, `omissions` and `window` are pure bookkeeping; files and their order
//! lie with `keeper` and what it stands on.

mod book;
mod checkpoint;
mod directory;
mod handle;
mod intake;
mod keeper;
mod omissions;
mod record;
mod recovery;
mod segment;
mod state;
mod window;

#[cfg(test)]
mod tests;

use netmon_common::wire::{KINDS, Kind};

pub use self::{
    book::{Caps, SEGMENT_BYTES, Tally},
    directory::OpenError,
    handle::{End, Feed, IntakeGuard, Outgoing, Spool},
    intake::{Intake, Limits},
    keeper::{Options, Status, SyncPolicy},
    omissions::CAUSES,
    recovery::{Previous, Recovered, read_batches},
};

/// Place of a kind in [`KINDS`]: the higher, the less valuable.
pub const fn rank(kind: Kind) -> usize {
    match kind {
        Kind::Bandwidth => 0,
        Kind::System => 1,
        Kind::Exchanges => 2,
        Kind::Sightings => 3,
        // Nothing of an unspecified kind is ever sealed.
        Kind::Flows | Kind::Unspecified => 4,
    }
}

const _: () = assert!(KINDS.len() == 5);
