//! The watch set: addresses and prefixes whose flows are marked and told of at once.

mod file;
mod keeper;

pub use file::{FileError, read};
pub use keeper::{Joiner, Keeper, ReloadError, nothing_to_reload};
