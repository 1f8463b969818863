//! What keeps the same tables and statements valid on a distributed PostgreSQL (Citus), sharded by
//! `agent_id`: a lint over the catalogs of a fresh database and over all SQL in the crate.
//!
//! Each rule stands in `rule.rs` with its remedy, each exception with its reason in `declared.rs`.

#[path = "../api/cluster.rs"]
#[expect(dead_code, reason = "shared with tests that stop the database")]
mod cluster;

mod catalog;
mod declared;
mod literals;
mod rule;
mod sources;
mod statements;
mod tokens;

mod lint;
mod planted_objects;
mod planted_statements;
