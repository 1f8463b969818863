//! The store over a real PostgreSQL: one file per promise.

mod batch;
#[path = "../api/cluster.rs"]
#[expect(dead_code, reason = "shared with tests that stop the database")]
mod cluster;
mod database;
mod program;

mod botnets;
mod botnets_chunks;
mod botnets_concurrent;
mod botnets_families;
mod botnets_maintenance;
mod botnets_raw;
mod botnets_relocate;
mod botnets_retention;
mod botnets_traffic;
mod clients;
mod exactly_once;
mod folding;
mod folds;
mod groups;
mod interfaces;
mod ledger;
mod orders;
mod partitions;
mod refusals;
mod refusals_command;
mod reports;
mod round_trip;
mod servers;
mod watched;
