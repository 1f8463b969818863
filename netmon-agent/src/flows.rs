//! Flows: from what the kernel saw of them every few seconds to records of whole flows.

mod book;
pub mod metrics;
mod packed;
mod table;

pub use book::{Book, End, Limits, Record, Tally};
