//! Botnets: families, their nodes and communications, and statistics that are exact at every moment.
//!
//! Statistics are read from counters, never from nodes. Lists of nodes walk an index, and a page looks
//! at a bounded number of rows: with filters that fit few nodes it may hold fewer items than asked for,
//! and says where the next one begins.

pub mod addresses;
pub mod aggregations;
pub mod amounts;
pub mod audit;
mod counters;
pub mod export;
pub mod families;
mod family;
pub mod logs;
mod names;
pub mod node;
pub mod nodes;
mod place;
mod problem;
mod source;
pub mod sources;
pub mod statistics;
pub mod top;
pub mod trend;
pub mod upload_logs;

pub use self::{
    family::{FamilySegment, find},
    names::Language,
    place::{Place, Places},
};
