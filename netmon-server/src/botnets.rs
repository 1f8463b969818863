//! Statistics of botnets beyond what writers keep: rebuilt from the nodes and compared, active
//! windows, history by day, and the proof that every node has its communications.
//!
//! What the tables mean stands in [`crate::store::botnets`]; how to operate this in
//! `docs/aggregation.md`.

pub mod aggregate;
pub mod audit;
pub mod history;
pub mod jobs;
pub mod repair;
pub mod self_test;
mod snapshot;
pub mod subject;
mod transient;
pub mod windows;

pub use subject::{Subject, SubjectError};
