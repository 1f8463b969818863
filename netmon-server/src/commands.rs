//! Commands that look at the database of a server, running or not.

pub mod audit;
pub mod database;
pub mod refusals;
