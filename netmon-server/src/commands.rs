//! Commands that look at the database of a server, running or not.

pub mod aggregate;
pub mod audit;
pub mod botnet;
pub mod botnet_audit;
pub mod botnet_repair;
pub mod botnet_watch;
pub mod database;
pub mod refusals;
pub mod relocate;
pub mod self_test;
