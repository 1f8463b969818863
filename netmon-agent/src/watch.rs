//! The watch set: addresses and prefixes whose flows are marked and told of at once. Some stand in a
//! file of the agent's own, others are told by the server, which hears of what was seen of those.

mod board;
mod file;
mod keeper;
mod remembered;
mod sightings;

pub use board::{Board, InForce};
pub use file::{FileError, read};
pub use keeper::{Joiner, Keeper, ReloadError, Sources, nothing_to_reload};
pub use remembered::recall;
pub use sightings::{Place, Sightings, Tally};
