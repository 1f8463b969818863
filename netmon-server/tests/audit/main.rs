//! The audit over a real PostgreSQL: what balances is clean, what explains itself is named, and
//! nothing that was planted escapes it.

#[path = "../store/batch.rs"]
#[expect(dead_code, reason = "shared with the tests of the store")]
mod batch;
#[path = "../api/cluster.rs"]
#[expect(dead_code, reason = "shared with tests that stop the database")]
mod cluster;
#[path = "../store/database.rs"]
mod database;
#[path = "../store/folding.rs"]
#[expect(dead_code, reason = "shared with the tests of the store")]
mod folding;
mod host;
#[path = "../store/program.rs"]
mod program;
mod site;

mod balanced;
mod command;
mod explained;
mod planted;
