//! Statistics of botnets over a real PostgreSQL: rebuilt, windows, history, audited, repaired, and by
//! the commands that do it.

#[path = "../api/cluster.rs"]
#[expect(dead_code, reason = "shared with tests that stop the database")]
mod cluster;
#[path = "../store/database.rs"]
#[expect(dead_code, reason = "shared with the tests of the store")]
mod database;
#[path = "../store/program.rs"]
mod program;
mod site;

mod active;
mod aggregate;
mod audit;
mod case_b;
mod command;
mod history;
mod jobs;
mod repair;
mod self_test;
